"""Blocks → groups: the ordered fold, and the processes that run it."""
