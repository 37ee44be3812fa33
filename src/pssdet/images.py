"""Reading and writing pictures: files, pixels in RGB, the frames of videos, JPEG."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.opencv import MAX_PIXELS, cv2

T = TypeVar("T")

#: A picture as callers have it: a file, an encoded file's bytes, or RGB pixels uint8 [H, W, 3].
Image: TypeAlias = "Path | str | bytes | NDArray[np.uint8]"

#: Files of a folder that count as pictures; a file named directly may have any suffix.
PICTURE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_JPEG_SCAN = 0xDA


class _Broken(NamedTuple):
    """Stands for the rest of a video that cannot be read."""

    flaw: str


class NamedPicture(NamedTuple):
    """A picture with the name that results and errors give it; a file is only read when its turn comes.

    Attributes:
        name: path as the user gave it; frames of a video are ``clip.mp4#000012``.
        stem: name of a file that shows it, without folder and suffix.
    """

    name: str
    stem: str
    image: Image | _Broken


def load(image: Image | _Broken, name: str = "") -> NDArray[np.uint8]:
    """The pixels of a picture, uint8 [H, W, 3] RGB, turned upright as its EXIF data say.

    Args:
        image: a path, the bytes of an encoded picture, or uint8 [H, W, 3] **RGB** (OpenCV's reader gives BGR).
        name: what errors call it; a path by default.

    Raises:
        BadInput: it cannot be read, is damaged or cut off, is no picture, or is too large.
    """
    if isinstance(image, _Broken):
        raise BadInput(f"{name} {image.flaw}; the video is damaged or cut off, get it again")
    if isinstance(image, np.ndarray):
        return _checked(image, name or "the array")
    if isinstance(image, bytes):
        return _decode(image, name or "the picture")
    name = name or str(image)
    try:
        content = Path(image).read_bytes()
    except (OSError, ValueError) as error:
        raise BadInput(f"{name} cannot be read ({_reason(error)}); check the path") from error
    return _decode(content, name)


def encode_jpeg(picture: NDArray[np.uint8], quality: int, name: str = "the picture") -> bytes:
    """A picture, uint8 [H, W, 3] RGB, as JPEG with a ``quality`` of 0 to 100; errors call it ``name``.

    Raises:
        BadInput: a side is too long for a JPEG.
    """
    done, content = False, np.empty(0, np.uint8)
    # OpenCV's releases differ: some raise, some say that it was not done.
    with suppress(cv2.error):
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        done, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise BadInput(
            f"{name} cannot be saved as a JPEG, whose sides have at most 65,500 pixels; do not save it"
        )
    return content.tobytes()


def find_files(sources: Sequence[Path]) -> list[Path]:
    """The pictures and videos that ``sources`` name: files, and the pictures of folders by name.

    Folders are not searched below their first level, and hidden files are left out.

    Raises:
        BadInput: nothing is named, a path does not exist, a folder has no pictures or a video cannot be opened.
    """
    if not sources:
        raise BadInput("no picture is named; give at least one picture, folder or video")
    return list(itertools.chain.from_iterable(map(_files_of, sources)))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder by name: a picture's suffix, neither hidden nor in a subfolder.

    Raises:
        OSError: the folder cannot be read.
    """
    found = (f for f in folder.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES and not f.name.startswith("."))
    return sorted(file for file in found if file.is_file())


def evenly_spaced(items: Sequence[T], most: int) -> list[T]:
    """The items, or ``most`` of them at equal distances if there are more, always with the first."""
    count = min(len(items), most)
    return [items[index * len(items) // count] for index in range(count)]


def read_pictures(files: Iterable[Path]) -> Iterator[NamedPicture]:
    """The pictures among ``files``, not yet read, and the frames of the videos, one at a time."""
    for file in files:
        if is_video(file):
            yield from _frames(file)
        else:
            yield NamedPicture(str(file), file.stem, file)


def is_video(file: Path) -> bool:
    """Whether the file's suffix says that it is a video."""
    return file.suffix.lower() in VIDEO_SUFFIXES


def _checked(picture: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        found = f"{picture.dtype} {list(picture.shape)}"
        raise BadInput(f"{name} is {found}, not uint8 [height, width, 3] in RGB order; convert it")
    if picture.shape[0] * picture.shape[1] > MAX_PIXELS:
        raise _too_large(name)
    return picture


def _decode(content: bytes, name: str) -> NDArray[np.uint8]:
    if not content:
        raise BadInput(f"{name} is empty; copy or download it again")
    if content.startswith(_JPEG_START) and _is_cut_off(content):
        raise BadInput(f"{name} is a JPEG whose end is missing; copy or download it again")
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        # OpenCV raises instead of returning nothing when the header announces too many pixels.
        raise _too_large(name) from error
    if picture is None:
        raise BadInput(f"{name} is damaged or no picture that OpenCV reads; convert it to JPEG or PNG")
    checked = _checked(picture, name)
    rgb: NDArray[np.uint8] = cv2.cvtColor(checked, cv2.COLOR_BGR2RGB)
    return rgb


def _is_cut_off(jpeg: bytes) -> bool:
    """Whether the pixel data lack their end marker: OpenCV before 5 silently fills such up with grey.

    Segments are skipped by their lengths, since an embedded thumbnail has an end marker too. Among
    pixel data the marker cannot occur by chance, and other data may follow it.
    """
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        if jpeg[at + 1] == _JPEG_SCAN:
            return jpeg.find(_JPEG_END, at) < 0
        fill_byte = jpeg[at + 1] == 0xFF
        at += 1 if fill_byte else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return False  # no JPEG header that we understand: OpenCV decides


def _files_of(source: Path) -> list[Path]:
    try:
        if source.is_dir():
            return _some_pictures_in(source)
        if not source.is_file():
            raise BadInput(f"there is no file or folder {source}; check the path")
    except OSError as error:
        raise BadInput(f"{source} cannot be read ({_reason(error)}); check the path") from error
    if is_video(source) and not _opens(source):
        raise BadInput(f"{source} is damaged or no video that OpenCV reads; convert it to MP4 (H.264)")
    return [source]


def _some_pictures_in(folder: Path) -> list[Path]:
    pictures = pictures_in(folder)
    if not pictures:
        suffixes = " ".join(sorted(PICTURE_SUFFIXES))
        raise BadInput(f"the folder {folder} holds no pictures ({suffixes}); name another one")
    return pictures


def _opens(video: Path) -> bool:
    capture = cv2.VideoCapture(str(video))
    try:
        return bool(capture.grab())
    finally:
        capture.release()


def _frames(video: Path) -> Iterator[NamedPicture]:
    capture = cv2.VideoCapture(str(video))
    promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))  # negative or 0 where the container does not say
    try:
        for index in itertools.count():
            there_is_one, frame = capture.read()
            if not there_is_one:
                if index < promised:
                    yield NamedPicture(
                        f"{video}#{index:06d}", "", _Broken(f"ends early: {index} of {promised} frames")
                    )
                return
            rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            yield NamedPicture(f"{video}#{index:06d}", f"{video.stem}_{index:06d}", rgb)
    finally:
        capture.release()


def _too_large(name: str) -> BadInput:
    return BadInput(
        f"{name} has more than {MAX_PIXELS // 10**6} million pixels; shrink it or cut it into tiles"
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
