"""Answers → text. Opens no file and prints nothing."""
