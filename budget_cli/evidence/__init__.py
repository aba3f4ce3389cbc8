"""What single responses show that moments do not keep; for the checks."""
