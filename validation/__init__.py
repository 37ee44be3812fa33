"""Engines compared with each other: what was lost on the way from Paddle, and where."""
