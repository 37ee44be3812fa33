"""Build an engine from an exported detector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pssdet.commands.tuning import Tuning
from pssdet.engines.backends.tensorrt_network import TensorRTOptions
from pssdet.models.zoo import DEFAULT_MODEL

if TYPE_CHECKING:
    from pssdet.engines.backend import Backend
    from pssdet.engines.measure import Measured
    from pssdet.models.card import EngineCard, LayersRecord, Precision

_FLAT = Parameter(name="*")


@dataclass(frozen=True)
class Options(TensorRTOptions):
    """The options of all backends; the one that builds refuses those that it does not have.

    TensorRT has those of ONNX Runtime and more. A new backend's class becomes one more base.
    """


_NO_TUNING = Tuning()
_NO_OPTIONS = Options()


def build(
    *,
    model: str = DEFAULT_MODEL,
    backend: str = "auto",
    fp16: bool = False,
    bf16: bool = False,
    int8: bool = False,
    output: Path | None = None,
    json: bool = False,
    measure: bool = False,
    write_network: Path | None = None,
    tuning: Annotated[Tuning, _FLAT] = _NO_TUNING,
    options: Annotated[Options, _FLAT] = _NO_OPTIONS,
) -> None:
    """Build an engine from an exported detector.

    The detector is exported first if that was not done yet. On a machine without a GPU, --fp16 gives an
    engine that emulates half precision: its accuracy is half precision's, its speed is not.

    TensorRT engines are kept in a cache (PSSDET_CACHE): what was built once from the same inputs
    is taken from there.

    Args:
        model: Configuration name, name of an exported model in artifacts/, or its folder.
        backend: One of auto, tensorrt, openvino, onnxruntime, paddle; auto takes the first that runs here.
        fp16: Half precision; DCN offsets, box decoding and NMS stay in float32.
        bf16: bfloat16 on a CPU that has it (openvino); the same parts stay in float32.
        int8: 8-bit integers, with ranges from --calibration; real with openvino, emulated by onnxruntime.
        output: Folder to write to (default: MODEL's folder/BACKEND-PRECISION).
        json: Print the engine's card instead of a summary.
        measure: Also time every backend that runs the precision here, and say whether auto took the fastest.
        write_network: Folder for the network and the trtexec line that TensorRT builds it by; builds nothing.
    """
    from pssdet.commands.artifacts import bundled_scenes, model_folder, render_scenes
    from pssdet.console import OUT, steps
    from pssdet.engines.build_engine import build_engine, engine_folder
    from pssdet.engines.measure import measure as time_backends
    from pssdet.engines.registry import why_automatic
    from pssdet.errors import BadInput
    from pssdet.models.card import encode

    switches: dict[Precision, bool] = {"fp16": fp16, "bf16": bf16, "int8": int8}
    asked = [name for name, given in switches.items() if given]
    if len(asked) > 1:
        raise BadInput(f"--{' and --'.join(asked)} exclude each other; give one")
    if measure and (backend != "auto" or json):
        raise BadInput("--measure judges the choice of --backend auto in words; leave --backend and --json out")
    if write_network is not None and (output or json or measure):
        raise BadInput("--write-network builds nothing; leave --output, --json and --measure out")
    if options.recipe is not None and tuning.tune_precision is not None:
        raise BadInput("--recipe and --tune-precision exclude each other; the latter makes a recipe")
    precision: Precision = asked[0] if asked else "fp32"
    scenes = bundled_scenes(model)
    tuning.check(precision, scenes)
    options = replace(
        options,
        recipe=options.recipe or tuning.tune_precision,
        calibration=options.calibration or (scenes if int8 else None),
    )
    chosen = _choose(backend, precision, to_write=write_network is not None)
    accepted = chosen.accept(options, precision)
    with steps() as progress:
        folder = model_folder(model, progress)
        if scenes is not None and options.calibration == scenes:
            render_scenes(scenes, progress)
        tuning.run(folder, precision, scenes, progress)
        if write_network is not None:
            from pssdet.engines.backends import tensorrt_network

            progress("writing the network")
            tensorrt_network.write_network(folder, precision, accepted, write_network, progress)
            OUT.print(
                f"wrote {write_network}; {tensorrt_network.SCRIPT} there builds the plan where TensorRT is"
            )
            return
        progress(f"building the {chosen.name} engine in {precision}")
        target = output or engine_folder(folder, chosen, precision, stages=options.stages)
        reason = why_automatic(chosen, precision) if backend == "auto" else ""
        card = build_engine(folder, chosen, precision, target, progress, options, reason)
        measured = time_backends(folder, precision, options, progress) if measure else None
    if json:
        print(encode(card).decode(), end="")
        return
    OUT.print(_summary(card, target))
    if measured is not None:
        OUT.print(_judged(measured, chosen.name))


def _choose(backend: str, precision: Precision, *, to_write: bool) -> Backend[Any]:
    """The backend that builds, which must run here; to write its network TensorRT need not be here."""
    from pssdet.engines.registry import choose_backend, offered_backend
    from pssdet.errors import BadInput

    if not to_write:
        return choose_backend(backend, precision)
    if backend not in ("auto", "tensorrt"):
        raise BadInput(f"--write-network is for TensorRT, not {backend}; leave --backend out")
    return offered_backend("tensorrt", precision)


def _summary(card: EngineCard, target: Path) -> str:
    size = sum(file.bytes for file in card.files) / 1e6
    emulated = f", emulated, {card.fp32_nodes} nodes of trunk and head stay in float32" if card.emulated else ""
    seeded = ""
    if card.model.weights.kind == "seeded":
        seeded = "parameters: seeded random values, good for measuring speed, not for detecting anything\n"
    proved = ""
    if card.layers and card.precision != "fp32":
        proved = f", {_narrow(card.layers):.1%} of the convolutions' work narrower than float32"
    return f"{seeded}wrote {target} ({size:.0f} MB, {card.precision}{emulated}{proved})"


def _judged(measured: Measured, chosen: str) -> str:
    """What the backends took, and whether the rule of ``auto`` was right here."""
    lines = [f"  {name}: {1000 * seconds:.1f} ms a picture" for name, seconds in measured.seconds.items()]
    lines += [f"  {name}: not measured ({reason})" for name, reason in measured.failed.items()]
    fastest = measured.fastest
    if fastest is None:
        verdict = f"auto took {chosen}; nothing could be measured"
    elif chosen not in measured.seconds:
        verdict = f"auto took {chosen}, which could not be measured; the fastest of the others is {fastest}"
    elif fastest == chosen:
        verdict = f"auto took {chosen}, the fastest here"
    else:
        ratio = measured.seconds[chosen] / measured.seconds[fastest]
        verdict = f"auto took {chosen}, but {fastest} is {ratio:.2f} x faster here: --backend {fastest}"
    return "\n".join([*lines, verdict])


def _narrow(layers: LayersRecord) -> float:
    """Part of the convolutions' operations that is known to be in float16, bfloat16 or int8."""
    flops = layers.convolution_flops
    return sum(flops.get(each, 0) for each in ("fp16", "bf16", "int8")) / max(sum(flops.values()), 1)
