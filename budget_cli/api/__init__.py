"""Paths and options → a dump in Python: the answers of the commands as objects, and its responses as Arrow tables."""
