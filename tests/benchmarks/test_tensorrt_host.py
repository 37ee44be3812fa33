"""The engine without copies, and the bare device, on stubs of the CUDA runtime and TensorRT."""

import functools
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import fake_tensorrt
import fake_trt_build
import numpy as np
import onnx
import pytest
from fake_cuda import Error, FakeCuda
from fake_tensorrt import SCRATCH, FakePlan, expected, install

from benchmarks.gpu import cuda_device, engines, tensorrt_host
from benchmarks.gpu.cuda_device import BareDevice
from benchmarks.gpu.tensorrt_host import ResidentBatch
from benchmarks.no_dcn import without_dcn
from pssdet.engines.devices import Gpu
from pssdet.engines.precision.recipe import recipe_for
from pssdet.engines.trt.plan import builder
from pssdet.engines.trt.profiles import Profile
from pssdet.engines.trt.runtime.cuda import Cuda
from pssdet.errors import EnvironmentMissing

ROOT = Path(__file__).resolve().parents[2]
TICK_MS = 0.25


class TimedCuda(FakeCuda):
    """With a clock: what a stream does takes a tick."""

    def __init__(self):
        super().__init__()
        self.clock = 0
        self.stamps = {}

    def cudaEventCreate(self):  # noqa: N802
        return Error.cudaSuccess, self._handle("event")

    def cudaEventRecord(self, event, stream):  # noqa: N802
        def reach():
            self.stamps[int(event)] = self.clock

        return self.enqueue(stream, reach)

    def cudaEventElapsedTime(self, start, end):  # noqa: N802
        return Error.cudaSuccess, TICK_MS * (self.stamps[int(end)] - self.stamps[int(start)])

    def cudaMemGetInfo(self):  # noqa: N802
        taken = sum(len(array) for kind, array in self.memory.values() if kind == "device memory")
        return Error.cudaSuccess, (1 << 30) - taken, 1 << 30

    def cudaDeviceSynchronize(self):  # noqa: N802
        for stream in list(self.streams.values()):
            self._finish(stream)
        return (self.broken,)


@pytest.fixture
def cuda(monkeypatch):
    fake = TimedCuda()
    ticking = fake_tensorrt.Work.__call__

    @functools.wraps(ticking)
    def work(self):
        fake.clock += 1
        ticking(self)

    monkeypatch.setattr(fake_tensorrt.Work, "__call__", work)
    install(monkeypatch, fake)
    return fake


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)
    return {
        "image": random.normal(size=(2, 3, 8, 8)).astype(np.float32),
        "image_size": np.full((2, 2), 8, np.float32),
        "scale_factor": np.ones((2, 2), np.float32),
    }


def open_batch(tmp_path, inputs, graphs, **plan):
    path = FakePlan(**plan).write(tmp_path / "plan")
    return ResidentBatch(Cuda(), path, None, inputs, graphs=graphs)


@pytest.mark.parametrize("graphs", [True, False])
def test_each_run_is_timed_alone(cuda, tmp_path, inputs, graphs):
    batch = open_batch(tmp_path, inputs, graphs)
    assert batch.times_us(7) == [1e3 * TICK_MS] * 7
    assert cuda.calls["cudaGraphLaunch"] > 0 if graphs else cuda.calls["cudaGraphLaunch"] == 0
    batch.close()
    assert cuda.live == {}
    assert cuda.faults == []


def test_the_batch_is_computed(cuda, tmp_path, inputs):
    batch = open_batch(tmp_path, inputs, graphs=True)
    batch.times_us(1)
    received = batch._buffers.outputs
    batch._cuda.copy_to_host(received.host, received.device, batch._context.outputs.size, batch._stream)
    batch._stream.synchronize()
    for name, values in expected(inputs).items():
        np.testing.assert_array_equal(batch._context.outputs.slots[name].view(received.host.bytes), values)
    batch.close()


def test_memory(cuda, tmp_path, inputs):
    batch = open_batch(tmp_path, inputs, graphs=False)
    figures = batch.memory()
    assert figures["scratch"] == SCRATCH
    assert figures["device"] >= SCRATCH + inputs["image"].nbytes
    batch.close()


def test_a_graph_that_cannot_be_recorded_is_an_error(cuda, tmp_path, inputs):
    batch = open_batch(tmp_path, inputs, graphs=True, capture="fails")
    with pytest.raises(EnvironmentMissing, match="cannot be recorded"):
        batch.times_us(3)
    batch.close()


def test_layers_by_name_and_onnx_nodes(cuda, tmp_path, inputs, monkeypatch):
    module = sys.modules["tensorrt"]
    module.IProfiler = type("IProfiler", (), {"__init__": lambda self: None})
    module.LayerInformationFormat = SimpleNamespace(JSON="json")
    said = json.dumps({"Layers": [{"Name": "myl_1", "Metadata": "[ONNX Layer: finish/Exp_3]"}]})
    inspector = SimpleNamespace(get_engine_information=lambda kind: said)
    monkeypatch.setattr(fake_tensorrt.Engine, "create_engine_inspector", lambda self: inspector, raising=False)
    enqueue = fake_tensorrt.Context.execute_async_v3

    def reporting(self, stream_handle):
        if getattr(self, "profiler", None):
            self.profiler.report_layer_time("myl_1", 0.5)
            self.profiler.report_layer_time("trunk/Conv_1", 1.5)
        return enqueue(self, stream_handle)

    monkeypatch.setattr(fake_tensorrt.Context, "execute_async_v3", reporting)
    batch = open_batch(tmp_path, inputs, graphs=False)
    layers = batch.layers_us(4)
    assert layers == {"myl_1 [ONNX Layer: finish/Exp_3]": 500.0, "trunk/Conv_1": 1500.0}
    batch.close()


