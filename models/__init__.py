"""The detectors as data and in Paddle: architecture, conventions, published figures, checkpoints, cards."""
