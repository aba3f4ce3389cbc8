"""Bytes → checked columns: sources and blocks, where the fields are, and the two readings of a block."""
