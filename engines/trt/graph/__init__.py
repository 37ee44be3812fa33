"""The exported graph as TensorRT's parsers take it; needs NumPy and onnx alone."""
