"""A reader of pickled dictionaries of NumPy arrays that calls nothing of what a pickle names.

A small interpreter of the few opcodes that such a file needs. It records
what the file says of its arrays and refuses everything else. Contents
are views of the file; limits keep the records within some tens of MB.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pssdet.models.checkpoint_formats.untrusted import AGAIN, FOREIGN, ByteReader, Refused

HEADER = b"\x80"

#: Some 36 opcodes describe a parameter, so this is room for more than five thousand.
_MAX_OPCODES = 200_000
_MAX_TUPLE = 16
_MAX_MARKS = 32
_MAX_TEXT = 512
#: The parameters, and the table of Paddle's internal names beside them.
_MAX_DICTS = 2
_BIG_ARRAYS = "UnpackBigParamInfor@@"

#: Every function or class that a checkpoint may name, by the part that it plays here.
_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): "array",  # NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): "array",  # NumPy 2
    ("numpy.core.numeric", "_frombuffer"): "array from buffer",  # the same for protocol 5
    ("numpy._core.numeric", "_frombuffer"): "array from buffer",
    ("numpy", "ndarray"): "array type",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "bytes",  # how Python 3 writes bytes in protocol 2
    ("collections", "OrderedDict"): "dict",
    ("builtins", "tuple"): "tuple",  # how Paddle writes a tensor beside other objects
    ("__builtin__", "tuple"): "tuple",
}


@dataclass(frozen=True, eq=False, slots=True)
class _Global:
    part: str


@dataclass(frozen=True, eq=False, slots=True)
class _Dtype:
    code: str


@dataclass(frozen=True, eq=False, slots=True)
class _LongText:
    utf8: memoryview


@dataclass(frozen=True, eq=False, slots=True)
class Bytes:
    """Bytes as they lie in the file: plain, or as a text with one character per byte."""

    content: memoryview | str | _LongText

    @property
    def size(self) -> int:
        """Length in the file, never less than the length of the bytes."""
        return len(self.content.utf8 if isinstance(self.content, _LongText) else self.content)

    def raw(self) -> bytes | memoryview:
        """The bytes themselves; raises ``Refused`` if the text holds something else."""
        if isinstance(self.content, memoryview):
            return self.content
        try:
            text = str(self.content.utf8, "utf-8") if isinstance(self.content, _LongText) else self.content
            return text.encode("latin-1")
        except UnicodeError as error:
            raise Refused(f"is damaged (the bytes of an array); {AGAIN}") from error


@dataclass(eq=False, slots=True)
class Array:
    """What the file says about one array, nothing of it checked; no ``data``: nothing was said."""

    code: str = ""
    shape: tuple[object, ...] = ()
    fortran: bool = False
    data: Bytes | None = None


def read_records(content: bytes) -> dict[str, object]:
    """The dictionary in a pickle: by name ``Array``, a tuple of texts and arrays, or a record of no use.

    Raises:
        Refused: the pickle is damaged, or asks for or holds something else.
    """
    reader = _Interpreter(content)
    for _ in range(_MAX_OPCODES):
        opcode = reader.take(1)[0]
        if opcode == ord("."):
            return reader.result()
        handler = _HANDLERS.get(opcode)
        if handler is None:
            raise reader.unknown(opcode)
        handler(reader)
    raise Refused(f"has more than {_MAX_OPCODES} pickle opcodes; {FOREIGN}")


class _Interpreter(ByteReader):
    """The state of reading one pickle.

    On the stack lie plain values, tuples, dictionaries and the records above, which do
    nothing. No code here follows them deeper than one level, so a cycle cannot trap it.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.content = content
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.dicts = 0

    def result(self) -> dict[str, object]:
        result = self.pop()
        if self.stack or self.marks or self.left:
            raise self.damaged()
        if not isinstance(result, dict):
            raise Refused(f"holds no dictionary of parameters; {FOREIGN}")
        return result

    def damaged(self) -> Refused:
        return Refused(f"is damaged (near byte {self.position} of {len(self.content)}); {AGAIN}")

    def unknown(self, opcode: int) -> Refused:
        known = [known.name for known in pickletools.opcodes if known.code == chr(opcode)]
        if not known:
            return self.damaged()
        return Refused(f"uses pickle's {known[0]}, which no checkpoint of parameters needs; {FOREIGN}")

    def line(self) -> str:
        end = self.content.find(b"\n", self.position, self.position + _MAX_TEXT)
        text = self.take((end if end >= 0 else self.position + _MAX_TEXT) - self.position)
        self.take(1)
        return str(text, "utf-8", "backslashreplace")

    def protocol(self) -> None:
        protocol = self.number(1)
        if not 2 <= protocol <= 5:
            raise Refused(f"is a pickle of protocol {protocol}, not 2 to 5; {FOREIGN}")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.damaged()
        return self.stack.pop()

    def pop_last(self, count: int) -> list[object]:
        return [self.pop() for _ in range(count)][::-1]

    def mark(self) -> None:
        if len(self.marks) == _MAX_MARKS:
            raise Refused(f"is nested too deeply; {FOREIGN}")
        self.marks.append(len(self.stack))

    def pop_mark(self) -> list[object]:
        if not self.marks:
            raise self.damaged()
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def put(self, index: int) -> None:
        value = self.pop()
        self.push(value)
        self.memo[index] = value  # a dictionary: a huge index costs nothing

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise self.damaged()
        self.push(self.memo[index])

    def push_text(self, size: int) -> None:
        utf8 = self.take(size)
        if size > _MAX_TEXT:
            self.push(_LongText(utf8))
            return
        try:
            text = str(utf8, "utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged() from error
        if text == _BIG_ARRAYS:
            raise Refused("has arrays over 1 GiB cut in pieces; save it again with protocol=4")
        self.push(text)

    def push_tuple(self, items: Sequence[object]) -> None:
        # The state of an array is a tuple that holds its shape, a tuple: nothing is nested deeper.
        inner = [item for item in items[:_MAX_TUPLE] if isinstance(item, tuple)]
        if len(items) > _MAX_TUPLE or any(isinstance(x, tuple) for item in inner for x in item):
            raise Refused(f"holds tuples that are too long or nested too deeply; {FOREIGN}")
        self.push(tuple(items))

    def push_dict(self) -> None:
        self.dicts += 1
        if self.dicts > _MAX_DICTS:
            raise Refused(f"holds nested dictionaries, not parameters alone; {FOREIGN}")
        self.push({})

    def set_items(self, items: list[object]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise self.damaged()
        for name, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(name, str) or not name.isprintable():
                raise Refused(f"holds something whose name is not a short printable text; {FOREIGN}")
            if name in target:
                raise Refused(f"holds {name} twice; {FOREIGN}")
            target[name] = value
        self.push(target)

    def push_global(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.damaged()
        part = _GLOBALS.get((module, name))
        if part is None:
            raise Refused(
                f"asks for {f'{module}.{name}'!r}, which no checkpoint needs (nothing was run); {FOREIGN}"
            )
        self.push(_Global(part))

    def reduce(self) -> None:
        """Record what a call would give; the call itself is never made."""
        function, arguments = self.pop_last(2)
        match function, arguments:
            case _Global("array"), (_Global("array type"), tuple(), _):
                self.push(Array())
            case _Global("array from buffer"), (
                Bytes() as data,
                _Dtype(code),
                tuple(shape),
                "C" | "F" as order,
            ):
                self.push(Array(code, shape, order == "F", data))
            case _Global("dtype"), (str(code), _, _):
                self.push(_Dtype(code))
            case _Global("bytes"), (str() | _LongText() as text, "latin1"):
                self.push(Bytes(text))
            case _Global("dict"), ():
                self.push_dict()
            case _Global("tuple"), (tuple(items),):
                self.push(items)
            case _Global(part), _:
                raise Refused(f"makes its {part} in an unusual way; {FOREIGN}")
            case _:
                raise self.damaged()

    def build(self) -> None:
        """Record the state of an array, or check that of a dtype; either stays on the stack."""
        record, state = self.pop_last(2)
        match record, state:
            case Array(data=None), (1, tuple(shape), _Dtype(code), int(fortran), Bytes() as data):
                record.code, record.shape, record.fortran, record.data = code, shape, bool(fortran), data
            case _Dtype(), (3, "<" | "=" | "|", None, None, None, -1, -1, _):
                pass
            case _Dtype(code), (_, ">", *_):
                raise Refused(f"holds big-endian numbers ({code!r}); {FOREIGN}")
            case Array() | _Dtype(), _:
                raise Refused(f"holds an array that is not one of plain numbers; {FOREIGN}")
            case _:
                raise self.damaged()
        self.push(record)


_HANDLERS: dict[int, Callable[[_Interpreter], object]] = {
    0x80: _Interpreter.protocol,
    0x95: lambda r: r.take(8),  # the length of a frame, a hint for buffering
    ord("("): _Interpreter.mark,
    ord("}"): _Interpreter.push_dict,
    ord("s"): lambda r: r.set_items(r.pop_last(2)),
    ord("u"): lambda r: r.set_items(r.pop_mark()),
    ord(")"): lambda r: r.push(()),
    ord("t"): lambda r: r.push_tuple(r.pop_mark()),
    0x85: lambda r: r.push_tuple(r.pop_last(1)),
    0x86: lambda r: r.push_tuple(r.pop_last(2)),
    0x87: lambda r: r.push_tuple(r.pop_last(3)),
    ord("N"): lambda r: r.push(None),
    0x88: lambda r: r.push(True),  # noqa: FBT003
    0x89: lambda r: r.push(False),  # noqa: FBT003
    ord("K"): lambda r: r.push(r.number(1)),
    ord("M"): lambda r: r.push(r.number(2)),
    ord("J"): lambda r: r.push(r.number(4, signed=True)),
    0x8C: lambda r: r.push_text(r.number(1)),
    ord("X"): lambda r: r.push_text(r.number(4)),
    0x8D: lambda r: r.push_text(r.number(8)),
    ord("C"): lambda r: r.push(Bytes(r.take(r.number(1)))),
    ord("B"): lambda r: r.push(Bytes(r.take(r.number(4)))),
    0x8E: lambda r: r.push(Bytes(r.take(r.number(8)))),
    0x96: lambda r: r.push(Bytes(r.take(r.number(8)))),
    ord("c"): lambda r: r.push_global(r.line(), r.line()),
    0x93: lambda r: r.push_global(*r.pop_last(2)),
    ord("R"): _Interpreter.reduce,
    ord("b"): _Interpreter.build,
    ord("q"): lambda r: r.put(r.number(1)),
    ord("r"): lambda r: r.put(r.number(4)),
    0x94: lambda r: r.put(len(r.memo)),
    ord("h"): lambda r: r.get(r.number(1)),
    ord("j"): lambda r: r.get(r.number(4)),
}
