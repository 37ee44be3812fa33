"""TensorRT's builder, and the proof of what it built."""
