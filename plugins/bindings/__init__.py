"""The C libraries of kernels from Python: one module a header. They need NumPy and ``pssdet.errors``, nothing else."""
