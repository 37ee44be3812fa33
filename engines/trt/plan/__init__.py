"""TensorRT's builder, and the proof of the precision that it built."""
