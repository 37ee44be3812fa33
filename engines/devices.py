"""Which GPUs the driver offers, asked without any CUDA package."""

from __future__ import annotations

import ctypes


def cuda_device_count() -> int:
    """CUDA devices of this machine; 0 without a driver.

    The driver is asked directly: constructing ``tensorrt.Runtime`` where there is no device crashes
    the process, and CUDA packages are not needed to say that there is none.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
