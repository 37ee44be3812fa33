"""The pictures of a data set that can be evaluated; damaged ones and those of another size are left out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.validation.ground_truth import GroundTruth, Image

_STDERR = 2


def usable_images(truth: GroundTruth) -> tuple[list[Image], list[tuple[str, str]]]:
    """The pictures that can be decoded, and name and reason of every one left out.

    Raises:
        BadInput: no picture can be decoded.
    """
    usable, problems = [], list(truth.problems)
    for image in truth.images:
        if flaw := _flaw(image):
            problems.append((image.name, flaw))
        else:
            usable.append(image)
    if not usable:
        raise BadInput(f"none of the {len(problems)} pictures of {truth.path} can be read; check the folder")
    return usable, problems


def _flaw(image: Image) -> str:
    """Why a picture cannot be evaluated; empty if it can."""
    try:
        with _captured_decode_warnings() as warnings:
            height, width = load(image.path).shape[:2]
    except BadInput as error:
        return str(error)
    if warnings:
        return f"{image.path} is damaged ({warnings[0]}); get it again"
    if (width, height) != (image.width, image.height):
        return f"it has {width}x{height} pixels, the annotation file says {image.width}x{image.height}"
    return ""


@contextmanager
def _captured_decode_warnings() -> Iterator[list[str]]:
    """Collect the lines that image decoders write to the process's standard error during the block.

    libjpeg only prints a warning and goes on with grey where a file is damaged in its middle. The list is filled when
    the block ends. Not for use while other threads write there.
    """
    warnings: list[str] = []
    saved = os.dup(_STDERR)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STDERR)
        try:
            yield warnings
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            file.seek(0)
            warnings += [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
