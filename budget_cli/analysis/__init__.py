"""Groups → answers: the loss, checks, sweeps and comparisons, and gates on them. Reads no bytes, prints nothing."""
