"""OpenVINO on a CPU: the exported model as an IR of standard operators, in float32, bfloat16 or int8."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pssdet.console import Progress
from pssdet.engines.backend import AUTOMATIC, Backend, PrecisionOptions, Session, Threading
from pssdet.machine import cpu_flags
from pssdet.models.card import MODEL_ONNX, EngineCard, LayersRecord, Precision

if TYPE_CHECKING:
    import onnx

    from pssdet.engines.ov.conversion import ComputePrecision

IR = "model.xml"
#: The first release that engines are proved with, and the first that may be another.
_OLDEST, _OTHER = (2026, 4), (2027, 0)
_INSTALL = f"pip install 'openvino>={_OLDEST[0]}.{_OLDEST[1]},<{_OTHER[0]}'"

#: Instructions for products of bfloat16, and of 8-bit integers summed in 32 bits, as Linux names them.
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})


class _OpenVinoBackend(Backend[PrecisionOptions]):
    """Converts the model, compiles it, and reads back what its layers compute in."""

    name = "openvino"
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "int8")
    files = (IR, "model.bin")
    packages = ("openvino", "onnx", "numpy")
    options = PrecisionOptions
    threading = frozenset({"threads", "streams"})
    tunes = ("bf16",)

    def missing(self) -> str | None:
        if importlib.util.find_spec("openvino") is None:
            return f"OpenVINO is not installed; {_INSTALL}"
        version = _version()
        if version is not None and not _OLDEST <= _release(version) < _OTHER:
            return f"engines are not proved with OpenVINO {version}; {_INSTALL}"
        return None

    def missing_for(self, precision: Precision) -> str | None:
        if precision == "bf16" and not _BF16 & cpu_flags():
            return "this CPU has no bfloat16 instructions (AVX-512 BF16, AMX); take float32 or --int8"
        if precision == "int8" and not _VNNI & cpu_flags():
            return "this CPU has no VNNI instructions, without which sums of int8 overflow; take float32"
        return self.missing()

    def missing_to_open(self, card: EngineCard) -> str | None:
        # In int8, the other layers compute in bfloat16 where the CPU of the build had it.
        bf16 = card.layers is not None and "bf16" in card.layers.layers
        if card.precision == "int8" and bf16 and self.missing_for("bf16"):
            return "this engine has layers in bfloat16, for which this CPU has no instructions; build it here"
        return self.missing_for(card.precision)

    def build(
        self, model: Path, draft: EngineCard, folder: Path, options: PrecisionOptions, progress: Progress
    ) -> EngineCard:
        """Write the IR; its layers must compute in the precision that was asked for.

        In int8, what is not quantised computes in bfloat16 where this CPU has it.
        """
        import onnx

        from pssdet.engines.ov.conversion import save_ir, to_openvino
        from pssdet.engines.ov.held import completed
        from pssdet.engines.precision.recipe import chosen_recipe
        from pssdet.models.stages import tap_names

        exported = onnx.load(model / MODEL_ONNX)
        taps = tap_names(draft.model.architecture)
        if draft.precision == "fp32":
            save_ir(to_openvino(exported, taps), folder / IR, "f32")
            return _attested(draft, folder, exported, ())
        recipe = chosen_recipe(options.recipe, draft.model.model, exported.graph, draft.precision)
        float32 = completed(exported.graph, recipe.fp32)
        draft = replace(draft, recipe=recipe.record(), fp32_nodes=len(float32))
        source = exported
        chosen = [node.name for node in exported.graph.node if node.name not in float32]
        if draft.precision == "int8":
            from pssdet.engines.ov.unsigned import with_unsigned_activations
            from pssdet.engines.precision.quantise import quantised_model

            made = quantised_model(exported, model, draft.model, options.pictures(), progress, recipe=recipe)
            source, chosen = with_unsigned_activations(made.model), list(made.layers)
            draft = replace(draft, calibration=made.calibration)
        progress("converting and compiling")
        rest: ComputePrecision = "bf16" if self.missing_for("bf16") is None else "f32"
        save_ir(to_openvino(source, taps, float32), folder / IR, rest, float32)
        return _attested(draft, folder, exported, chosen)

    def open(
        self, folder: Path, card: EngineCard, taps: Sequence[str] = (), threading: Threading = AUTOMATIC
    ) -> Session:
        """Open a session; compiled models are cached on disk, so that opening again is quicker."""
        del card
        from pssdet.engines.ov.session import OpenVinoSession

        return OpenVinoSession(folder / IR, taps, threading, cached=not taps)

    def open_trial(self, exported: onnx.ModelProto, float32: Collection[str], folder: Path) -> Session:
        """The engine in bfloat16; what ``build`` writes, but that no stage keeps its name."""
        from pssdet.engines.ov.conversion import save_ir, to_openvino
        from pssdet.engines.ov.held import completed
        from pssdet.engines.ov.session import OpenVinoSession

        held = completed(exported.graph, float32)
        save_ir(to_openvino(exported, (), held), folder / IR, "bf16", held)
        return OpenVinoSession(folder / IR)


def _attested(draft: EngineCard, folder: Path, exported: onnx.ModelProto, chosen: Iterable[str]) -> EngineCard:
    """The card with what the compiled model computes in, which must be what the card says.

    The one of any shape must keep to that, too; what the card records is of the typical size.

    Args:
        exported: the model in float32.
        chosen: its nodes that are to run in the precision asked for; of these, convolutions count.

    Raises:
        GateFailed: it computes in something else.
    """
    from pssdet.engines.input_shapes import input_shape, typical_size
    from pssdet.engines.ov.executed import executed, prove
    from pssdet.engines.ov.session import OpenVinoSession
    from pssdet.engines.precision.operations import convolution_flops

    steps = draft.model.preprocessing
    size = typical_size(steps.short_side, steps.long_side)
    biases = _biases(exported.graph)
    kinds = {node.name: node.op_type for node in exported.graph.node}
    counted = convolution_flops(exported, size)
    plain = {name: operations for name, operations in counted.items() if kinds[name] == "Conv"}
    deformable = {name: operations for name, operations in counted.items() if name not in plain}
    with closing(OpenVinoSession(folder / IR)) as session:
        found = executed(session.compiled(input_shape("image", size)), biases)
        if draft.precision in ("bf16", "int8"):
            wanted = {name: plain[name] for name in chosen if name in plain}
            float32 = draft.recipe.fp32 if draft.recipe else ()
            for each in (found, executed(session.compiled(None), biases)):
                prove(each, draft.precision, wanted, float32)
    wide = sorted(found.others(plain, draft.precision), key=plain.__getitem__, reverse=True)
    record = LayersRecord(
        layers=found.layers,
        convolution_flops=found.operations(plain),
        wide=tuple(name for name in wide if found.nodes.get(name) in ("fp32", None)),
        deformable_flops=found.operations(deformable),
    )
    return replace(draft, layers=record)


def _version() -> str | None:
    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:  # a build of one's own, or a nightly one
        return None


def _release(version: str) -> tuple[int, ...]:
    """Year and number of a release, of e.g. ``2026.4.0``."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _biases(graph: onnx.GraphProto) -> dict[str, str]:
    """The node that adds the bias to each ``MatMul``, by name."""
    parameters = {tensor.name for tensor in graph.initializer}
    products = {node.output[0]: node.name for node in graph.node if node.op_type == "MatMul"}
    return {
        products[name]: node.name
        for node in graph.node
        if node.op_type == "Add" and parameters & set(node.input)
        for name in node.input
        if name in products
    }


BACKEND = _OpenVinoBackend()
