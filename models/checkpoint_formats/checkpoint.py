"""Paddle's checkpoints, read as untrusted input and recognised by what they hold, not by their names.

A ``.pdparams`` file, a pickle of NumPy arrays by name, is never unpickled:
``inert_pickle`` records what it says, and the arrays are made here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.console import ERR
from pssdet.errors import BadInput
from pssdet.models.checkpoint_formats.archives import (
    GZIP,
    MAX_BYTES,
    is_tar,
    list_folder,
    list_tar,
    unpack_gzip,
)
from pssdet.models.checkpoint_formats.inert_pickle import HEADER, Array, read_records
from pssdet.models.checkpoint_formats.parameter_names import is_static, to_structured
from pssdet.models.checkpoint_formats.static_checkpoint import Arrays, read_variables
from pssdet.models.checkpoint_formats.untrusted import (
    AGAIN,
    FOREIGN,
    Refused,
    check_shape,
    first_few,
    to_float32,
)

_NAME_TABLE = "StructuredToParameterName@@"
_DTYPES = {f"{order}f{size}": np.dtype(f"<f{size}") for order in ("", "<") for size in (2, 4, 8)}

#: How other files that people mistake for a checkpoint begin: offset, bytes, what it is and what to do.
_OTHER_FILES = (
    (0, b"<", f"is a web page or XML; {AGAIN}, from a direct link"),
    (0, b"\xff\xd8\xff", f"is a JPEG picture; {FOREIGN}"),
    (0, b"\x89PNG", f"is a PNG picture; {FOREIGN}"),
    (0, b"PK\x03\x04", f"is a zip archive, as PyTorch saves; {FOREIGN}"),
)


def read_checkpoint(path: Path) -> Arrays:
    """The parameters of a checkpoint by structured name, finite C-contiguous float32; none of its code is run.

    Names that share one array in the file share it here. Optimiser variables are left out, noted on stderr.

    Args:
        path: a ``.pdparams`` file; of the static era also a folder, or a tar archive of
            one, plain or gzipped, that holds one file per variable or an inference model.

    Raises:
        BadInput: the file cannot be read, is damaged, or is not a checkpoint of parameters.
    """
    try:
        if path.is_dir():
            names = list_folder(path)
            parameters, ignored = read_variables(names, lambda name: memoryview((path / name).read_bytes()))
        else:
            parameters, ignored = _parse(_read(path))
    except Refused as refused:
        raise BadInput(f"{path} {refused}") from refused
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror or error}); check the path and permissions"
        ) from error
    if ignored:
        ERR.print(f"  {path.name}: {ignored} optimiser variables ignored", style="dim")
    return parameters


def match_parameters(
    found: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[int, ...]], source: str
) -> Arrays:
    """The parameters of a model, in its order, once all are ``found`` with the ``expected`` shapes.

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
    problems = [f"{len(names)} {what} ({first_few(names)})" for what, names in lists if names]
    if problems:
        raise BadInput(
            f"{source} does not fit the model, parameters are {'; '.join(problems)}:"
            " use the checkpoint of this model"
        )
    return {name: np.asarray(found[name], dtype=np.float32) for name in expected}


def _read(path: Path) -> bytes:
    if not path.exists():
        raise Refused("does not exist; check the path of the checkpoint")
    if not path.is_file():
        raise Refused("is not a regular file; name a checkpoint")
    if path.stat().st_size > MAX_BYTES:
        raise Refused(f"is larger than {MAX_BYTES >> 30} GiB; {FOREIGN}")
    content = path.read_bytes()
    if not content:
        raise Refused(f"is empty; {AGAIN}")
    return content


def _parse(content: bytes) -> tuple[Arrays, int]:
    if content.startswith(HEADER):
        return _parse_pickle(content)
    if compressed := content.startswith(GZIP):
        content = unpack_gzip(content)
    if is_tar(content):
        files = list_tar(content)
        return read_variables(files, files.__getitem__)
    raise Refused(
        "is compressed with gzip and no tar archive; unpack it first" if compressed else _what_else(content)
    )


def _parse_pickle(content: bytes) -> tuple[Arrays, int]:
    records = read_records(content)
    names, ignored = {name: name for name in records}, 0
    if is_static(records):
        # paddle.save adds its table of names to any dictionary of tensors, to a converted one too.
        names, ignored = to_structured({name: name for name in names if name != _NAME_TABLE})
    arrays = _make_arrays({name: records[name] for name in names.values()}, budget=len(content))
    return {structured: arrays[name] for structured, name in names.items() if name in arrays}, ignored


def _what_else(content: bytes) -> str:
    for start, magic, message in _OTHER_FILES:
        if content.startswith(magic, start):
            return message
    if content.startswith(bytes(16)) and any(content[16:20]):
        return "is a single variable of a checkpoint; name the folder or archive of all of them"
    return f"is not a Paddle checkpoint (it does not begin as one); {FOREIGN}"


def _make_arrays(records: dict[str, object], budget: int) -> Arrays:
    """The arrays by name, which take ``budget`` bytes of content together at most.

    A file that uses a content more than once could ask for any amount of memory otherwise.
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
    check_shape(name, record.shape)
    shape = [size for size in record.shape if isinstance(size, int)]
    data = record.data.raw()
    if math.prod(shape) * dtype.itemsize != len(data):
        raise Refused(
            f"holds {name} with {len(data)} bytes, which its shape {tuple(shape)} contradicts; {AGAIN}"
        )
    return to_float32(name, np.frombuffer(data, dtype).reshape(shape, order="F" if record.fortran else "C"))
