"""Readers of checkpoints as untrusted input."""
