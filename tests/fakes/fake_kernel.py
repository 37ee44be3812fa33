"""The preprocessing kernel on ``fake_cuda``: the real kernel's source in the emulator, or a plain copy."""

import ctypes

import numpy as np


class CopyKernel:
    """Pixels / 255 as they are, at the top left; ``fault`` breaks it in one way."""

    def __init__(self, cuda, fault=""):
        self.cuda = cuda
        self.fault = fault

    def run(self, steps, pixels, out, stream):
        count = int(np.prod(steps.size)) * 3
        result = 3 * int(np.prod(steps.padded)) * 4

        def work():
            if not (self.cuda.holds(pixels, count) and self.cuda.holds(out, result)):
                return
            source = np.frombuffer((ctypes.c_ubyte * count).from_address(pixels), np.uint8).reshape(
                *steps.size, 3
            )
            target = np.frombuffer((ctypes.c_ubyte * result).from_address(out), np.float32).reshape(
                3, *steps.padded
            )
            target[...] = copied(source, steps.padded)

        self.cuda.enqueue(stream, work)


class EmulatedKernel:
    """The kernel itself, run on the CPU at the stream's time."""

    def __init__(self, cuda, kernel):
        assert kernel.emulated
        self.cuda = cuda
        self.kernel = kernel

    def run(self, steps, pixels, out, stream):
        self.cuda.enqueue(stream, lambda: self.kernel.run(steps, pixels, out, stream=0))


def copied(pixels, padded):
    """What ``CopyKernel`` makes of a picture."""
    image = np.zeros((3, *padded), np.float32)
    image[:, : pixels.shape[0], : pixels.shape[1]] = pixels.transpose(2, 0, 1) / np.float32(255)
    return image
