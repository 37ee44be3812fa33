"""Which GPUs the driver offers, asked without any CUDA package."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import NamedTuple

#: Of the driver's C API: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_CAPABILITY = (75, 76)
_NAME_BYTES = 256
_MODULE = Path("/proc/driver/nvidia/version")


class Gpu(NamedTuple):
    """The first GPU of this machine.

    Attributes:
        capability: compute capability, e.g. (9, 0).
        cuda: newest CUDA version that the driver serves, e.g. ``12.4``.
        driver: version of the kernel module, e.g. ``550.54.15``; empty where it cannot be read.
    """

    name: str
    capability: tuple[int, int]
    cuda: str
    driver: str = ""


def cuda_device_count() -> int:
    """CUDA devices of this machine; 0 without a driver.

    The driver itself is asked: where there is no device, ``tensorrt.Runtime`` crashes the process.
    """
    driver = _driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def gpu() -> Gpu | None:
    """The first CUDA device, which TensorRT builds for; None without one."""
    if cuda_device_count() == 0 or (driver := _driver()) is None:
        return None
    device, version = ctypes.c_int(0), ctypes.c_int(0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    numbers = (ctypes.c_int(0), ctypes.c_int(0))
    statuses = [
        driver.cuDeviceGet(ctypes.byref(device), 0),
        driver.cuDeviceGetName(name, _NAME_BYTES, device),
        *(
            driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
            for number, attribute in zip(numbers, _CAPABILITY, strict=True)
        ),
        driver.cuDriverGetVersion(ctypes.byref(version)),
    ]
    if any(statuses):
        return None
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Gpu(
        name.value.decode(errors="replace"), (numbers[0].value, numbers[1].value), cuda, _module_version()
    )


def _driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def _module_version() -> str:
    try:
        text = _MODULE.read_text()
    except OSError:
        return ""
    found = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", text)
    return found.group() if found else ""
