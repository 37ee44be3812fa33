"""Paddle's streams of one tensor, and the few protocol buffers in and beside them, read as untrusted input.

Nothing is copied before its size was compared with the bytes that remain, so the memory taken is that
of the stream and of the array.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.models.checkpoint_formats.untrusted import AGAIN, FOREIGN, ByteReader, Refused, check_shape, to_float32

_MAX_LEVELS = 8
_MAX_DESCRIPTION = 1024
#: The main block of ResNet-101's program has some 6,000.
_MAX_FIELDS = 20_000
#: ``VarType.Type`` of the framework's protocol buffers.
_DTYPES: dict[int, np.dtype[Any]] = {4: np.dtype("<f2"), 5: np.dtype("<f4"), 6: np.dtype("<f8")}

Field = tuple[int, int | memoryview]


class Stream(ByteReader):
    """The bytes of one file or of a part of it.

    Args:
        content: the bytes.
        name: what they are, for messages.
    """

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
        """Require that everything was taken.

        Raises:
            Refused: something is left.
        """
        if self.left:
            raise Refused(f"holds {self.name} with {self.left} bytes after its end; {AGAIN}")

    def damaged(self, what: str) -> Refused:
        """An error about ``what`` in these bytes."""
        return Refused(f"holds {self.name}, which is damaged ({what} near byte {self.position}); {AGAIN}")


def read_fields(stream: Stream, limit: int = _MAX_FIELDS) -> Iterator[Field]:
    """The fields of a protocol buffer's message: number, and an integer or the bytes.

    Args:
        stream: the message, which is read to its end.
        limit: the most fields that it may have.

    Raises:
        Refused: it is damaged.
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


def read_tensor(stream: Stream) -> NDArray[np.float32]:
    """The next tensor of a stream; what follows it stays.

    Raises:
        Refused: the stream is damaged or holds something else.
    """
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
    code, shape = _read_description(Stream(stream.take(size), stream.name))
    dtype = _DTYPES.get(code)
    if dtype is None:
        raise Refused(f"holds {stream.name} with numbers of type {code} instead of 4 to 6 (floats); {FOREIGN}")
    check_shape(stream.name, shape)
    count = math.prod(shape) * dtype.itemsize
    if count > stream.left:
        raise Refused(f"holds {stream.name} with {stream.left} bytes, its shape {shape} needs {count}; {AGAIN}")
    return to_float32(stream.name, np.frombuffer(stream.take(count), dtype).reshape(shape))


def _require_version(stream: Stream) -> None:
    if version := stream.number(4):
        raise Refused(f"holds {stream.name}, a tensor of version {version} instead of 0, or no tensor; {FOREIGN}")


def _read_description(stream: Stream) -> tuple[int, tuple[int, ...]]:
    """The type and the shape in a ``TensorDesc``; repeated numbers may be packed into one field or not."""
    codes, shape = [], []
    for number, value in read_fields(stream):
        match number, value:
            case 1, int(code):
                codes.append(code)
            case 2, int(size):
                shape.append(_signed(size))
            case 2, memoryview() as packed:
                sizes = Stream(packed, stream.name)
                while sizes.left:
                    shape.append(_signed(sizes.varint()))
            case _:
                raise stream.damaged("its description")
    if len(codes) != 1:
        raise stream.damaged("its type")
    return codes[0], tuple(shape)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
