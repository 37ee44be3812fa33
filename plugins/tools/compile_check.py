"""Compile the kernels for GPU architectures without a GPU, and check what came out."""

from pssdet.commands.app import run
from pssdet.plugins.tools.kernel_table import check

if __name__ == "__main__":
    run(check)
