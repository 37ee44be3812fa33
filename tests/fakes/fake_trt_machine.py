"""A machine with a GPU and a stub of TensorRT whose plans ONNX Runtime runs."""

import json

import fake_trt_build

from pssdet.engines.backends import tensorrt_gpu
from pssdet.engines.backends.tensorrt_gpu import TensorRTOptions
from pssdet.engines.build_engine import build_engine
from pssdet.engines.devices import Gpu
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.registry import backend_named
from pssdet.errors import BadInput

H200 = Gpu("NVIDIA H200", (9, 0), "12.8", "570.86.15")
V100 = Gpu("Tesla V100-SXM2-16GB", (7, 0), "12.4", "550.54.15")


#: What ``import tensorrt`` gives in a process that nobody prepared, and that has not loaded the plugins.
FRESH = """
import sys
from fake_trt_build import FakeTensorRT
sys.modules[__name__] = FakeTensorRT("{version}")
sys.modules[__name__].has_plugins = False
"""


class PlanOnOnnxRuntime:
    """What a plan of the fake says it returns, computed by the exported model within the plan's profiles."""

    model = None
    opened = ()
    kernels = ()
    disturb = staticmethod(lambda outputs: outputs)

    def __init__(self, plan, *, plugins, host_code=False, outputs=None, kernel=None):
        content = json.loads(plan.read_text())
        self._profiles = content["profiles"]
        self._session = OnnxRuntimeSession(self.model, content["outputs"], cuda=False)
        assert set(outputs) <= set(content["outputs"])
        type(self).opened = (*self.opened, (plugins, host_code))
        type(self).kernels = (*self.kernels, kernel)

    def run(self, inputs):
        shape = inputs["image"].shape
        for profile in self._profiles:
            low, _, high = profile["image"]
            if all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
                return self.disturb(self._session.run(inputs))
        raise BadInput(f"no profile takes {shape}")

    def close(self):
        self._session.close()


def tensorrt_machine(monkeypatch, tmp_path, mini_folder):
    """A machine with a GPU, plugins and a TensorRT, whose parts a test may take away."""

    class Machine:
        device = H200
        backend = backend_named("tensorrt")
        library = tmp_path / "libpssdet_plugins.so"
        builds = 0

        def have(self, version):
            self.trt = fake_trt_build.install(monkeypatch, version)
            self.trt.before_build = self.count
            stub.write_text(FRESH.format(version=version))
            return self.trt

        def count(self, _):
            self.builds += 1

        def build(self, output="engine", precision="fp16", progress=lambda _: None, **options):
            folder = tmp_path / output
            build_engine(mini_folder, self.backend, precision, folder, progress, TensorRTOptions(**options))
            return folder

    stub = tmp_path / "fresh process" / "tensorrt.py"
    stub.parent.mkdir()
    monkeypatch.syspath_prepend(stub.parent)
    made = Machine()
    made.library.write_bytes(b"plugins")
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PSSDET_PLUGINS", str(made.library))
    monkeypatch.setattr(tensorrt_gpu, "cuda_device_count", lambda: int(made.device is not None))
    monkeypatch.setattr(tensorrt_gpu, "gpu", lambda: made.device)
    monkeypatch.setattr(tensorrt_gpu, "_installed", lambda name: True)
    monkeypatch.setattr("pssdet.engines.trt.plan.builder.load_plugins", lambda trt, path: None)
    session = type("Session", (PlanOnOnnxRuntime,), {"model": mini_folder / "model.onnx"})
    monkeypatch.setattr("pssdet.engines.trt.runtime.session.TensorRTSession", session)
    made.session = session
    made.have("10.4.0")
    return made
