"""Paddle's ``.pdparams`` checkpoints, read as untrusted input.

A checkpoint is a pickle of a dictionary: structured parameter name to NumPy array. It is never
unpickled: ``inert_pickle`` records what the file says, and the arrays are made here from the
records. Beside the file and the arrays this takes at most a few times the largest array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.models.inert_pickle import AGAIN, FOREIGN, HEADER, Array, Refused, read_records

_MAX_BYTES = 4 << 30
_MAX_DIMENSIONS = 8
_NAME_TABLE = "StructuredToParameterName@@"
_DTYPES = {f"{order}f{size}": np.dtype(f"<f{size}") for order in ("", "<") for size in (2, 4, 8)}

#: How other files that people mistake for a checkpoint begin: offset, bytes, what it is and what to do.
_OTHER_FILES = (
    (0, b"<", f"is a web page or XML; {AGAIN}, from a direct link"),
    (0, b"\xff\xd8\xff", f"is a JPEG picture; {FOREIGN}"),
    (0, b"\x89PNG", f"is a PNG picture; {FOREIGN}"),
    (0, b"PK\x03\x04", f"is a zip archive, as PyTorch saves; {FOREIGN}"),
    (0, b"\x1f\x8b", "is compressed with gzip; unpack it first"),
    (257, b"ustar", "is a tar archive; unpack it and name the .pdparams file in it"),
)


def read_checkpoint(path: Path) -> dict[str, NDArray[np.float32]]:
    """The parameters of a ``.pdparams`` file by structured name; no code of the file is run.

    Arrays of float16 and float64 are converted. Names that share one array in the file share it here.

    Returns:
        Finite, C-contiguous float32 arrays of the shapes that the file gives.

    Raises:
        BadInput: the file cannot be read, is damaged, or is not a checkpoint of parameters.
    """
    content = _read(path)
    try:
        return _make_arrays(read_records(content), budget=len(content))
    except Refused as refused:
        raise BadInput(f"{path} {refused}") from refused


def match_parameters(
    found: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[int, ...]], source: str
) -> dict[str, NDArray[np.float32]]:
    """The parameters of a model, in the model's order, once all are there with the right shapes.

    Args:
        found: arrays by parameter name.
        expected: the shape of every parameter of the model by name.
        source: where ``found`` comes from, for the message.

    Raises:
        BadInput: parameters are missing, left over or of another shape; the message names them.
    """
    missing = [name for name in expected if name not in found]
    left_over = [name for name in found if name not in expected]
    wrong = [
        f"{name} {found[name].shape} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != tuple(shape)
    ]
    lists = (("missing", missing), ("left over", left_over), ("of another shape", wrong))
    problems = [f"{len(names)} {what} ({_first(names)})" for what, names in lists if names]
    if problems:
        raise BadInput(
            f"{source} does not fit the model, parameters are {'; '.join(problems)}: use the checkpoint of this model"
        )
    return {name: np.asarray(found[name], dtype=np.float32) for name in expected}


def _first(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _read(path: Path) -> bytes:
    """The content of a regular file that begins as a pickle does."""
    try:
        _require_regular_file(path)
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}); check the path and permissions") from error
    if not content:
        raise BadInput(f"{path} is empty; {AGAIN}")
    if not content.startswith(HEADER):
        raise BadInput(f"{path} {_what_else(content)}")
    return content


def _require_regular_file(path: Path) -> None:
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name the .pdparams file in it")
    if not path.exists():
        raise BadInput(f"{path} does not exist; check the path of the checkpoint")
    if not path.is_file():
        raise BadInput(f"{path} is not a regular file; name a .pdparams file")
    if path.stat().st_size > _MAX_BYTES:
        raise BadInput(f"{path} is larger than {_MAX_BYTES >> 30} GiB; {FOREIGN}")


def _what_else(content: bytes) -> str:
    for start, magic, message in _OTHER_FILES:
        if content.startswith(magic, start):
            return message
    return f"is not a Paddle checkpoint (it does not begin as one); {FOREIGN}"


def _make_arrays(records: dict[str, object], budget: int) -> dict[str, NDArray[np.float32]]:
    """The arrays of all parameters.

    Args:
        records: what the file says, by name.
        budget: bytes of content that all arrays may take together: a file that uses a content more
            than once could ask for any amount of memory otherwise.
    """
    made: dict[Array, NDArray[np.float32]] = {}
    arrays = {}
    for name, record in records.items():
        match record:
            case Array() as array:
                pass
            case (str(), Array() as array):  # Paddle's internal name beside the value
                pass
            case _ if name == _NAME_TABLE:
                continue
            case _:
                raise Refused(f"holds {name}, which is not an array; {FOREIGN}")
        if array not in made:
            budget -= array.data.size if array.data else 0
            if budget < 0:
                raise Refused(f"uses the same content for several arrays; {FOREIGN}")
            made[array] = _make_array(name, array)
        arrays[name] = made[array]
    if not arrays:
        raise Refused(f"holds no parameters; {FOREIGN}")
    return arrays


def _make_array(name: str, record: Array) -> NDArray[np.float32]:
    dtype = _DTYPES.get(record.code)
    if record.data is None or dtype is None:
        raise Refused(f"holds {name} with the type {record.code[:8]!r} instead of f2, f4 or f8; {FOREIGN}")
    shape = [size for size in record.shape if isinstance(size, int) and size > 0]
    data = record.data.raw()
    if len(shape) != len(record.shape) or len(shape) > _MAX_DIMENSIONS:
        raise Refused(f"holds {name} with an impossible or empty shape; {FOREIGN}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise Refused(f"holds {name} with {len(data)} bytes, which its shape {tuple(shape)} contradicts; {AGAIN}")
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if record.fortran else "C")
    with np.errstate(all="ignore"):  # what overflows is found below
        parameter = values.astype(np.float32, order="C")
    if not np.isfinite(parameter).all():
        raise Refused(f"holds {name} with values that are not finite; {AGAIN}, or {FOREIGN}")
    return parameter
