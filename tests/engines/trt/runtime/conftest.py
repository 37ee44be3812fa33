import pytest
from fake_cuda import FakeCuda
from fake_tensorrt import FakePlan, install

from pssdet.engines.trt.runtime.session import TensorRTSession


@pytest.fixture
def cuda():
    return FakeCuda()


@pytest.fixture
def tensorrt(monkeypatch, cuda):
    return install(monkeypatch, cuda)


@pytest.fixture
def open_session(tensorrt, tmp_path):
    """Opens sessions on a plan of the stub and closes them in the end."""
    sessions = []

    def opened(plan=None, **options):
        path = (plan or FakePlan()).write(tmp_path / "engine.plan")
        sessions.append(TensorRTSession(path, plugins=None, **options))
        return sessions[-1]

    yield opened
    for session in sessions:
        session.close()
