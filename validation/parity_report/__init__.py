"""The parity report: its data, its view and its renderings."""
