"""Responses → the evidence that checks need and that moments do not keep."""
