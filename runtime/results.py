"""Output of the detections of many pictures: lines to read, one JSON file, pictures with boxes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import Progress

from pssdet.errors import BadInput
from pssdet.files import staged_file, staged_folder, write_atomically
from pssdet.images import NamedPicture, encode_jpeg, is_video, load
from pssdet.runtime.detections import Detections
from pssdet.runtime.draw import draw

#: Writes one picture's detections somewhere.
Sink = Callable[[NamedPicture, Detections], None]

#: ``--json -``: the JSON goes to standard output.
STDOUT = Path("-")
_JPEG_QUALITY = 92
#: With no more pictures than this, a progress bar would only flicker.
_FEW = 10


@contextmanager
def open_sinks(json_file: Path | None, pictures: Path | None, sources: Sequence[Path]) -> Iterator[Sequence[Sink]]:
    """The outputs of the ``detect`` command: lines on stdout unless JSON is wanted, and what the options ask for.

    The JSON file appears when the block ends without an error.

    Args:
        json_file: JSON array to write, or STDOUT.
        pictures: folder for pictures with boxes.
        sources: the pictures, which must not be overwritten.

    Raises:
        BadInput: an output cannot be written, or would replace a source.
    """
    _refuse_replacing(json_file, pictures, sources)
    with ExitStack() as stack:
        sinks: list[Sink] = [print_lines]
        if json_file == STDOUT:
            sinks = [stack.enter_context(_json_array(sys.stdout))]
        elif json_file is not None:
            sinks = [stack.enter_context(_json_file(json_file))]
        if pictures is not None:
            sinks.append(PictureFolder(pictures).save)
        yield sinks


def print_lines(picture: NamedPicture, detections: Detections) -> None:
    """One line for the picture and one for each detection, on stdout."""
    # File names need not be text in any encoding; such bytes are shown escaped.
    name = picture.name.encode("utf-8", "backslashreplace").decode()
    plural = "" if len(detections) == 1 else "s"
    print(f"{name}  {detections.width}x{detections.height}  {len(detections)} detection{plural}")
    for index, score in enumerate(detections.scores):
        box = "".join(f"{value:9.1f}" for value in detections.boxes[index])
        print(f"  {detections.name(index):<16}{score:.3f}{box}")


class PictureFolder:
    """Pictures with their boxes, as JPEG files of one folder; pictures of equal names are numbered."""

    def __init__(self, folder: Path) -> None:
        with staged_folder(folder):
            pass  # creates it, or raises at once if it cannot be written to
        self._folder = folder
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def save(self, picture: NamedPicture, detections: Detections) -> None:
        """Draw and write one picture."""
        drawn = draw(load(picture.image, picture.name), detections)
        content = encode_jpeg(drawn, _JPEG_QUALITY, picture.name)
        write_atomically(self._folder / f"{self._free_stem(picture.stem)}.jpg", content)

    def _free_stem(self, stem: str) -> str:
        free = stem
        while free in self._taken:
            self._last[stem] = self._last.get(stem, 1) + 1
            free = f"{stem}-{self._last[stem]}"
        self._taken.add(free)
        return free


@contextmanager
def progress(files: Sequence[Path], *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr, if there is much to do and stderr is a terminal; call it for each picture done.

    Args:
        files: pictures and videos.
        quiet: no bar, because the terminal shows something else.
    """
    videos = any(map(is_video, files))
    console = Console(stderr=True)
    shown = console.is_terminal and not quiet and (len(files) > _FEW or videos)
    # Redirecting stdout would move the results of `detect ... > FILE` into the terminal.
    with Progress(console=console, redirect_stdout=False, transient=True, disable=not shown) as bar:
        task = bar.add_task("detecting", total=None if videos else len(files))
        yield lambda: bar.advance(task)


@contextmanager
def _json_file(path: Path) -> Iterator[Sink]:
    with staged_file(path) as stage:
        try:
            with stage.open("w", encoding="utf-8") as stream, _json_array(stream) as sink:
                yield sink
        except OSError as error:
            raise _unwritable(path, error) from error


@contextmanager
def _json_array(stream: TextIO) -> Iterator[Sink]:
    """A JSON array that grows in the stream, a line per picture, so that it need not fit into memory."""
    separator = "[\n"

    def append(picture: NamedPicture, detections: Detections) -> None:
        nonlocal separator
        stream.write(separator + json.dumps(_entry(picture, detections)))
        separator = ",\n"

    yield append
    stream.write("[]\n" if separator == "[\n" else "\n]\n")


def _entry(picture: NamedPicture, detections: Detections) -> dict[str, Any]:
    return {
        "image": picture.name,
        "width": detections.width,
        "height": detections.height,
        "detections": detections.to_json(),
    }


def _refuse_replacing(json_file: Path | None, pictures: Path | None, sources: Sequence[Path]) -> None:
    if pictures is not None and pictures.resolve() in {source.parent.resolve() for source in sources}:
        raise BadInput(f"{pictures} holds pictures to look at, which saved ones could replace; choose another folder")
    if json_file is None or json_file == STDOUT:
        return
    try:
        if json_file.is_dir():
            raise BadInput(f"{json_file} is a folder, a file is needed; add a file name")
        if json_file.exists() and any(each.name == json_file.name and each.samefile(json_file) for each in sources):
            raise BadInput(f"{json_file} is one of the pictures to look at; choose another file")
    except OSError as error:
        raise _unwritable(json_file, error) from error


def _unwritable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"cannot write {path} ({error.strerror or error}); choose another file")
