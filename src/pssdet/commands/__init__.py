"""The commands, one module each: the only place that knows several floors at once."""
