"""Report whether engines kept the accuracy of the original."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def report(
    *,
    engines: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    annotations: Path | None = None,
    images: Path | None = None,
    scenes: int = 300,
    output: Path = Path("artifacts/report"),
    json: bool = False,
) -> None:
    """Report whether engines kept the accuracy of the original, and how fast they are.

    Writes report.json, report.md and report.html. The exit code is 1 if an engine failed, or its AP or its
    detections differ beyond the limits; INCONCLUSIVE names the number of pictures that would decide.

    Args:
        engines: Engines, each compared with the reference engine of its own model: Paddle's, else that model's
            first (default: the bundled detectors' in Paddle, ONNX Runtime and OpenVINO, made if missing).
        annotations: COCO instances file (default: rendered held-out scenes).
        images: Folder of its pictures.
        scenes: How many held-out scenes, without --annotations (default: 300).
        output: Folder to write to (default: artifacts/report).
        json: Print report.json instead of a table.
    """
    from pssdet.commands.artifacts import bundled_engines, held_out_scenes
    from pssdet.console import OUT, steps
    from pssdet.errors import BadInput, GateFailed
    from pssdet.files import staged_folder
    from pssdet.validation.assemble import assemble
    from pssdet.validation.parity_report.render import encode, notes, parity_tables, write_report
    from pssdet.validation.parity_report.view import view_of

    if (annotations is None) != (images is None):
        raise BadInput("--annotations and --images go together; give both or neither")
    with staged_folder(output):
        pass  # fails at once if the folder cannot be written to
    with steps() as progress:
        if annotations is None or images is None:
            annotations, images = held_out_scenes(scenes, progress)
        chosen, left_out = (engines, []) if engines else bundled_engines(progress)
        result = assemble(chosen, annotations, images, progress, left_out=left_out)
    write_report(result, output)
    view = view_of(result)
    if json:
        print(encode(result).decode(), end="")
    else:
        for printed in (*parity_tables(view), *notes(view)):
            OUT.print(printed)
        OUT.print(f"{view.summary}; the whole report: {output / 'report.html'}")
    if view.overall == "FAIL":
        raise GateFailed(f"the engines disagree: {'; '.join(view.fail_reasons)}")
