"""List the published detectors."""

from __future__ import annotations

from pssdet.cli import run


def zoo(*, json: bool = False) -> None:
    """List the published detectors, with their published figures.

    Args:
        json: Print everything as JSON.
    """
    import msgspec
    from rich.table import Table

    from pssdet.console import OUT
    from pssdet.models.numerics import DYGRAPH, STATIC
    from pssdet.models.zoo import HEADLINE, PUBLISHED, ZOO

    if json:
        everything = {"models": ZOO, "headline": HEADLINE}
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
            f"{entry.preprocessing.short_side}/{entry.preprocessing.long_side}",
        )
    OUT.print(table)
    for entry in ZOO:
        era = "static" if entry.numerics == STATIC else "dygraph"
        print(f"{f'row {entry.row}' if entry.published else entry.name} ({era} conventions): {entry.checkpoint}")
    for name, numerics in (("static", STATIC), ("dygraph", DYGRAPH)):
        fields = ", ".join(f"{field}={value}" for field, value in msgspec.structs.asdict(numerics).items())
        OUT.print(f"{name} conventions: {fields}")
    OUT.print("FPS: one V100, FP32, tools/eval.py with data loading and post-processing, batch 1, cuDNN 7.5")
    OUT.print(
        f"The headline: {HEADLINE.backbone} with {HEADLINE.top1} % ImageNet-1k top-1;"
        f" {HEADLINE.box_ap} % COCO mAP at {HEADLINE.fps:.0f} FPS on one V100"
    )


if __name__ == "__main__":
    run(zoo)
