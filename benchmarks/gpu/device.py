"""What the benchmarks of kernels need of a GPU; in the tests NumPy takes its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

#: An array of the device's own library.
Array = Any
Kind = Literal["float16", "float32", "float64"]
Work = Callable[[], None]


@dataclass(frozen=True)
class Replay:
    """Recorded work that can be run again.

    keeps: what the record refers to and must not be freed, such as the work with its tensors.
    nodes: how many operations of each type the record holds, where it can be asked.
    """

    run: Work
    keeps: object
    nodes: dict[str, int] | None = None
    is_graph: bool = True


class Device(Protocol):
    """Memory, a stream and a clock: ``cuda_device.py``, or ``torch_device.py``."""

    name: str

    def describe(self) -> dict[str, str]:
        """What a reader must know of the device to judge a time."""
        ...

    def put(self, values: NDArray[Any]) -> Array:
        """An array from the host, its type kept."""
        ...

    def take(self, array: Array) -> NDArray[Any]:
        """An array's values on the host."""
        ...

    def address(self, array: Array) -> int:
        """Where the array's first value lies in the device's memory."""
        ...

    def stream(self) -> int:
        """Handle of the stream that work is now given to."""
        ...

    def synchronize(self) -> None:
        """Wait for all work; an error of any of it is raised here."""
        ...

    def record(self, work: Work) -> Replay:
        """Do the work for warming up and record it."""
        ...

    def times_us(self, replays: Sequence[Replay], iterations: int) -> list[float]:
        """Microseconds of each of so many runs, which take turns among the replays; warmed up first."""
        ...


class ArrayDevice(Device, Protocol):
    """A device with a library of arrays, and with streams: ``torch_device.py``."""

    #: The library's functions, by the names that NumPy and PyTorch share.
    xp: Any
    l2_bytes: int

    def normal(self, shape: Sequence[int], seed: int) -> Array:
        """float32 values of a standard normal distribution."""
        ...

    def full(self, shape: Sequence[int], kind: Kind, value: float) -> Array:
        """An array of one value."""
        ...

    def packed(self, array: Array, kind: Kind) -> Array:
        """The values as that type, without gaps in memory."""
        ...

    def at_once(self, replays: Sequence[Replay]) -> None:
        """Run the recorded works on streams of their own, at the same time, and wait."""
        ...


def has_only_finite(device: ArrayDevice, array: Array) -> bool:
    """Whether no value is NaN or infinite."""
    return bool(device.xp.isfinite(array).all())


def same_bits(device: ArrayDevice, first: Array, second: Array) -> bool:
    """Whether two arrays of a type agree to the bit; NaNs do too."""
    whole = {2: device.xp.int16, 4: device.xp.int32}[first.dtype.itemsize]
    return bool((first.view(whole) == second.view(whole)).all())


def host_float32(device: Device, array: Array) -> NDArray[np.float32]:
    """An array's values on the host, as float32 without gaps."""
    return np.ascontiguousarray(device.take(array), np.float32)
