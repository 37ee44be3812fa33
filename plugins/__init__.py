"""The plugins' C++ and CUDA from Python: the built library, and the kernels compiled without a GPU."""
