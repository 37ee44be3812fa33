"""Compile the kernels for GPU architectures without a GPU, and check what came out."""

from __future__ import annotations

from pathlib import Path

from pssdet.commands.app import run


def check(*, arch: list[str] | None = None, output: Path | None = None) -> None:
    """Compile the kernels for GPU architectures, and check what came out.

    Every kernel must keep its values in registers, every fused one must use tensor cores and fit the
    architecture's shared memory. Needs the extra "kernels", no GPU and no CUDA toolkit.

    Args:
        arch: Architectures such as sm_70; may be repeated (default: all that the kernels are built for).
        output: Write the table to this file too, as Markdown.
    """
    from pssdet.console import OUT
    from pssdet.errors import BadInput, GateFailed
    from pssdet.files import write_atomically
    from pssdet.plugins.tools.kernel_table import ARCHITECTURES, as_markdown, as_table, complaints
    from pssdet.plugins.tools.kernels import compile_kernels
    from pssdet.plugins.tools.toolchain import Nvrtc

    unknown = sorted(set(arch or ()) - ARCHITECTURES.keys())
    if unknown:
        raise BadInput(f"{', '.join(unknown)}: not an architecture of the kernels; they are {', '.join(ARCHITECTURES)}")
    compiler = Nvrtc()
    kernels = {name: compile_kernels(compiler, name) for name in arch or ARCHITECTURES}
    OUT.print(as_table(kernels))
    if output:
        write_atomically(output, as_markdown(kernels, compiler.version).encode())
    wrong = [text for name, compiled in kernels.items() for kernel in compiled for text in complaints(name, kernel)]
    for text in wrong:
        OUT.print(text)
    if wrong:
        raise GateFailed(f"{len(wrong)} of the checks above failed")


if __name__ == "__main__":
    run(check)
