"""The steps of the check in their order: what each needs, and how long it may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pssdet.errors import BadInput


@dataclass(frozen=True)
class Given:
    """What the work of a step is given.

    Attributes:
        bundles: folder of the bundles that ``--pack`` made.
        work: folder of plans, measured kernels and detections.
        argument: what tells steps of one function apart.
    """

    bundles: Path
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


def _step(
    name: str, about: str, work: str, limit: float, *needs: str, argument: str = "", machine: bool = False
) -> Step:
    return Step(name, about, f"pssdet.validation.gpu_check.{work}", limit, needs, argument, machine)


def _layer_steps(name: str) -> tuple[Step, Step]:
    build, run = f"{name}-engine", f"{name}-run"
    needs = {"convolution": ("tensorrt",), "deform-conv": ("plugins",)}.get(name, ("plugins", "bundles"))
    about = f"{'' if name == LAYERS[0] else 'the plugin '}{name} alone as an engine, FP32 and FP16"
    again = "opened again: two shapes, a batch, a CUDA graph"
    return (
        _step(build, about, "layer_engines:build", 90, *needs, argument=name),
        _step(run, again, "layer_engines:run", 60, build, argument=name),
    )


def _mini_steps(precision: str) -> tuple[Step, Step]:
    name, argument = f"mini-{precision}", f"mini {precision}"
    about = f"the small detector in {precision.upper()}"
    return (
        _step(name, about, "model_engines:build", 120, "plugins", "bundles", argument=argument),
        _step(
            f"{name}-probe", "what it finds in the probe", "model_engines:probe", 60, name, argument=argument
        ),
    )


_ROW4 = "row4 fp16"

STEPS: tuple[Step, ...] = (
    _step("driver", "the NVIDIA driver and its first GPU", "machine:driver", 60, machine=True),
    _step("cuda", "memory, a stream, a CUDA graph", "machine:cuda", 60, "driver", machine=True),
    _step("kernels", "the library of CUDA kernels", "machine:kernels", 30, "driver", machine=True),
    _step("bundles", "what --pack made, or an export", "machine:bundles", 120, "driver", machine=True),
    _step("deform-conv", "each tile of DCNv2 against float64", "deform_conv:check", 120, "cuda", "kernels"),
    _step("detection", "the other kernels against ONNX", "detection:check", 90, "cuda", "kernels", "bundles"),
    _step("tensorrt", "TensorRT and its way to FP16", "machine:tensorrt", 60, "cuda", machine=True),
    _step("plugins", "the plugin library in TensorRT", "machine:plugins", 60, "tensorrt", machine=True),
    *(step for name in LAYERS for step in _layer_steps(name)),
    *_mini_steps("fp32"),
    *_mini_steps("fp16"),
    _step("row4", "row 4 in FP16, drawn parameters", "model_engines:build", 420, "plugins", argument=_ROW4),
    _step("row4-times", "its latency, its parts' shares", "model_engines:times", 60, "row4", argument=_ROW4),
    _step("row4-stages", "again, returning its stages", "model_engines:stages", 420, "row4", argument=_ROW4),
    _step("scenes", "300 scenes, FP16", "model_engines:scenes", 120, "mini-fp16", argument="scenes fp16"),
)


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
