"""The parity report: its data, and how they are shown."""
