"""Where each field of a record is: paths, expressions and presets."""
