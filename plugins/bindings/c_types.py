"""What all C headers of the kernels share: data types, layouts, statuses and 32-bit numbers."""

from __future__ import annotations

import ctypes
from typing import Any, Literal

from pssdet.errors import BadInput, EnvironmentMissing

Dtype = Literal["float32", "half"]
Layout = Literal["NCHW", "NHWC"]

#: ``pssdet_dtype`` and ``pssdet_layout``.
DTYPES: dict[Dtype, int] = {"float32": 0, "half": 1}
LAYOUTS: dict[Layout, int] = {"NCHW": 0, "NHWC": 1}

_OK, _BAD_PROBLEM = 0, 1
_LARGEST = 2**31 - 1


def fields(kind: Any, *names: str) -> tuple[tuple[str, Any], ...]:
    """Neighbouring fields of a ``ctypes.Structure`` that have one type."""
    return tuple((name, kind) for name in names)


def check_status(status: int, params: object) -> None:
    """Turn a ``pssdet_status`` into an error.

    Args:
        params: What the function was given, for the message.

    Raises:
        BadInput: the library refused it.
        EnvironmentMissing: the launch failed.
    """
    if status == _BAD_PROBLEM:
        raise BadInput(f"{params}: sizes, formats or tensors contradict each other or are too large")
    if status != _OK:
        raise EnvironmentMissing("the GPU refused the launch: is there a GPU, and is it of an architecture built for?")


def check_int32(params: object, *numbers: int) -> None:
    """Refuse numbers that ctypes would cut to 32 bits.

    Raises:
        BadInput: one of them does not fit.
    """
    if not all(-_LARGEST <= number <= _LARGEST for number in numbers):
        raise BadInput(f"{params}: sizes must fit 32 bits")


def pointers(*addresses: int) -> list[ctypes.c_void_p]:
    """Addresses as C takes them; 0 is a null pointer."""
    return [ctypes.c_void_p(address) for address in addresses]
