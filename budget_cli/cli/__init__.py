"""Flags in, text and exit code out: the only place that prints, exits or catches."""

from budget_cli.cli.app import app

__all__ = ["app"]
