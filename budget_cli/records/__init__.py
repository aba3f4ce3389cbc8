"""Bytes → checked columns and rejections, with one module per format and per way to read it."""
