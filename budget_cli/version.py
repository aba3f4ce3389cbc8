"""The version, which the packaging, the commands and Python read here."""

__version__ = "0.1.0"
