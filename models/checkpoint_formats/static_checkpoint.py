"""Checkpoints of PaddleDetection's static era, read as untrusted input.

They have one file per variable, or are an inference model: a program that names the variables, and
one file of all values. Nothing is copied before its size was compared with the bytes that remain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.models.checkpoint_formats.archives import require_name
from pssdet.models.checkpoint_formats.parameter_names import to_structured
from pssdet.models.checkpoint_formats.untrusted import (
    AGAIN,
    FOREIGN,
    ByteReader,
    Refused,
    check_shape,
    to_float32,
)

_MAX_PROGRAM = 32 << 20
_MAX_VARIABLE_FIELDS = 32

_PROGRAM, _ALL_VALUES = "__model__", "__params__"
_BESIDE = {_PROGRAM, "infer_cfg.yml"}
_LOD_TENSOR = 7

_MAX_LEVELS = 8
_MAX_DESCRIPTION = 1024
#: The main block of ResNet-101's program has some 6,000.
_MAX_FIELDS = 20_000
#: ``VarType.Type`` of the framework's protocol buffers.
_DTYPES: dict[int, np.dtype[Any]] = {4: np.dtype("<f2"), 5: np.dtype("<f4"), 6: np.dtype("<f8")}

Arrays = dict[str, NDArray[np.float32]]
Field = tuple[int, int | memoryview]


def read_variables(names: Collection[str], content: Callable[[str], memoryview]) -> tuple[Arrays, int]:
    """The parameters by structured name, and how many optimiser variables were left out.

    Args:
        names: the files, named as the variables; ``content`` gives the bytes of one.

    Raises:
        Refused: files are damaged, unknown or of another kind.
    """
    if any(name.endswith((".pdmodel", ".pdiparams")) for name in names):
        raise Refused("is an inference model; give the training checkpoint (.pdparams)")
    if name := next((name for name in sorted(names) if name.endswith(".pdparams")), ""):
        raise Refused(f"holds {name}, a checkpoint of its own; name that file")
    if _PROGRAM in names and _ALL_VALUES in names:
        return to_structured(_read_combined(_persistable(content(_PROGRAM)), content(_ALL_VALUES)))
    wanted, ignored = to_structured({name: name for name in names if name not in _BESIDE})
    return {structured: _read_whole(name, content(name)) for structured, name in wanted.items()}, ignored


def _read_whole(name: str, content: memoryview) -> NDArray[np.float32]:
    stream = ProtobufReader(content, name)
    array = read_tensor(stream)
    stream.require_end()
    return array


def _read_combined(names: list[str], content: memoryview) -> Arrays:
    """All values of an inference model, which lie one after the other."""
    stream = ProtobufReader(content, _ALL_VALUES)
    arrays = {}
    for name in names:
        stream.name = f"{name} in {_ALL_VALUES}"
        arrays[name] = read_tensor(stream)
    stream.name = _ALL_VALUES
    stream.require_end()
    return arrays


def _persistable(program: memoryview) -> list[str]:
    """The variables stored with a ``ProgramDesc``, in the order of storing; all are in its first block."""
    if len(program) > _MAX_PROGRAM:
        raise Refused(f"holds {_PROGRAM} of more than {_MAX_PROGRAM >> 20} MiB; {FOREIGN}")
    blocks = _messages(program, 1)
    names = {name for variable in _messages(next(blocks, program[:0]), 3) if (name := _stored_name(variable))}
    if not names:
        raise Refused(f"holds {_PROGRAM} without variables; {FOREIGN}")
    return sorted(names)


def _messages(message: memoryview, number: int) -> Iterator[memoryview]:
    for found, value in read_fields(ProtobufReader(message, _PROGRAM)):
        if found == number and isinstance(value, memoryview):
            yield value


def _stored_name(variable: memoryview) -> str:
    """The name (1) of a ``VarDesc`` that is persistable (3) and of the type (2) of tensors; else empty."""
    fields = dict(read_fields(ProtobufReader(variable, _PROGRAM), _MAX_VARIABLE_FIELDS))
    name, kind = fields.get(1), fields.get(2)
    if not fields.get(3) or not isinstance(name, memoryview) or not isinstance(kind, memoryview):
        return ""
    if dict(read_fields(ProtobufReader(kind, _PROGRAM), _MAX_VARIABLE_FIELDS)).get(1) != _LOD_TENSOR:
        return ""
    text = str(name, "utf-8", "replace")
    require_name(text)
    return text


class ProtobufReader(ByteReader):
    """The bytes of one file or of a part of it, which messages call ``name``."""

    def __init__(self, content: memoryview, name: str) -> None:
        super().__init__(content)
        self.name = name

    def varint(self) -> int:
        """The next number of protocol buffers, unsigned, of 64 bits at most."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80 and value < 1 << 64:
                return value
        raise self.damaged("a number")

    def too_short(self) -> Refused:
        """An error about bytes that end before what they announce."""
        return Refused(f"holds {self.name}, which ends too early (at byte {len(self.view)}); {AGAIN}")

    def require_end(self) -> None:
        """Raise ``Refused`` if something was not taken."""
        if self.left:
            raise Refused(f"holds {self.name} with {self.left} bytes after its end; {AGAIN}")

    def damaged(self, what: str) -> Refused:
        """An error about ``what`` in these bytes."""
        return Refused(f"holds {self.name}, which is damaged ({what} near byte {self.position}); {AGAIN}")


