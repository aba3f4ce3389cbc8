"""Flags in, text and exit code out: the only place that prints, exits or catches."""
