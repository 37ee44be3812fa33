"""Build an engine from an exported detector."""

from __future__ import annotations

from pathlib import Path

from pssdet.cli import run
from pssdet.models.zoo import DEFAULT_MODEL


def build(
    *,
    model: str = DEFAULT_MODEL,
    backend: str = "auto",
    fp16: bool = False,
    int8: bool = False,
    output: Path | None = None,
    json: bool = False,
) -> None:
    """Build an engine from an exported detector.

    The detector is exported first if that was not done yet. On a machine without a GPU, --fp16 gives an
    engine that emulates half precision: its accuracy is half precision's, its speed is not.

    Args:
        model: Configuration name, name of an exported model in artifacts/, or its folder.
        backend: One of auto, onnxruntime, paddle; auto takes the fastest that runs here (tensorrt: not yet).
        fp16: Half precision; DCN offsets, box decoding and NMS stay in float32.
        int8: 8-bit integers, where the backend offers them.
        output: Folder to write to (default: MODEL's folder/BACKEND-PRECISION).
        json: Print the engine's card instead of a summary.
    """
    from pssdet.console import OUT, steps
    from pssdet.engines.builder import build_engine, engine_folder
    from pssdet.engines.catalogue import choose_backend
    from pssdet.engines.on_demand import model_folder
    from pssdet.errors import BadInput
    from pssdet.models.card import Precision, encode

    if fp16 and int8:
        raise BadInput("--fp16 and --int8 exclude each other; give one")
    precision: Precision = "fp16" if fp16 else "int8" if int8 else "fp32"
    chosen = choose_backend(backend, precision)
    with steps() as progress:
        folder = model_folder(model, progress)
        progress(f"building the {chosen.name} engine in {precision}")
        target = output or engine_folder(folder, chosen, precision)
        card = build_engine(folder, chosen, precision, target, progress)
    if json:
        print(encode(card).decode(), end="")
        return
    size = sum(file.bytes for file in card.files) / 1e6
    emulated = f", emulated, {card.fp32_nodes} nodes of trunk and head stay in float32" if card.emulated else ""
    if card.model.weights.kind == "seeded":
        OUT.print("parameters: seeded random values, good for measuring speed, not for detecting anything")
    OUT.print(f"wrote {target} ({size:.0f} MB, {precision}{emulated})")


if __name__ == "__main__":
    run(build)