class TestBareDevice:
    @pytest.fixture
    def device(self, cuda, monkeypatch):
        monkeypatch.setattr(cuda_device, "gpu", lambda: Gpu("NVIDIA Stub 1", (9, 0), "13.0"))
        return BareDevice()

    @pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.uint8])
    def test_arrays_there_and_back(self, device, dtype):
        values = np.arange(24).reshape(2, 3, 4).astype(dtype)
        memory = device.put(values.transpose(2, 0, 1))
        again = device.take(memory)
        np.testing.assert_array_equal(again, values.transpose(2, 0, 1))
        assert again.dtype == dtype
        assert device.address(memory) % 256 == 0

    def test_memory_is_given_back(self, cuda, device):
        device.put(np.zeros(1000, np.float32))
        assert set(cuda.live) == {"stream"}

    def test_recorded_work_is_timed(self, cuda, device):
        def work():
            cuda.enqueue(device.stream(), lambda: setattr(cuda, "clock", cuda.clock + 2))

        replay = device.record(work)
        assert device.times_us(replay.run, 5) == [2e3 * TICK_MS] * 5

    def test_without_a_gpu(self, monkeypatch):
        monkeypatch.setattr(cuda_device, "gpu", lambda: None)
        with pytest.raises(EnvironmentMissing, match="no NVIDIA GPU"):
            BareDevice()


class TestBuild:
    """The host's builds, by the stub of TensorRT's builder."""

    @pytest.fixture
    def host(self, request, cuda, monkeypatch, tmp_path):
        module = fake_trt_build.install(monkeypatch, request.param)
        library = tmp_path / "libpssdet_plugins.so"
        library.write_bytes(b"plugins")
        monkeypatch.setattr(cuda_device, "gpu", lambda: Gpu("NVIDIA Stub 1", (9, 0), "13.0"))
        monkeypatch.setattr(tensorrt_host, "find_plugins", lambda: library)
        for place in (tensorrt_host, builder):
            monkeypatch.setattr(place, "load_plugins", lambda trt, path: None)
        host = tensorrt_host.TensorRTHost(tmp_path / "caches")
        host.module = module
        return host

    @pytest.mark.parametrize("host", ["8.6.0", "10.4.0", "11.1.0"], indirect=True)
    def test_a_proved_half_engine_and_one_without_dcn(self, host, mini_folder, tmp_path):
        model = onnx.load(mini_folder / "model.onnx")
        recipe = recipe_for("mini_faster", model.graph).fp32
        alone = Profile((1, 160, 192), (1, 256, 256), (1, 256, 256))
        profiles = (alone, Profile((2, 160, 192), (8, 256, 256), (8, 256, 256)))
        found = host.build(model, tmp_path / "fp16.plan", profiles, recipe)
        assert found["precisions"]["share"] >= 0.9
        assert found["kept_fp32"] == len(recipe) > 0
        assert (tmp_path / "fp16.plan").stat().st_size > 0
        assert len(list((tmp_path / "caches").glob("*.timing"))) == 1
        plain = without_dcn(model)
        kept = [name for name in recipe if name in {node.name for node in plain.graph.node}]
        half = host.build(plain, tmp_path / "no_dcn.plan", profiles, kept)
        assert half["precisions"]["share"] >= 0.9
        whole = host.build(model, tmp_path / "fp32.plan", profiles, None)
        assert whole["precisions"]["share"] == 0.0

    @pytest.mark.parametrize("host", ["8.6.0"], indirect=True)
    def test_no_kernels_of_libraries_that_may_be_stand_ins(self, host, mini_folder, tmp_path, monkeypatch):
        monkeypatch.setattr(builder, "unloadable_sources", lambda able: ())
        model = onnx.load(mini_folder / "model.onnx")
        profile = Profile((1, 160, 192), (1, 256, 256), (1, 256, 256))
        host.build(model, tmp_path / "fp32.plan", (profile,), None)
        sources = host.module.TacticSource
        used = {source.name for source in sources if host.module.config.sources >> int(source) & 1}
        assert used
        assert not used & {"CUBLAS", "CUBLAS_LT", "CUDNN"}

    @pytest.mark.parametrize("host", ["10.4.0"], indirect=True)
    def test_what_is_recorded(self, host):
        assert host.identity() == {"tensorrt": "10.4.0", "plugins": hashlib.sha256(b"plugins").hexdigest()}
        assert host.describe()["compute capability"] == "9.0"
        host.check()

    def test_no_gpu(self, monkeypatch, tmp_path):
        monkeypatch.setattr(cuda_device, "gpu", lambda: None)
        with pytest.raises(EnvironmentMissing, match="no NVIDIA GPU"):
            tensorrt_host.TensorRTHost(tmp_path)


def test_help_of_make(tmp_path):
    """Every target of a step runs the script of that step."""
    done = subprocess.run(
        ["make", "-n", "gpu-kernels", "gpu-mini", "gpu-row4", "gpu-cascade",
         "GPU_PYTHON=py", "GPU_OPTIONS=--quick"],
        check=True, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "py benchmarks/gpu/detection_kernels.py --quick",
        *(f"py benchmarks/gpu/engines.py {case} --quick" for case in engines.CASES),
    ]
