"""TensorRT: the exported graph rewritten for its parser, engines, and the runtime."""
