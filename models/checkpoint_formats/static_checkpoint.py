"""Checkpoints of PaddleDetection's static era, read as untrusted input.

They have one file per variable, or are an inference model: a program that names the variables, and one file
with the values of all. ``archives`` lists their files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from pssdet.models.checkpoint_formats.archives import require_name
from pssdet.models.checkpoint_formats.lod_tensor import Stream, read_fields, read_tensor
from pssdet.models.checkpoint_formats.static_names import to_structured
from pssdet.models.checkpoint_formats.untrusted import FOREIGN, Refused

_MAX_PROGRAM = 32 << 20
_MAX_VARIABLE_FIELDS = 32

_PROGRAM, _ALL_VALUES = "__model__", "__params__"
_BESIDE = {_PROGRAM, "infer_cfg.yml"}
_LOD_TENSOR = 7

Arrays = dict[str, NDArray[np.float32]]


def read_variables(names: Collection[str], content: Callable[[str], memoryview]) -> tuple[Arrays, int]:
    """The parameters by structured name, and the number of optimiser variables that were left out.

    Args:
        names: the files, named as the variables.
        content: gives the content of one.

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
    stream = Stream(content, name)
    array = read_tensor(stream)
    stream.require_end()
    return array


def _read_combined(names: list[str], content: memoryview) -> Arrays:
    """All values of an inference model, which lie one after the other."""
    stream = Stream(content, _ALL_VALUES)
    arrays = {}
    for name in names:
        stream.name = f"{name} in {_ALL_VALUES}"
        arrays[name] = read_tensor(stream)
    stream.name = _ALL_VALUES
    stream.require_end()
    return arrays


def _persistable(program: memoryview) -> list[str]:
    """The variables of a ``ProgramDesc`` that have stored values, in the order of storing.

    Those of inference models all belong to the main block, the first one.
    """
    if len(program) > _MAX_PROGRAM:
        raise Refused(f"holds {_PROGRAM} of more than {_MAX_PROGRAM >> 20} MiB; {FOREIGN}")
    blocks = _messages(program, 1)
    names = {name for variable in _messages(next(blocks, program[:0]), 3) if (name := _stored_name(variable))}
    if not names:
        raise Refused(f"holds {_PROGRAM} without variables; {FOREIGN}")
    return sorted(names)


def _messages(message: memoryview, number: int) -> Iterator[memoryview]:
    for found, value in read_fields(Stream(message, _PROGRAM)):
        if found == number and isinstance(value, memoryview):
            yield value


def _stored_name(variable: memoryview) -> str:
    """The name in a ``VarDesc`` (1) if it is persistable (3) and of the type (2) of tensors; else empty."""
    fields = dict(read_fields(Stream(variable, _PROGRAM), _MAX_VARIABLE_FIELDS))
    name, kind = fields.get(1), fields.get(2)
    if not fields.get(3) or not isinstance(name, memoryview) or not isinstance(kind, memoryview):
        return ""
    if dict(read_fields(Stream(kind, _PROGRAM), _MAX_VARIABLE_FIELDS)).get(1) != _LOD_TENSOR:
        return ""
    text = str(name, "utf-8", "replace")
    require_name(text)
    return text