def read_fields(stream: ProtobufReader, limit: int = _MAX_FIELDS) -> Iterator[Field]:
    """The fields of a protocol buffer's message, read to its end: number, and an integer or the bytes.

    Raises:
        Refused: it is damaged or has more than ``limit`` fields.
    """
    for _ in range(limit + 1):
        if not stream.left:
            return
        number, kind = divmod(stream.varint(), 8)
        match kind:
            case 0:
                yield number, stream.varint()
            case 1 | 5:
                yield number, stream.number(8 if kind == 1 else 4)
            case 2:
                yield number, stream.take(stream.varint())
            case _:
                raise stream.damaged("a field")
    raise Refused(f"holds {stream.name} with more than {limit} fields; {FOREIGN}")


def read_tensor(stream: ProtobufReader) -> NDArray[np.float32]:
    """The next tensor of a stream; raises ``Refused`` if it is damaged or something else."""
    _require_version(stream)
    levels = stream.number(8)
    if levels > _MAX_LEVELS:
        raise stream.damaged(f"{levels} levels of detail")
    for _ in range(levels):
        stream.take(stream.number(8))
    _require_version(stream)
    size = stream.number(4, signed=True)
    if not 0 < size <= _MAX_DESCRIPTION:
        raise stream.damaged(f"a description of {size} bytes")
    code, shape = _read_description(ProtobufReader(stream.take(size), stream.name))
    dtype = _DTYPES.get(code)
    if dtype is None:
        raise Refused(f"holds {stream.name} with numbers of type {code} instead of 4 to 6 (floats); {FOREIGN}")
    check_shape(stream.name, shape)
    count = math.prod(shape) * dtype.itemsize
    if count > stream.left:
        raise Refused(f"holds {stream.name} with {stream.left} bytes, its shape {shape} needs {count}; {AGAIN}")
    return to_float32(stream.name, np.frombuffer(stream.take(count), dtype).reshape(shape))


def _require_version(stream: ProtobufReader) -> None:
    if version := stream.number(4):
        raise Refused(
            f"holds {stream.name}, a tensor of version {version} instead of 0, or no tensor; {FOREIGN}"
        )


def _read_description(stream: ProtobufReader) -> tuple[int, tuple[int, ...]]:
    """Type and shape in a ``TensorDesc``; repeated numbers may be packed into one field."""
    codes, shape = [], []
    for number, value in read_fields(stream):
        match number, value:
            case 1, int(code):
                codes.append(code)
            case 2, int(size):
                shape.append(_signed(size))
            case 2, memoryview() as packed:
                sizes = ProtobufReader(packed, stream.name)
                while sizes.left:
                    shape.append(_signed(sizes.varint()))
            case _:
                raise stream.damaged("its description")
    if len(codes) != 1:
        raise stream.damaged("its type")
    return codes[0], tuple(shape)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
