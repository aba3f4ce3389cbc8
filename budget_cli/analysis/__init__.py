"""Groups → frozen answers: the report of a loss, and the gates on it. Reads no bytes, prints nothing."""
