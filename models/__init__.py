"""The detectors as data and in Paddle."""
