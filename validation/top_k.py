"""Top-1 and top-5 accuracy of an exported classifier on pictures whose classes a list gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.registry import choose_backend
from pssdet.errors import BadInput, GateFailed
from pssdet.images import load
from pssdet.models.card import ClassifierCard, WeightsRecord, read_classifier_card
from pssdet.models.preprocess import crop_centre

_BEST = 5


class Labelled(NamedTuple):
    """A picture's file and its class, counted from 0."""

    path: Path
    label: int


class TopK(msgspec.Struct, frozen=True):
    """A model's counts: ``pictures`` of the list, those whose class it ranks first, and in the best five."""

    model: str
    weights: WeightsRecord
    pictures: int
    top1: int
    top5: int


def read_list(path: Path, images: Path, classes: int) -> list[Labelled]:
    """Read a list of lines ``FILE CLASS``, as PaddleClas has them; files are in ``images``, classes from 0.

    Raises:
        BadInput: the list cannot be read or says nothing, a line has no such form, or a file does not exist.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadInput(f"{path} cannot be read ({reason}); check the path of the list") from error
    found = [
        _labelled(line, number, path, images, classes) for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not found:
        raise BadInput(f"{path} names no pictures; give a list of lines FILE CLASS")
    missing = [str(each.path) for each in found if not each.path.is_file()]
    if missing:
        raise BadInput(
            f"{len(missing)} of {len(found)} pictures do not exist, {missing[0]} first; check the folder"
        )
    return found


def _labelled(line: str, number: int, path: Path, images: Path, classes: int) -> Labelled:
    *name, label = line.rsplit(maxsplit=1)
    if not name or not re.fullmatch("[0-9]{1,9}", label) or int(label) >= classes:
        wanted = f"FILE CLASS with a class from 0 to {classes - 1}"
        raise BadInput(f"{path}, line {number}: {line[:80]!r} is not {wanted}; correct it")
    return Labelled(images / name[0].strip(), int(label))


def measure(
    model: Path, pictures: Sequence[Labelled], batch: int, advance: Callable[[int], None] = lambda _: None
) -> TopK:
    """Run the exported classifier in ``model`` over the pictures in ONNX Runtime, on the CPU.

    ``advance`` is called after each batch with the number of its pictures.

    Raises:
        BadInput: no exported classifier, its file was altered, or a picture cannot be read.
        EnvironmentMissing: ONNX Runtime is not installed.
        GateFailed: the model gave a logit that is NaN or infinite.
    """
    card = read_classifier_card(model)
    choose_backend("onnxruntime", "fp32")
    if batch < 1:
        raise BadInput(f"a batch cannot have {batch} pictures; choose 1 or more")
    hits = np.zeros(2, np.int64)
    with closing(OnnxRuntimeSession(card.onnx.verify(model), (), cuda=False)) as session:
        for start in range(0, len(pictures), batch):
            chunk = pictures[start : start + batch]
            logits = session.run({"image": np.stack([_prepared(each.path, card) for each in chunk])})["logits"]
            if not np.isfinite(logits).all():
                raise GateFailed(f"{model} gives logits that are not finite at {chunk[0].path} or after it")
            hits += count_hits(logits, [each.label for each in chunk])
            advance(len(chunk))
    return TopK(card.model, card.weights, len(pictures), int(hits[0]), int(hits[1]))


def count_hits(logits: NDArray[np.float32], labels: Sequence[int]) -> tuple[int, int]:
    """Rows of logits [N, classes] whose label is the best class, and those with it among the best five.

    Among equal logits the lower class comes first.
    """
    best = np.argsort(-logits, axis=1, kind="stable")[:, :_BEST]
    right = best == np.asarray(labels)[:, None]
    return int(right[:, 0].sum()), int(right.any(axis=1).sum())


def _prepared(path: Path, card: ClassifierCard) -> NDArray[np.float32]:
    try:
        return crop_centre(load(path), card.preprocessing)
    except BadInput as error:
        raise error.naming(str(path)) from error
