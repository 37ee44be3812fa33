"""Output of the detections of many pictures: lines to read, one JSON file, pictures with boxes."""

from __future__ import annotations

import colorsys
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from pssdet.errors import BadInput
from pssdet.files import staged_file, staged_folder, write_atomically
from pssdet.images import NamedPicture, encode_jpeg, is_video, load
from pssdet.opencv import cv2
from pssdet.runtime.detections import Detections

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
#: Turning the hue by the golden ratio keeps neighbouring labels far apart, however many there are.
_HUE_STEP = (math.sqrt(5) - 1) / 2
#: Saturation and brightness change too, so that the labels whose hues come close still differ.
_SHADES = ((0.85, 1.0), (0.55, 1.0), (0.9, 0.75))


class _Style(NamedTuple):
    """Sizes in pixels that suit a picture; ``font`` is OpenCV's scale."""

    line: int
    font: float
    stroke: int
    margin: int


def draw(picture: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
    """A copy of a picture, uint8 [H, W, 3] RGB, with boxes, names and scores; better scores on top."""
    canvas = np.array(picture, np.uint8, order="C")
    style = _style_for(*canvas.shape[:2])
    worst_first = range(len(detections) - 1, -1, -1)
    corners = np.rint(detections.boxes).astype(int).tolist()
    colours = [class_colour(int(label)) for label in detections.labels]
    for index in worst_first:
        x1, y1, x2, y2 = corners[index]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colours[index], style.line)
    # Labels come after all boxes, whose lines would cross them out.
    for index in worst_first:
        text = f"{detections.name(index)} {detections.scores[index]:.2f}"
        _draw_label(canvas, text, corners[index][:2], colours[index], style)
    return canvas


def class_colour(label: int) -> Colour:
    """The RGB colour of a class, always the same for the same label."""
    saturation, brightness = _SHADES[label % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(label * _HUE_STEP % 1.0, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def _style_for(height: int, width: int) -> _Style:
    scale = math.hypot(height, width) / 1000
    font = max(0.4, 0.55 * scale)
    return _Style(max(1, round(2 * scale)), font, max(1, round(1.4 * font)), max(1, round(6 * font)))


def _draw_label(
    canvas: NDArray[np.uint8], text: str, corner: Sequence[int], colour: Colour, style: _Style
) -> None:
    """Text on a filled box: above the corner if there is room, else below, and inside the picture."""
    height, width = canvas.shape[:2]
    (text_width, ascent), descent = cv2.getTextSize(text, _FONT, style.font, style.stroke)
    box_width, box_height = text_width + 2 * style.margin, ascent + descent + style.margin
    if box_width > width or box_height > height:
        return  # a picture too small for text shows the box alone
    left = min(max(corner[0] - style.line // 2, 0), width - box_width)
    above = corner[1] - box_height
    top = min(max(above if above >= 0 else corner[1], 0), height - box_height)
    cv2.rectangle(canvas, (left, top), (left + box_width - 1, top + box_height - 1), colour, cv2.FILLED)
    baseline = (left + style.margin, top + style.margin // 2 + ascent)
    cv2.putText(canvas, text, baseline, _FONT, style.font, _readable_on(colour), style.stroke, cv2.LINE_AA)


def _readable_on(colour: Colour) -> Colour:
    red, green, blue = colour
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return (0, 0, 0) if luminance > 130 else (255, 255, 255)


#: Writes one picture's detections somewhere.
Sink = Callable[[NamedPicture, Detections], None]

#: ``--json -``: the JSON goes to standard output.
STDOUT = Path("-")
_JPEG_QUALITY = 92
#: With no more pictures than this, a progress bar would only flicker.
_FEW = 10


@contextmanager
def open_sinks(
    json_file: Path | None, pictures: Path | None, sources: Sequence[Path]
) -> Iterator[Sequence[Sink]]:
    """The outputs of ``detect``: lines on stdout unless JSON is wanted, and what the options ask for.

    The JSON file appears when the block ends without an error.

    Raises:
        BadInput: an output cannot be written, or would replace one of the ``sources``.
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
    """A progress bar on stderr, if that is a terminal and there is much to do; call it for each picture."""
    videos = any(map(is_video, files))
    console = Console(stderr=True)
    visible = console.is_terminal and not quiet and (len(files) > _FEW or videos)
    # Redirecting stdout would move the results of `detect ... > FILE` into the terminal.
    with Progress(console=console, redirect_stdout=False, transient=True, disable=not visible) as bar:
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
    """A JSON array that grows in the stream, a line per picture, and need not fit into memory."""
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
        raise BadInput(
            f"{pictures} holds input pictures, which saved ones could replace; choose another folder"
        )
    if json_file is None or json_file == STDOUT:
        return
    try:
        if json_file.is_dir():
            raise BadInput(f"{json_file} is a folder, a file is needed; add a file name")
        if json_file.exists() and any(
            each.name == json_file.name and each.samefile(json_file) for each in sources
        ):
            raise BadInput(f"{json_file} is one of the input pictures; choose another file")
    except OSError as error:
        raise _unwritable(json_file, error) from error


def _unwritable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"cannot write {path} ({error.strerror or error}); choose another file")
