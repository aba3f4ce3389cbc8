"""Command-line arguments → text and an exit code. The only room that prints, exits or catches."""
