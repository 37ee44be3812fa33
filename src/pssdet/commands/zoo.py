"""List the models of the zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pssdet.models.classification import ClassifierEntry
    from pssdet.models.zoo import ZooEntry


def zoo(*, json: bool = False) -> None:
    """List the models, with what was published of them.

    Args:
        json: Print everything as JSON; where the classes are numbered, how many there are.
    """
    import msgspec
    from rich.table import Table

    from pssdet.console import OUT
    from pssdet.models.numerics import DYGRAPH, STATIC
    from pssdet.models.zoo import CLASSIFIERS, HEADLINE, PUBLISHED, ZOO

    if json:
        models, classifiers = ([_plain(entry) for entry in entries] for entries in (ZOO, CLASSIFIERS))
        everything = {"models": models, "classifiers": classifiers, "headline": HEADLINE}
        print(msgspec.json.format(msgspec.json.encode(everything), indent=2).decode())
        return
    table = Table(title="PSS-DET as published (not measured here)", title_justify="left")
    for column in ("row", "model", "AP", "FPS", "year", "size"):
        table.add_column(column, no_wrap=True)
    for entry, published in PUBLISHED:
        table.add_row(
            str(entry.row),
            entry.name,
            f"{published.box_ap:.1f}",
            f"{published.fps:.3f}",
            str(published.year),
            _size(entry),
        )
    OUT.print(table)
    others = Table(title="No published AP/FPS", title_justify="left")
    for column in ("model", "what", "classes", "size"):
        others.add_column(column, no_wrap=True)
    for entry in ZOO:
        if entry.published is None:
            others.add_row(entry.name, entry.title, str(entry.architecture.num_classes), _size(entry))
    OUT.print(others)
    for classifier in CLASSIFIERS:
        OUT.print(
            f"{classifier.name}, a classifier: {classifier.title}, published top-1 {classifier.top1} %, top-5"
            f" {classifier.top5} % (ImageNet-1k; not measured here); {classifier.note}"
        )
    for entry in ZOO:
        era = "static" if entry.numerics == STATIC else "dygraph"
        print(f"{f'row {entry.row}' if entry.row else entry.name} ({era} conventions): {entry.checkpoint}")
    for classifier in CLASSIFIERS:
        print(f"{classifier.name}: {classifier.checkpoint}")
    for name, numerics in (("static", STATIC), ("dygraph", DYGRAPH)):
        fields = ", ".join(f"{field}={value}" for field, value in msgspec.structs.asdict(numerics).items())
        OUT.print(f"{name} conventions: {fields}")
    OUT.print("FPS: one V100, FP32, tools/eval.py with data loading and post-processing, batch 1, cuDNN 7.5")
    OUT.print(
        f"The headline: {HEADLINE.backbone} with {HEADLINE.top1} % ImageNet-1k top-1;"
        f" {HEADLINE.box_ap} % COCO mAP at {HEADLINE.fps:.0f} FPS on one V100"
    )


def _plain(entry: ZooEntry | ClassifierEntry) -> dict[str, object]:
    """An entry for JSON; numbered class names are replaced by their count."""
    import msgspec

    from pssdet.models.labels import numbered

    plain: dict[str, object] = msgspec.to_builtins(entry)
    count = len(entry.labels)
    return plain | {"labels": count} if entry.labels == numbered(count) else plain


def _size(entry: ZooEntry) -> str:
    """Target of the shorter side and limit of the longer one."""
    return f"{entry.preprocessing.short_side}/{entry.preprocessing.long_side}"
