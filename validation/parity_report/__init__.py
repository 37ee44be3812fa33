"""The parity report: its data, its assembly and its renderings."""
