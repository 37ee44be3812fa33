"""TensorRT: what imports TensorRT or CUDA lies here, and needs neither a card nor Paddle."""
