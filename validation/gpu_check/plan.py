"""The steps of the check in their order: what each needs, and how long it may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pssdet.errors import BadInput

_HERE = "pssdet.validation.gpu_check"


@dataclass(frozen=True)
class Given:
    """What the work of a step is given.

    Attributes:
        packed: folder of the bundles that ``--pack`` made.
        work: folder of plans, measured kernels and detections.
        argument: what tells steps of one function apart.
    """

    packed: Path
    work: Path
    argument: str


@dataclass(frozen=True)
class Findings:
    """What a step found: figures that JSON can hold, and every failed check in words."""

    figures: dict[str, Any]
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        about: what it does, for people.
        work: the function, ``module:name``; it takes ``Given`` and returns ``Findings``.
        limit: seconds after which its process is ended.
        needs: steps that must have passed.
        machine: it is quick and says what this machine is; ``--resume`` runs it again.
    """

    name: str
    about: str
    work: str
    limit: float
    needs: tuple[str, ...] = ()
    argument: str = ""
    machine: bool = False


#: Engines of one layer each; the first has no plugin, so that its failure is TensorRT's own.
LAYERS = ("convolution", "deform-conv", "proposals", "roi-align", "nms")


def _layer_steps() -> list[Step]:
    steps = []
    for name in LAYERS:
        build, run = f"{name}-engine", f"{name}-run"
        needed = "tensorrt" if name == LAYERS[0] else "plugins"
        about = "an engine of one convolution" if name == LAYERS[0] else f"the plugin alone in an engine: {name}"
        steps += [
            Step(build, f"{about}; FP32 and FP16", f"{_HERE}.layer_engines:build", 90, (needed,), name),
            Step(run, "opened again: two shapes, a batch, a CUDA graph", f"{_HERE}.layer_engines:run", 60, (build,), name),
        ]
    return steps


def _model_steps() -> list[Step]:
    models = f"{_HERE}.model_engines"
    return [
        Step("mini-fp32", "the small detector in FP32", f"{models}:build", 120, ("plugins",), "mini fp32"),
        Step("mini-fp32-probe", "what it finds in the probe", f"{models}:probe", 60, ("mini-fp32",), "mini fp32"),
        Step("mini-fp16", "the small detector in FP16", f"{models}:build", 120, ("plugins",), "mini fp16"),
        Step("mini-fp16-probe", "what it finds in the probe", f"{models}:probe", 60, ("mini-fp16",), "mini fp16"),
        Step("row4", "row 4 in FP16, drawn parameters", f"{models}:build", 300, ("plugins",), "row4 fp16"),
        Step("row4-times", "its latency, and the share of its parts", f"{models}:times", 60, ("row4",), "row4 fp16"),
        Step("row4-stages", "row 4 again, returning its stages", f"{models}:stages", 300, ("row4",), "row4 fp16"),
        Step("scenes", "300 scenes in the small detector, FP16", f"{models}:scenes", 120, ("mini-fp16",), "scenes fp16"),
    ]


STEPS: tuple[Step, ...] = (
    Step("driver", "the NVIDIA driver and its first GPU", f"{_HERE}.machine:driver", 60, machine=True),
    Step("cuda", "memory, a stream, a CUDA graph by cuda-bindings", f"{_HERE}.machine:cuda", 60, ("driver",), machine=True),
    Step("kernels", "the library of CUDA kernels", f"{_HERE}.machine:kernels", 30, ("driver",), machine=True),
    Step("deform-conv", "every tile of the DCNv2 kernel against float64", f"{_HERE}.deform_conv:check", 120, ("cuda", "kernels")),
    Step("detection", "the detection kernels against the ONNX functions", f"{_HERE}.detection:check", 90, ("cuda", "kernels")),
    Step("tensorrt", "TensorRT and its way to FP16", f"{_HERE}.machine:tensorrt", 60, ("cuda",), machine=True),
    Step("plugins", "the plugin library in this TensorRT", f"{_HERE}.machine:plugins", 60, ("tensorrt",), machine=True),
    *_layer_steps(),
    *_model_steps(),
)  # fmt: skip


def chosen(steps: Sequence[Step], only: Sequence[str]) -> list[Step]:
    """The steps of these names and all that they need, in their order; all without names.

    Raises:
        BadInput: there is no step of a name.
    """
    by_name = {step.name: step for step in steps}
    if unknown := [name for name in only if name not in by_name]:
        raise BadInput(f"there is no step {unknown[0]!r}; choose from {', '.join(by_name)}")
    wanted, queue = set(), list(only or by_name)
    while queue:
        name = queue.pop()
        wanted.add(name)
        queue += [need for need in by_name[name].needs if need not in wanted]
    return [step for step in steps if step.name in wanted]
