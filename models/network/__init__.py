"""The layers of the detectors and of the classifier, in Paddle."""
