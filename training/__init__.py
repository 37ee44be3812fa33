"""Training of the bundled small detectors, in Paddle, on a CPU."""
