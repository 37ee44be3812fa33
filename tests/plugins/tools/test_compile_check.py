"""The kernels compiled for GPUs, where the compiler (the extra "kernels") is installed."""

import dataclasses
import re
from pathlib import Path

import pytest

from pssdet.errors import EnvironmentMissing
from pssdet.plugins.tools.kernel_table import ARCHITECTURES, as_markdown, blocks_per_multiprocessor, violations
from pssdet.plugins.tools.kernels import compile_kernels, programs, unsynchronised
from pssdet.plugins.tools.toolchain import CompileFailed, MachineCode, Nvrtc, functions_of, machine_code


@pytest.fixture(scope="module")
def compiler():
    try:
        return Nvrtc()
    except EnvironmentMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def kernels(compiler):
    """One architecture's, compiled once."""
    return compile_kernels(compiler, "sm_75")


@pytest.mark.parametrize("arch", ["sm_70", "sm_80", "sm_90"])
def test_kernels_keep_to_registers_and_tensor_cores(compiler, arch):
    compiled = compile_kernels(compiler, arch)
    assert [text for kernel in compiled for text in violations(arch, kernel)] == []
    assert [kernel.name for kernel in compiled] == [name for program in programs() for name in program.kernels]


def test_every_tile_fits_the_architecture_with_the_least_shared_memory(kernels):
    assert min(ARCHITECTURES, key=lambda name: ARCHITECTURES[name].shared_per_block) == "sm_75"
    assert [text for kernel in kernels for text in violations("sm_75", kernel)] == []


def test_a_stack_is_noticed(compiler):
    """Unoptimised code for a debugger keeps everything in memory."""
    debug = compile_kernels(compiler, "sm_80", ["--device-debug"])
    assert all(any(violations("sm_80", kernel)) for kernel in debug)
    assert all(kernel.stack > 0 for kernel in debug)


def test_local_memory_is_seen_in_the_machine_code(compiler):
    source = """
    extern "C" __global__ void local(int* x, int n) {
      int copy[64];
      for (int i = 0; i < 64; ++i) copy[i] = x[i];
      for (int i = 0; i < 64; ++i) x[i] = copy[(n + i) % 64];
    }
    extern "C" __global__ void none(int* x) { x[0] = 1; }
    """
    compiled = compiler.compile(source, "sm_80", headers={}, names=["local", "none"])
    code = machine_code(compiled.cubin)
    if code is None:
        pytest.skip("no disassembler")
    assert code["local"].local > 0
    assert code["none"].local == 0
    assert code["local"].tensor_core == 0


def test_violations(kernels):
    def said(kernel):
        return " ".join(violations("sm_75", kernel))

    fused, direct = kernels[0], kernels[-1]
    assert "8 bytes spilled" in said(dataclasses.replace(fused, spilled=8))
    assert "stack frame of 16" in said(dataclasses.replace(fused, stack=16))
    assert "no tensor-core" in said(dataclasses.replace(fused, tensor_core=0))
    assert "3 matrix instructions after a branch" in said(dataclasses.replace(fused, unsynchronised=3))
    assert "no tensor-core" in said(dataclasses.replace(fused, machine=MachineCode(tensor_core=0, local=0)))
    assert "2 instructions use local" in said(
        dataclasses.replace(fused, machine=MachineCode(tensor_core=9, local=2))
    )
    assert "shared memory" in said(dataclasses.replace(fused, dynamic_shared=64 * 1024 + 1))
    assert said(dataclasses.replace(direct, tensor_core=0)) == ""


def test_how_many_blocks_fit(kernels):
    def blocks(**changes):
        return blocks_per_multiprocessor("sm_90", dataclasses.replace(kernels[0], **changes))

    small = {"threads": 256, "registers": 32, "static_shared": 0, "dynamic_shared": 1024}
    assert blocks(**small) == 8  # by threads
    assert blocks(**small | {"registers": 128}) == 2
    assert blocks(**small | {"registers": 129}) == 1
    assert blocks(**small | {"dynamic_shared": 113 * 1024}) == 2
    assert blocks(**small | {"dynamic_shared": 114 * 1024}) == 1
    nothing = dataclasses.replace(kernels[0], **small | {"dynamic_shared": 0})
    assert blocks_per_multiprocessor("sm_70", nothing) == 8


def test_the_table_has_every_kernel(kernels):
    text = as_markdown({"sm_75": kernels}, (12, 9))
    assert all(f"| sm_75 | {kernel.name} | {kernel.threads} |" in text for kernel in kernels)


def test_an_unknown_architecture_or_wrong_source_is_an_error(compiler):
    with pytest.raises(CompileFailed):
        compile_kernels(compiler, "sm_12")
    with pytest.raises(CompileFailed, match="error"):
        compiler.compile("nonsense", "sm_80", headers={}, names=[])


def test_costs_of_tiles_are_instructions_of_the_machine_code(compiler):
    """The choice of a tile (``tile_choice.h``) counts what the compiler makes of the divided kernels."""
    text = (Path(__file__).parents[3] / "plugins" / "dcnv2" / "tile_choice.h").read_text()
    costs = [(int(before), int(later)) for before, later in re.findall(r"\{(\d+), (\d+), \d+\}", text)]
    for arch, column in (("sm_70", 0), ("sm_90", 1)):
        divided = [kernel for kernel in compile_kernels(compiler, arch) if kernel.name.endswith(" divided")]
        assert len(divided) == len(costs)
        for kernel, cost in zip(divided, costs, strict=True):
            if kernel.machine:  # a disassembler of CUDA 13 does not know sm_70
                assert kernel.machine.loop == pytest.approx(cost[column], rel=0.1), f"{arch}, {kernel.name}"


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {a}, [b];", 0),
        ("@%p1 bra $L__BB0_2;\nmma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {a};", 1),
        ("$L__BB0_2:\nwmma.load.a.sync.aligned.row.m16n16k16.shared.f16 {a};", 1),
        ("@!%p1 bra $L__BB0_2;\nbar.warp.sync -1;\nwmma.mma.sync.aligned.row.col {a};", 0),
        ("$L__BB0_2:\nbar.sync 0;\nldmatrix.sync.aligned.m8n8.x4 {a};\nldmatrix.sync.aligned.m8n8.x4 {b};", 0),
        ("bar.warp.sync -1;\n@%p1 bra $L__BB0_2;\nwmma.store.d.sync.aligned.row {a};", 1),
    ],
)
def test_matrix_instructions_after_a_branch_need_a_barrier(lines, count):
    assert unsynchronised(lines) == count


def test_the_loop_that_multiplies_is_counted_without_a_new_taps_part():
    """Ten instructions from label to branch, two of which only some rounds execute."""
    texts = ["MOV", "@P0 BRA `(.L_x_2)", "IMAD", "LDS R1, [R2]", "LDSM", "HMMA.16816.F32", "HMMA.16816.F32"]
    lines = [
        f"        /*{16 * i:04x}*/    {text} ;" for i, text in enumerate([*texts, "STS", "BAR.SYNC", "ISETP"])
    ]
    lines.insert(4, ".L_x_2:")
    listing = "\n".join(
        [".text.kernel:", ".L_x_1:", *lines, "   /*00a0*/  @!P0 BRA `(.L_x_1) ;", "  /*00b0*/  EXIT ;"]
    )
    assert functions_of(listing)["kernel"] == MachineCode(tensor_core=2, local=0, instructions=12, loop=9)
