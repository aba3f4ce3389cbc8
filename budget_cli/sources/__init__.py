"""Paths and URLs → blocks of bytes. Knows no JSON."""
