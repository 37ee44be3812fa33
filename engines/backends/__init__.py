"""One module per way to run a model; heavy packages are imported inside functions."""
