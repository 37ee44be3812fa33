"""PaddleDetection's PSS-DET detectors, from Paddle checkpoints to ONNX to engines, with every step proved."""
