"""The data set that engines are evaluated on: a COCO instances file and its pictures."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from pssdet.errors import BadInput, some
from pssdet.images import load

_Pixels = Annotated[int, msgspec.Meta(ge=1)]
_Length = Annotated[float, msgspec.Meta(ge=0)]
_NAMED = 3


class Image(NamedTuple):
    """A picture of the data set, its name as the annotation file spells it, its sides in pixels."""

    id: int
    name: str
    path: Path
    width: int
    height: int


class GroundTruth(NamedTuple):
    """A COCO instances file, its ``path`` and ``sha256``, and the pictures that exist.

    Attributes:
        images: those whose file is there, in the order of the annotation file.
        category_ids: the file's category id of each label.
        problems: name and reason of every picture that is left out.
        raw: the whole file as COCO evaluators take it, reduced to what they read of boxes;
            annotations are numbered from 1, since COCOeval takes an id of 0 for "not matched".
    """

    path: Path
    sha256: str
    images: tuple[Image, ...]
    category_ids: tuple[int, ...]
    problems: tuple[tuple[str, str], ...]
    raw: dict[str, Any]


class _Picture(msgspec.Struct, frozen=True):
    id: int
    file_name: str
    width: _Pixels
    height: _Pixels


class _Category(msgspec.Struct, frozen=True):
    id: int
    name: str


class _Annotation(msgspec.Struct, frozen=True):
    image_id: int
    category_id: int
    bbox: tuple[float, float, _Length, _Length]
    area: _Length
    iscrowd: Literal[0, 1] = 0


class _Instances(msgspec.Struct, frozen=True):
    images: list[_Picture]
    annotations: list[_Annotation]
    categories: list[_Category]


def read_ground_truth(
    annotations: Path, images: Path, labels: Sequence[str], detector: str = "the detector"
) -> GroundTruth:
    """Read and check a COCO instances file.

    Args:
        images: the folder that the file names are relative to.
        labels: the detector's class names; the file's categories must be the same, in any order.
        detector: its name, for the message.

    Raises:
        BadInput: it is no such file, contradicts itself, is of other classes,
            names files outside of the folder, or none of its pictures is there.
    """
    content, instances = _decode(annotations)
    category_ids = _match_labels(annotations, instances.categories, labels, detector)
    _check_references(annotations, instances)
    present, problems = _find_images(annotations, instances.images, images)
    return GroundTruth(
        annotations, hashlib.sha256(content).hexdigest(), present, category_ids, problems, _raw(instances)
    )


def with_labels(truth: GroundTruth, labels: Sequence[str], detector: str = "the detector") -> GroundTruth:
    """The same data set for a detector with other labels; raises ``BadInput`` if the categories differ."""
    categories = msgspec.convert(truth.raw["categories"], list[_Category])
    return truth._replace(category_ids=_match_labels(truth.path, categories, labels, detector))


def _decode(path: Path) -> tuple[bytes, _Instances]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); name a COCO instances file") from error
    try:
        return content, msgspec.json.decode(content, type=_Instances)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not a COCO instances file: {error}") from error


def _match_labels(
    path: Path, categories: Sequence[_Category], labels: Sequence[str], detector: str
) -> tuple[int, ...]:
    _check_unique(path, "category name", (category.name for category in categories))
    _check_unique(path, "category id", (category.id for category in categories))
    ids = {category.name: category.id for category in categories}
    absent = [name for name in labels if name not in ids]
    strange = [name for name in ids if name not in set(labels)]
    if absent or strange:
        reasons = [f"the file lacks {_some(absent)}"] if absent else []
        reasons += [f"{detector} does not know {_some(strange)}"] if strange else []
        raise BadInput(
            f"the categories of {path} are not {detector}'s classes: {'; '.join(reasons)};"
            " export again with --labels FILE"
        )
    return tuple(ids[name] for name in labels)


def _check_references(path: Path, instances: _Instances) -> None:
    if not instances.images:
        raise BadInput(f"{path} lists no images")
    _check_unique(path, "image id", (image.id for image in instances.images))
    _check_unique(path, "file name", (image.file_name for image in instances.images))
    image_ids = {image.id for image in instances.images}
    category_ids = {category.id for category in instances.categories}
    for number, annotation in enumerate(instances.annotations):
        if annotation.image_id not in image_ids:
            raise BadInput(
                f"{path}: annotations[{number}] is of image {annotation.image_id}, which is not listed"
            )
        if annotation.category_id not in category_ids:
            raise BadInput(
                f"{path}: annotations[{number}] is of category {annotation.category_id}, which is not listed"
            )


def _find_images(
    path: Path, pictures: Sequence[_Picture], folder: Path
) -> tuple[tuple[Image, ...], tuple[tuple[str, str], ...]]:
    present: list[Image] = []
    problems: list[tuple[str, str]] = []
    for picture in pictures:
        _check_inside(path, picture.file_name)
        file = folder / picture.file_name
        if _is_file(file):
            present.append(Image(picture.id, picture.file_name, file, picture.width, picture.height))
        else:
            problems.append((picture.file_name, f"there is no such file in {folder}"))
    if not present:
        raise BadInput(f"none of the {len(problems)} images of {path} is in {folder} ({problems[0][0]}, ...)")
    return tuple(present), tuple(problems)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name longer than the file system allows
        return False


def _check_inside(path: Path, name: str) -> None:
    # Either system's spelling is refused on both, so that a file is good or bad everywhere.
    ways = (PurePosixPath(name), PureWindowsPath(name))
    if not name or "\0" in name or any(way.anchor or ".." in way.parts for way in ways):
        raise BadInput(f"{path} names the image {name!r}, which is not a file inside of the image folder")


def _check_unique(path: Path, what: str, values: Iterable[int | str]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise BadInput(f"{path} has more than one {what} {_some(twice)}")


def _some(values: Sequence[int | str]) -> str:
    """The first few, and how many more there are."""
    return some([repr(value) for value in values], _NAMED)


def _raw(instances: _Instances) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(instances)
    for number, annotation in enumerate(plain["annotations"], start=1):
        annotation["id"] = number
        annotation["bbox"] = list(annotation["bbox"])
    return plain


_STDERR = 2


def usable_images(truth: GroundTruth) -> tuple[list[Image], list[tuple[str, str]]]:
    """The pictures that can be decoded, and name and reason of the rest; raises ``BadInput`` without any."""
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
    """Collect the lines that image decoders write to the process's standard error, once the block ends.

    libjpeg only prints a warning and goes on with grey where a file is
    damaged in its middle. Not for use while other threads write there.
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
