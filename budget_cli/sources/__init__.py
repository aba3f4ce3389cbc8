"""Paths and URLs → blocks of bytes. Knows nothing of JSON."""
