"""Bytes → checked columns and rejections; one module per format."""
