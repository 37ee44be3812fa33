"""From a Paddle detector to a verified ONNX file with its card."""
