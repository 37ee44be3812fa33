import sys

import pytest
from fake_cuda import FakeCuda
from fake_tensorrt import FakePlan, FakeTensorRT

from pssdet.engines.trt.session import TensorRTSession


def install(monkeypatch, cuda, version="10.4.0"):
    """Put the fakes where the real packages would be imported from."""
    tensorrt = FakeTensorRT(cuda, version)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    return tensorrt


@pytest.fixture
def cuda():
    return FakeCuda()


@pytest.fixture
def tensorrt(monkeypatch, cuda):
    return install(monkeypatch, cuda)


@pytest.fixture
def open_session(tensorrt, tmp_path):
    """Opens sessions on a made-up plan and closes them in the end."""
    sessions = []

    def opened(plan=None, **options):
        path = (plan or FakePlan()).write(tmp_path / "engine.plan")
        sessions.append(TensorRTSession(path, plugins=None, **options))
        return sessions[-1]

    yield opened
    for session in sessions:
        session.close()
