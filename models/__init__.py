"""What the detectors are: layers, conventions, published figures, checkpoints, cards."""
