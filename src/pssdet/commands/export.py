"""Export a detector or classifier from its Paddle checkpoint to a verified ONNX file."""

from __future__ import annotations

from pathlib import Path

from pssdet.errors import BadInput
from pssdet.models.classification import ClassifierEntry
from pssdet.models.zoo import DEFAULT_MODEL, ZooEntry


def export(
    *,
    model: str = "",
    config: Path | None = None,
    weights: str = "",
    labels: Path | None = None,
    output: Path | None = None,
    json: bool = False,
) -> None:
    """Export a detector or classifier from its Paddle checkpoint to ONNX and prove that nothing was lost.

    Writes model.onnx and its card model.json. ONNX Runtime is compared with Paddle stage by stage on a
    picture and on a batch of two; beyond the limits nothing is written and the exit code is 1.

    Args:
        model: Configuration name; ``pssdet zoo`` lists them (default: mini_faster).
        config: A PaddleDetection YAML file of your own, instead of --model; needs --weights.
        weights: Checkpoint file, folder or URL (default: the published one), or ``none`` for
            seeded random parameters.
        labels: File with the names of the classes, one per line (default: the model's own, or numbers).
        output: Folder to write to (default: artifacts/MODEL, or artifacts/ and the name of the YAML file).
        json: Print the card instead of a table.
    """
    import msgspec

    from pssdet.commands.stages import stage_table
    from pssdet.console import OUT, steps
    from pssdet.export import require_export
    from pssdet.models.card import encode
    from pssdet.models.labels import read_labels

    entry = _entry(model, config, weights)
    if labels is not None:
        entry = msgspec.structs.replace(entry, labels=read_labels(labels, entry.architecture.num_classes))
    require_export()
    from pssdet.export.pipeline import export_model

    folder = output or Path("artifacts") / entry.name
    with steps() as progress:
        card = export_model(entry, weights, folder, progress)
    if json:
        print(encode(card).decode(), end="")
        return
    OUT.print(stage_table(f"{entry.name}: ONNX Runtime against Paddle", card.verification))
    if card.weights.kind == "seeded":
        OUT.print("parameters: seeded random values, good for measuring speed, not for detecting anything")
    OUT.print(
        f"nodes: {card.graph.nodes_converted} as converted, {card.graph.nodes} as exported (functions inlined)"
    )
    OUT.print(f"wrote {folder / card.onnx.name} ({card.onnx.bytes / 1e6:.0f} MB) and its card")


def _entry(model: str, config: Path | None, weights: str) -> ZooEntry | ClassifierEntry:
    """What to export: the zoo's, or what a configuration describes."""
    from pssdet.models.zoo import find_any

    if config is None:
        return find_any(model or DEFAULT_MODEL)
    if model:
        raise BadInput("--model and --config both name a detector; give one of them")
    if not weights:
        raise BadInput(
            "--config needs --weights: a checkpoint's file, folder or URL, or none for seeded random parameters"
        )
    from pssdet.console import ERR
    from pssdet.models.configuration.zoo_entry import read_configuration, summary

    entry = read_configuration(config)
    ERR.print(f"  {config}: {summary(entry)}", style="dim", soft_wrap=True)
    return entry
