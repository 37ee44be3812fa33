"""Plans on the GPU: contexts, buffers, streams."""
