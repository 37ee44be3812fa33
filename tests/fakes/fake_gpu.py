"""NumPy in the GPU's place, and kernels that read and write its memory as the real ones do."""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from pssdet.errors import BadInput
from pssdet.validation.gpu_check.deform_conv import convolve
from pssdet.validation.gpu_check.device import Replay


class NumpyDevice:
    l2_bytes = 1

    def __init__(self, name="NVIDIA Stub 1"):
        self.name = name

    def put(self, values):
        return np.array(values, order="C")

    def take(self, array):
        return array

    def address(self, array):
        return array.ctypes.data

    def stream(self):
        return 7

    def synchronize(self):
        pass

    def at_once(self, works):
        for work in works:
            work()

    def record(self, work):
        work()
        return Replay(work, work)

    def times_us(self, work, iterations):
        times = []
        for _ in range(iterations):
            started = perf_counter()
            work()
            times.append(1e6 * (perf_counter() - started))
        return times


@dataclass
class FakeKernels:
    """The library, by the float64 reference; ``fault`` breaks it in one way, of tile 1 only."""

    fault: str = ""
    tiles: int = 2
    launches: int = 0
    version = "1"
    path = Path(__file__)

    def output_size(self, problem):
        return problem.out_height, problem.out_width

    def pack_weights(self, problem, oihw, *, half):
        return np.ascontiguousarray(np.moveaxis(oihw, 1, -1), dtype_of(half))

    def tile_count(self, problem, form):
        fused = form.half and form.channels_last and problem.groups == problem.offset_groups == 1
        return self.tiles if fused and problem.channels % 8 == problem.out_channels % 8 == 0 else 0

    def run(self, problem, form, *, x, offset, weight, y, bias, tile, stream, mask=0):
        assert stream == 7
        self.launches += 1
        fault = self.fault if tile == 1 else ""
        if fault == "refuses":
            raise BadInput("refused the problem")
        out = (problem.out_height, problem.out_width)
        taps = problem.taps * problem.offset_groups
        size = (problem.batch, problem.channels, problem.height, problem.width)
        x = tensor(x, form.half, form.channels_last, *size)
        layout = (form.half_offset, form.offset_channels_last, problem.batch)
        offset = tensor(offset, *layout, 3 * taps if form.raw_mask else 2 * taps, *out)
        if form.raw_mask:
            assert mask == 0
            offset, mask = offset[:, : 2 * taps], 1 / (1 + np.exp(-offset[:, 2 * taps :].astype("f8")))
        else:
            mask = tensor(mask, *layout, taps, *out)
        packed = (problem.out_channels, problem.kernel_h, problem.kernel_w, problem.channels // problem.groups)
        weight = np.moveaxis(memory(weight, dtype_of(form.half), packed), -1, 1)
        bias = memory(bias, "float32", (problem.out_channels,))
        exact = [part.astype("f8") for part in (x, offset, mask, np.ascontiguousarray(weight), bias)]
        result = convolve(problem, *exact)
        if form.relu:
            result = np.maximum(result, 0)
        self._write(form, y, result, fault)

    def _write(self, form, address, y, fault):
        target = tensor(address, form.half, form.channels_last, *y.shape)
        if fault == "wrong":
            y = y * 1.01
        if fault == "random":
            y = y * (1 + 1e-3 * (self.launches % 2))
        target[:] = y
        if fault == "unwritten":
            target[-1, -1, -1, -1] = np.nan
        if fault == "outside":
            memory(address - 4, "half", (1,))[:] = 0


def dtype_of(half):
    return "half" if half else "float32"


def memory(address, dtype, shape):
    """A view of so many values at an address."""
    count = int(np.prod(shape))
    buffer = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(address)
    return np.frombuffer(buffer, dtype).reshape(shape)


def tensor(address, half, channels_last, batch, channels, height, width):
    """A view as [N, C, H, W] of what lies at an address."""
    if not channels_last:
        return memory(address, dtype_of(half), (batch, channels, height, width))
    pitch = (channels + 7) // 8 * 8
    return np.moveaxis(memory(address, dtype_of(half), (batch, height, width, pitch))[..., :channels], -1, 1)
