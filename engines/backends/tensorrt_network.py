"""What TensorRT is given to build: the rewritten graph and the settings; built here, or written for trtexec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pssdet.engines.backend import INDIFFERENT, PrecisionOptions
from pssdet.engines.precision.recipe import Recipe, chosen_recipe
from pssdet.engines.trt.plan.builder import BuildSettings
from pssdet.engines.trt.plan.capabilities import Hardware, Route, graph_for
from pssdet.engines.trt.profiles import Profile, default_profile, read_profiles
from pssdet.errors import BadInput, GateFailed
from pssdet.files import sha256_of, staged_folder
from pssdet.models.card import MODEL_ONNX, CalibrationRecord, ModelCard, Precision, read_model_card

if TYPE_CHECKING:
    import onnx

    from pssdet.console import Progress

NETWORK, SETTINGS, SCRIPT, PLAN = "network.onnx", "settings.json", "trtexec.sh", "model.plan"

_MIB = 1 << 20


@dataclass(frozen=True)
class TensorRTOptions(PrecisionOptions):
    """Options that TensorRT has besides."""

    min_shapes: tuple[str, ...] = ()
    """TensorRT: smallest input, NxHxW, e.g. 1x320x320; again for a further profile."""

    opt_shapes: tuple[str, ...] = ()
    """TensorRT: typical input; kernels are chosen for it (default: the model's test size)."""

    max_shapes: tuple[str, ...] = ()
    """TensorRT: largest input."""

    workspace: int | None = None
    """TensorRT: limit of the builder's scratch memory, MiB."""

    timing_cache: Path | None = field(default=None, metadata=INDIFFERENT)
    """TensorRT: file of measured kernels, read and added to (default: one in the cache)."""

    stages: bool = False
    """TensorRT: the engine also returns every stage, for the stage-by-stage comparison; slower."""

    precision_route: Literal["typed", "flags"] | None = None
    """TensorRT 10: typed (the default there): the graph says every type; flags: the builder chooses types."""

    version_compatible: bool = False
    """TensorRT: the engine also runs in later versions of the same major version."""

    hardware_compatible: Hardware | None = None
    """TensorRT: the engine also runs on other GPUs: ampere_plus or same_compute_capability."""

    plugins_in_plan: bool = False
    """TensorRT: the engine carries the plugin library; needs --version-compatible."""

    def check(self, precision: str) -> None:
        """Refuse impossible values, and options without the one that they need; see ``BuildOptions``."""
        if self.workspace is not None and self.workspace < 1:
            raise BadInput(f"--workspace is in MiB, 1 or more, not {self.workspace}")
        if self.plugins_in_plan and not self.version_compatible:
            raise BadInput(
                "TensorRT puts plugin libraries into version-compatible engines only:"
                " give --version-compatible beside --plugins-in-plan"
            )
        if self.precision_route == "flags" and precision == "fp32":
            raise BadInput("--precision-route flags is for --fp16 and --int8; leave it out in float32")
        super().check(precision)

    @property
    def typed(self) -> bool | None:
        """Whether the network is to be strongly typed; None leaves it to the version."""
        return None if self.precision_route is None else self.precision_route == "typed"


class Network(NamedTuple):
    """What a plan is built from.

    Attributes:
        exported: the model as it was exported.
        graph: the model for TensorRT's parser.
    """

    exported: onnx.ModelProto
    graph: onnx.ModelProto
    settings: BuildSettings
    recipe: Recipe | None
    calibration: CalibrationRecord | None


def prepare_network(
    model: Path,
    card: ModelCard,
    precision: Precision,
    options: TensorRTOptions,
    route: Route,
    progress: Progress,
    *,
    plugins: Path | None,
    timing_cache: Path | None,
) -> Network:
    """Rewrite the model in the folder ``model`` for TensorRT; needs neither TensorRT nor a GPU.

    Args:
        plugins: the plugin library.
        timing_cache: file of measured kernels.

    Raises:
        BadInput: the graph has something that TensorRT cannot be given, or a recipe is not for it.
        EnvironmentMissing: int8 needs ONNX Runtime for its ranges.
    """
    import onnx

    from pssdet.engines.trt.graph.rewrite import plugin_graph
    from pssdet.models.stages import tap_names

    reduced = precision != "fp32"
    exported = onnx.load(model / MODEL_ONNX)
    recipe = chosen_recipe(options.recipe, card.model, exported.graph, precision) if reduced else None
    source, calibration = exported, None
    if recipe is not None and options.calibration is not None:
        from pssdet.engines.precision.quantise import quantised_model

        made = quantised_model(exported, model, card, options.calibration, progress, recipe=recipe)
        source, calibration = made.model, made.calibration
    graph, float32 = graph_for(plugin_graph(source), route, recipe.fp32 if recipe else (), reduced=reduced)
    settings = BuildSettings(
        profiles=_profiles(card, options),
        route=route,
        int8=precision == "int8",
        float32=float32,
        stages=tap_names(card.architecture) if options.stages else (),
        plugins=plugins,
        workspace=options.workspace * _MIB if options.workspace is not None else None,
        timing_cache=timing_cache,
        version_compatible=options.version_compatible,
        hardware=options.hardware_compatible,
        plugins_in_plan=options.plugins_in_plan,
    )
    return Network(exported, graph, settings, recipe, calibration)


def _profiles(card: ModelCard, options: TensorRTOptions) -> tuple[Profile, ...]:
    steps = card.preprocessing
    given = read_profiles(options.min_shapes, options.opt_shapes, options.max_shapes)
    return given or (default_profile(steps.short_side, steps.long_side),)


def write_network(
    model: Path, precision: Precision, options: TensorRTOptions, target: Path, progress: Progress
) -> None:
    """Write into the folder ``target`` what a build gives to TensorRT, and the ``trtexec`` line that builds it.

    Neither TensorRT nor a GPU is needed. Without ``precision_route`` reduced precision is strongly typed.

    Args:
        model: the exported model's folder.

    Raises:
        BadInput: as ``prepare_network`` and ``trtexec.command``, or the files cannot be written.
        EnvironmentMissing: as ``prepare_network``.
        GateFailed: the graph lacks a stage that was asked for.
    """
    from pssdet.engines.trt.plan.held import expected_to_hold
    from pssdet.engines.trt.plan.trtexec import command

    options.check(precision)
    card = read_model_card(model)
    card.onnx.verify(model)
    flags = options.precision_route == "flags"
    typed = precision != "fp32" or options.precision_route == "typed"
    route: Route = "flags" if flags else "typed" if typed else "plain"
    made = prepare_network(
        model, card, precision, options, route, progress, plugins=None, timing_cache=options.timing_cache
    )
    graph, settings = made.graph, made.settings
    _return_stages(graph, settings.stages)
    held = expected_to_hold(graph, settings.float32)
    line = command(graph, settings, held, NETWORK, PLAN)
    with staged_folder(target) as stage:
        (stage / NETWORK).write_bytes(graph.SerializeToString())
        told = {
            "model": card.model,
            "precision": precision,
            "recipe": list(made.recipe.fp32) if made.recipe else [],
            "network": {"file": NETWORK, "sha256": sha256_of(stage / NETWORK)},
            **_told(settings, [each.name for each in graph.graph.input]),
            "held_to_float32": held._asdict(),
            "trtexec": line,
        }
        (stage / SETTINGS).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        (stage / SCRIPT).write_text(_script(line), encoding="utf-8")
        (stage / SCRIPT).chmod(0o755)


def _return_stages(model: onnx.ModelProto, names: tuple[str, ...]) -> None:
    """Make the stages outputs of the graph, in place: ``trtexec`` cannot mark other tensors."""
    from onnx import helper

    from pssdet.engines.trt.graph.types import tensor_types

    types, present = tensor_types(model), {output.name for output in model.graph.output}
    if missing := sorted(set(names) - set(types) - present):
        raise GateFailed(f"the graph has no tensor called {', '.join(missing)}; export the model again")
    model.graph.output.extend(
        helper.make_tensor_value_info(name, types[name], None) for name in names if name not in present
    )


def _told(settings: BuildSettings, inputs: list[str]) -> Mapping[str, Any]:
    """The settings as plain data; shapes of each input of each profile are [min, opt, max]."""
    profiles = [{name: list(profile.range_of(name)) for name in inputs} for profile in settings.profiles]
    return {
        "route": settings.route,
        "profiles": profiles,
        "stages": list(settings.stages),
        "flags": [
            *(("FP16", "OBEY_PRECISION_CONSTRAINTS") if settings.route == "flags" else ()),
            *(("INT8",) if settings.route == "flags" and settings.int8 else ()),
            *(("VERSION_COMPATIBLE",) if settings.version_compatible else ()),
        ],
        "cleared_flags": ["TF32"],
        "workspace_bytes": settings.workspace,
        "hardware_compatibility": settings.hardware,
        "plugins_in_plan": settings.plugins_in_plan,
    }


def _script(line: str) -> str:
    return f"""#!/bin/sh
# Builds {PLAN} of {NETWORK} in this folder; PSSDET_PLUGINS names libpssdet_plugins.so of this TensorRT.
set -eu
PSSDET_PLUGINS=$(realpath "${{PSSDET_PLUGINS:?names libpssdet_plugins.so}}")
cd "$(dirname "$0")"
{line}
"""
