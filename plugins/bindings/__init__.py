"""The C libraries of kernels from Python: one module a header. They need only NumPy and ``pssdet.errors``."""
