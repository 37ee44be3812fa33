"""Build an engine from an exported detector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pssdet.engines.options import HardwareCompatible
from pssdet.models.zoo import DEFAULT_MODEL

if TYPE_CHECKING:
    from pssdet.models.card import LayersRecord

#: An option that is given once per profile, each time with one value.
_Shapes = Annotated[tuple[str, ...], Parameter(consume_multiple=False)]


def build(
    *,
    model: str = DEFAULT_MODEL,
    backend: str = "auto",
    fp16: bool = False,
    int8: bool = False,
    output: Path | None = None,
    json: bool = False,
    recipe: Path | None = None,
    tune_precision: Path | None = None,
    images: Path | None = None,
    annotations: Path | None = None,
    calibration: Path | None = None,
    min_shapes: _Shapes = (),
    opt_shapes: _Shapes = (),
    max_shapes: _Shapes = (),
    workspace: int | None = None,
    timing_cache: Path | None = None,
    stages: bool = False,
    strongly_typed: bool = False,
    version_compatible: bool = False,
    hardware_compatible: HardwareCompatible | None = None,
    plugins_in_plan: bool = False,
) -> None:
    """Build an engine from an exported detector.

    The detector is exported first if that was not done yet. On a machine without a GPU, --fp16 gives an
    engine that emulates half precision: its accuracy is half precision's, its speed is not.

    TensorRT engines are kept in a cache (PSSDET_CACHE): what was built once from the same inputs is taken from there.

    Args:
        model: Configuration name, name of an exported model in artifacts/, or its folder.
        backend: One of auto, tensorrt, onnxruntime, paddle; auto takes the fastest that runs here.
        fp16: Half precision; DCN offsets, box decoding and NMS stay in float32.
        int8: 8-bit integers, with ranges from --calibration; onnxruntime emulates it.
        output: Folder to write to (default: MODEL's folder/BACKEND-PRECISION).
        json: Print the engine's card instead of a summary.
        recipe: JSON file: which nodes stay float32 in --fp16 or --int8 (default: the one that ships with the model).
        tune_precision: Find the smallest recipe that keeps the accuracy, write it to this file, and build with it.
        images: Folder of pictures that --tune-precision judges by (default for a bundled detector: rendered scenes).
        annotations: COCO instances file of --images: AP decides; without it, agreement with the float32 model.
        calibration: Folder of pictures from which --int8 takes its ranges (default for a bundled detector: scenes).
        min_shapes: TensorRT: smallest input, NxHxW, e.g. 1x320x320; again for a further profile.
        opt_shapes: TensorRT: typical input; kernels are chosen for it (default: the model's test size).
        max_shapes: TensorRT: largest input.
        workspace: TensorRT: limit of the builder's scratch memory, MiB.
        timing_cache: TensorRT: file of measured kernels, read and added to (default: one in the cache).
        stages: TensorRT: the engine also returns every stage, for the stage-by-stage comparison; slower.
        strongly_typed: TensorRT 10: the graph says every type, as it always does from 11 on.
        version_compatible: TensorRT: the engine also runs in later versions of the same major version.
        hardware_compatible: TensorRT: the engine also runs on other GPUs: ampere_plus or same_compute_capability.
        plugins_in_plan: TensorRT: the engine carries the plugin library.
    """
    from pssdet.commands.artifacts import bundled_scenes, model_folder, render_scenes
    from pssdet.commands.tuning import Tuning
    from pssdet.console import OUT, steps
    from pssdet.engines.build_engine import build_engine, engine_folder
    from pssdet.engines.options import BuildOptions
    from pssdet.engines.registry import choose_backend
    from pssdet.errors import BadInput
    from pssdet.models.card import Precision, encode

    if fp16 and int8:
        raise BadInput("--fp16 and --int8 exclude each other; give one")
    if recipe is not None and tune_precision is not None:
        raise BadInput("--recipe and --tune-precision exclude each other; the latter makes a recipe")
    precision: Precision = "fp16" if fp16 else "int8" if int8 else "fp32"
    scenes, tuning = bundled_scenes(model), Tuning(tune_precision, images, annotations)
    tuning.check(precision, scenes)
    options = BuildOptions(
        recipe=recipe or tune_precision,
        calibration=calibration or (scenes if int8 else None),
        min_shapes=min_shapes,
        opt_shapes=opt_shapes,
        max_shapes=max_shapes,
        workspace=workspace,
        timing_cache=timing_cache,
        stages=stages,
        strongly_typed=strongly_typed,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        plugins_in_plan=plugins_in_plan,
    )
    chosen = choose_backend(backend, precision)
    options.require(chosen.name, chosen.options, precision)
    with steps() as progress:
        folder = model_folder(model, progress)
        if scenes is not None and options.calibration == scenes:
            render_scenes(scenes, progress)
        tuning.run(folder, scenes, progress)
        progress(f"building the {chosen.name} engine in {precision}")
        target = output or engine_folder(folder, chosen, precision, stages=stages)
        card = build_engine(folder, chosen, precision, target, progress, options)
    if json:
        print(encode(card).decode(), end="")
        return
    size = sum(file.bytes for file in card.files) / 1e6
    emulated = f", emulated, {card.fp32_nodes} nodes of trunk and head stay in float32" if card.emulated else ""
    if card.model.weights.kind == "seeded":
        OUT.print("parameters: seeded random values, good for measuring speed, not for detecting anything")
    proved = ""
    if card.layers and precision != "fp32":
        proved = f", {_narrow(card.layers):.1%} of the convolutions' work narrower than float32"
    OUT.print(f"wrote {target} ({size:.0f} MB, {precision}{emulated}{proved})")


def _narrow(layers: LayersRecord) -> float:
    """Part of the convolutions' operations that is known to be in float16 or int8."""
    flops = layers.convolution_flops
    return sum(flops.get(each, 0) for each in ("fp16", "int8")) / max(sum(flops.values()), 1)
