"""Measure an exported classifier's top-1 and top-5 accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def top1(
    *,
    images: Path,
    listing: Annotated[Path, Parameter(name="--list")],
    model: Path = Path("artifacts/resnet50_vd_ssld"),
    batch: int = 16,
    json: bool = False,
) -> None:
    """Measure an exported classifier's top-1 and top-5 accuracy, in ONNX Runtime on the CPU.

    With ImageNet-1k's 50,000 validation pictures this is the check of the headline's 82.39 %. Every picture
    of the list counts; one that cannot be read ends the run.

    Args:
        images: Folder that the list's file names are relative to.
        listing: Lines "FILE CLASS", classes counted from 0, such as PaddleClas's val_list.txt.
        model: Folder of the exported classifier (default: artifacts/resnet50_vd_ssld).
        batch: Pictures run at once (default: 16).
        json: Print the counts as JSON.
    """
    import msgspec
    from rich.progress import Progress

    from pssdet.console import ERR, OUT
    from pssdet.models.card import read_classifier_card
    from pssdet.models.zoo import CLASSIFIERS
    from pssdet.validation.top_k import measure, read_list

    pictures = read_list(listing, images, read_classifier_card(model).architecture.num_classes)
    with Progress(console=ERR, redirect_stdout=False, transient=True, disable=not ERR.is_terminal) as bar:
        task = bar.add_task("classifying", total=len(pictures))
        result = measure(model, pictures, batch, lambda count: bar.advance(task, count))
    if json:
        print(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
        return
    for name, right in (("top-1", result.top1), ("top-5", result.top5)):
        OUT.print(f"{name} {100 * right / result.pictures:.2f} % ({right} of {result.pictures} pictures)")
    if result.weights.kind == "seeded":
        OUT.print("parameters: seeded random values; the accuracy says nothing")
        return
    for entry in CLASSIFIERS:
        if entry.name == result.model:
            OUT.print(
                f"published: top-1 {entry.top1} %, top-5 {entry.top5} % on ImageNet-1k's validation pictures"
            )
            OUT.print(f"note: {entry.note}")
