"""Columns of responses → one row of moments per prompt. Knows arithmetic and prompts; no files, no JSON."""
