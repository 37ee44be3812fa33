"""The ``detect`` command: pictures, folders and videos to detections."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from pssdet.errors import BadInput


def detect(
    *images: Annotated[Path, cyclopts.Parameter(name="IMAGE|FOLDER|VIDEO")],
    engine: Path | None = None,
    threshold: float = 0.5,
    json: Annotated[Path | None, cyclopts.Parameter(allow_leading_hyphen=True)] = None,
    save_images: Path | None = None,
    threads: int = 0,
    streams: int = 0,
    self_test: Annotated[bool | None, cyclopts.Parameter(negative="--no-self-test")] = None,
) -> None:
    """Find objects in pictures, in the pictures of folders and in videos.

    Prints what was found unless --json is given. Pictures that cannot be read are reported and
    left out; the exit code is then 2.

    Args:
        images: Pictures, folders of pictures (not their subfolders), videos.
        engine: Folder of the engine, as python engines/build.py makes it
            (default: the default model's on the best backend, built if missing).
        threshold: Leave out what scores no more than this, from 0 to 1 (default: 0.5).
        json: File for the detections as JSON; - prints them.
        threads: Threads of a CPU engine (default: one for each core).
        streams: Batches that a CPU engine computes at once, each by its share of the threads
            (default: 1 for a picture; for several, one for each thread, up to 4).
        self_test: First let the engine prove that it computes what it did when it was built
            (default: a quick form of it where CPU, GPU, driver, runtime or kernel library changed;
            --no-self-test: never).
        save_images: Folder for copies of the pictures with the boxes drawn, as JPEG (a video frame by frame).
    """
    # Only here, so that --help needs neither OpenCV nor NumPy.
    from pssdet.commands.artifacts import default_engine, is_outdated
    from pssdet.console import steps
    from pssdet.engines.backend import Threading
    from pssdet.images import find_files, is_video, read_pictures
    from pssdet.runtime.detector import Detector
    from pssdet.runtime.results import open_sinks, progress

    if not 0 <= threshold <= 1:
        raise BadInput(f"a threshold of {threshold} is no score; choose one from 0 to 1")
    if str(json).startswith("--"):
        raise BadInput(f"--json needs a file, or - for standard output, before {json}")
    files = find_files(images)
    if engine is None:
        with steps() as begin:
            engine = default_engine(begin)
    refused: list[str] = []
    hint: Literal["latency", "throughput"] = "throughput" if len(files) > 1 or is_video(files[0]) else "latency"

    with (
        Detector.load(engine, threading=Threading(threads, streams, hint), self_test=self_test) as detector,
        open_sinks(json, save_images, files) as sinks,
        progress(files, quiet=json is None and sys.stdout.isatty()) as advance,
    ):
        if detector.self_test:
            print(f"note: {detector.self_test}", file=sys.stderr)
        if is_outdated(engine, detector.card):
            print(
                f"note: {engine} was built from an earlier export; build it again to use the new one",
                file=sys.stderr,
            )
        if detector.card.model.weights.kind == "seeded":
            print("note: the engine has seeded random parameters; its boxes mean nothing", file=sys.stderr)

        def refuse(name: str, error: BadInput) -> None:
            refused.append(name)
            print(f"error: {error}", file=sys.stderr)
            advance()

        # A single picture that cannot be used is an error like any other; among many it is left out.
        pictures = detector.stream(read_pictures(files), refuse if len(files) > 1 else None)
        total = 0
        for picture, detections in pictures:
            total += 1
            for sink in sinks:
                sink(picture, detections.above(threshold))
            advance()
    written = [str(path) for path in (json, save_images) if path is not None and str(path) != "-"]
    if written:
        print(f"wrote {' and '.join(written)}: {total} picture{'' if total == 1 else 's'}", file=sys.stderr)
    if refused:
        rest = "the others have results" if total else "there are no results"
        raise BadInput(f"{len(refused)} picture(s) could not be used, as said above; {rest}")
