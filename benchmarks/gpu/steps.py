"""The steps of the benchmarks, by benchmark, behind those of the check that say what the machine is."""

from __future__ import annotations

from pssdet.validation.gpu_check.plan import STEPS as CHECK
from pssdet.validation.gpu_check.plan import Step
from pssdet.validation.gpu_check.shapes import DEPTHS, SIZES

BATCHES = (1, 8)
CASES = ("row4", "row1", "row2")
NO_DCN = "no_dcn"
_MODELS = "pssdet.validation.gpu_check.model_engines"


def size_text(size: tuple[int, int]) -> str:
    """Height x width."""
    return f"{size[0]}x{size[1]}"


def sums_name(depth: int, size: tuple[int, int], batch: int) -> str:
    """The step that times a network's deformable layers in sequence."""
    return f"dcnv2-R{depth}-{size_text(size)}-N{batch}"


def _dcnv2() -> list[Step]:
    needs, here = ("deform-conv",), "benchmarks.gpu.dcnv2"
    steps = []
    for size in SIZES:
        for batch in BATCHES:
            argument = f"{size[0]} {size[1]} {batch}"
            for depth in DEPTHS:
                name, about = sums_name(depth, size, batch), f"the DCN layers of ResNet{depth} in sequence"
                steps.append(Step(name, about, f"{here}:sums", 300, needs, f"{depth} {argument}"))
            name, about = f"dcnv2-tiles-{size_text(size)}-N{batch}", "each of its shapes with each tile"
            steps.append(Step(name, about, f"{here}:tiles", 300, needs, argument))
    return steps


def _kernels() -> list[Step]:
    work, about = "benchmarks.gpu.detection_kernels:times", "proposals, RoIAlign and NMS alone"
    return [Step(f"kernels-{name}", f"{about}, {name}", work, 300, ("detection",), name) for name in CASES]


def _engines(name: str) -> list[Step]:
    steps = []
    for precision in ("fp16", "fp32", NO_DCN):
        build = f"{name}-{precision}"
        work = f"{_MODELS}:build" if precision != NO_DCN else "benchmarks.gpu.dcnv2:build_without"
        steps.append(Step(build, f"{name}, {precision}", work, 900, ("plugins",), f"{name} {precision}"))
        if precision != NO_DCN:
            about = "its detections against ONNX Runtime's"
            steps.append(
                Step(f"{build}-agreement", about, f"{_MODELS}:scenes", 300, (build,), f"{name} {precision}")
            )
        about = "its latency, the share of its parts"
        steps.append(Step(f"{build}-times", about, f"{_MODELS}:times", 300, (build,), f"{name} {precision}"))
    return steps


def _scenes() -> list[Step]:
    mini = [step for step in CHECK if step.name in ("mini-fp16", "mini-fp32", "scenes")]
    about = "300 scenes in the small detector, FP32"
    return [*mini, Step("scenes-fp32", about, f"{_MODELS}:scenes", 120, ("mini-fp32",), "scenes fp32")]


_ALL = {"dcnv2": _dcnv2(), "kernels": _kernels(), "mini": _scenes(), **{name: _engines(name) for name in CASES}}

#: Names of the steps of each benchmark.
BENCHMARKS = {name: [step.name for step in steps] for name, steps in _ALL.items()}

_FIRST = [step for step in CHECK if step.machine or step.name in ("deform-conv", "detection")]
STEPS = (*_FIRST, *(step for steps in _ALL.values() for step in steps))
