"""Checks of the CUDA kernels that need neither a GPU nor a CUDA toolkit; not part of the wheel."""
