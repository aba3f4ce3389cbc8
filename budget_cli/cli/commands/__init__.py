"""The commands, one module each: what differs between them."""
