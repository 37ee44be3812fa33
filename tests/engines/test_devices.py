"""What the driver is asked, on a stub of it that answers as libcuda does: by pointers and a status."""

import ctypes

import pytest

from pssdet.engines import devices
from pssdet.engines.devices import Gpu, cuda_device_count, gpu

OK, FAILED = 0, 100


class Driver:
    def __init__(self, count=1, broken=()):
        self._count, self._broken = count, broken

    def _status(self, name):
        return FAILED if name in self._broken else OK

    def cuInit(self, flags):  # noqa: N802
        assert flags == 0
        return self._status("cuInit")

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = self._count
        return self._status("cuDeviceGetCount")

    def cuDeviceGet(self, device, ordinal):  # noqa: N802
        device._obj.value = 7 + ordinal
        return self._status("cuDeviceGet")

    def cuDeviceGetName(self, name, length, device):  # noqa: N802
        assert device.value == 7
        assert length == ctypes.sizeof(name)
        name.value = b"NVIDIA H200"
        return self._status("cuDeviceGetName")

    def cuDeviceGetAttribute(self, value, attribute, device):  # noqa: N802
        assert device.value == 7
        value._obj.value = {75: 9, 76: 0}[attribute]
        return self._status("cuDeviceGetAttribute")

    def cuDriverGetVersion(self, version):  # noqa: N802
        version._obj.value = 12080
        return self._status("cuDriverGetVersion")


@pytest.fixture
def driver(monkeypatch, tmp_path):
    def install(**kwargs):
        made = Driver(**kwargs)
        monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: made)

    monkeypatch.setattr(devices, "_MODULE", tmp_path / "version")
    return install


def test_the_first_gpu(driver, tmp_path):
    driver()
    assert cuda_device_count() == 1
    assert gpu() == Gpu("NVIDIA H200", (9, 0), "12.8", "")
    line = (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 02:08:53 UTC 2025\n"
        "GCC version: 12\n"
    )
    (tmp_path / "version").write_text(line)
    assert gpu().driver == "570.86.15"


def test_a_module_that_says_nothing_known(driver, tmp_path):
    driver()
    (tmp_path / "version").write_text("something else 12")
    assert gpu().driver == ""


@pytest.mark.parametrize("call", ["cuInit", "cuDeviceGetCount"])
def test_a_driver_that_does_not_answer(driver, call):
    driver(broken=(call,))
    assert cuda_device_count() == 0
    assert gpu() is None


@pytest.mark.parametrize(
    "call", ["cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDriverGetVersion"]
)
def test_a_gpu_that_cannot_be_described(driver, call):
    driver(broken=(call,))
    assert gpu() is None


def test_no_gpu(driver):
    driver(count=0)
    assert gpu() is None


def test_no_driver(monkeypatch):
    def no_library(_):
        raise OSError

    monkeypatch.setattr(devices.ctypes, "CDLL", no_library)
    assert cuda_device_count() == 0
    assert gpu() is None
