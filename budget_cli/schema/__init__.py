"""Where the fields of a record are: paths, expressions, presets."""
