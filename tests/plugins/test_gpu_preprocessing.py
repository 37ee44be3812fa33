"""The whole way of a picture preprocessed on the GPU: planned, sent and made by the kernel's own source."""

import numpy as np
import pytest
from fake_cuda import FakeCuda
from fake_engine import picture
from fake_kernel import EmulatedKernel
from fake_tensorrt import FakePlan, install

from pssdet.engines.trt.runtime.session import TensorRTSession
from pssdet.models.preprocess import as_batch, padded_alike, prepare
from pssdet.models.reader import Preprocessing
from pssdet.plugins.bindings.preprocess import PreprocessKernel
from pssdet.runtime import preprocessing as module
from pssdet.runtime.preprocessing import choose_preprocessor


@pytest.fixture
def session(monkeypatch, tmp_path, build):
    cuda = FakeCuda(1)
    install(monkeypatch, cuda)
    kernel = EmulatedKernel(cuda, PreprocessKernel(build("pssdet_emulated")))
    with TensorRTSession(FakePlan().write(tmp_path / "plan"), plugins=None, kernel=kernel) as it:
        yield it
    assert cuda.live == {}
    assert cuda.faults == []


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("resize", ["first", "last"])
def test_proved_and_within_a_grey_level(monkeypatch, session, interpolation, resize):
    monkeypatch.setattr(module, "_gain", lambda *_: 2.0)
    monkeypatch.setattr(module, "_PROBES", ((48, 64), (18, 26), (81, 60)))
    steps = Preprocessing(32, 48, interpolation=interpolation, resize=resize)
    preprocessor = choose_preprocessor(session, steps)
    assert (preprocessor.device, preprocessor.reason) == ("gpu", "as good as on the CPU, and faster")

    images = [picture(*size, seed=seed) for seed, size in enumerate([(60, 40), (31, 77), (32, 32)])]
    made = session.preprocess(
        preprocessor.collate([preprocessor.prepare(each, steps) for each in images])["image"]
    )
    wanted = as_batch(padded_alike([prepare(each, steps) for each in images]))["image"]
    levels = np.abs(made - wanted) * np.array(steps.std, np.float32)[:, None, None] * 255
    assert levels.max() <= 1.001
    assert ((made == 0) == (wanted == 0)).mean() > 0.99, "padding is where it was"
