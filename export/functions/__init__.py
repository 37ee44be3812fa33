"""The detection part as ONNX functions."""
