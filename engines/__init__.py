"""Engines: an exported model made ready for one backend, and opened again."""
