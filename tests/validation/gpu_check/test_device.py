"""The bare device, and the engine without copies, on stubs of the CUDA runtime and TensorRT."""

import ctypes
import functools
import json
import sys
from types import SimpleNamespace

import fake_tensorrt
import fake_trt_build
import numpy as np
import pytest
from fake_cuda import Error, FakeCuda
from fake_tensorrt import SCRATCH, FakePlan, expected, install

from pssdet.engines.devices import Gpu
from pssdet.engines.trt.graph.plugins import PLUGINS
from pssdet.engines.trt.runtime.cuda import Cuda
from pssdet.errors import EnvironmentMissing
from pssdet.validation.gpu_check import device as devices
from pssdet.validation.gpu_check import machine, pack
from pssdet.validation.gpu_check.device import BareDevice, spread
from pssdet.validation.gpu_check.engines import ResidentBatch
from pssdet.validation.gpu_check.plan import Given

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

    cudaMemcpyKind = SimpleNamespace(  # noqa: N815
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    loses = False

    def cudaMemcpyAsync(self, target, source, size, kind, stream):  # noqa: N802
        if kind != 3:
            return super().cudaMemcpyAsync(target, source, size, kind, stream)

        def work():
            self.clock += 1
            if not self.loses:
                ctypes.memmove(target, source, size)

        return self.enqueue(stream, work)

    def cudaRuntimeGetVersion(self):  # noqa: N802
        return Error.cudaSuccess, 12090

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

    def reporting(self, stream):
        if getattr(self, "profiler", None):
            self.profiler.report_layer_time("myl_1", 0.5)
            self.profiler.report_layer_time("trunk/Conv_1", 1.5)
        return enqueue(self, stream)

    monkeypatch.setattr(fake_tensorrt.Context, "execute_async_v3", reporting)
    batch = open_batch(tmp_path, inputs, graphs=False)
    layers = batch.layers_us(4)
    assert layers == {"myl_1 [ONNX Layer: finish/Exp_3]": 500.0, "trunk/Conv_1": 1500.0}
    batch.close()


class TestBareDevice:
    @pytest.fixture
    def device(self, cuda, monkeypatch):
        monkeypatch.setattr(devices, "gpu", lambda: Gpu("NVIDIA Stub 1", (9, 0), "13.0"))
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

    def test_works_at_once_run_on_streams_of_their_own(self, cuda, device):
        ran = []

        def work(name):
            return lambda: cuda.enqueue(device.stream(), lambda: ran.append(name))

        device.at_once([work("a"), work("b")])
        assert sorted(ran) == ["a", "b"]
        assert cuda.calls["cudaStreamCreateWithFlags"] == 3
        assert set(cuda.live) == {"stream"}

    def test_without_a_gpu(self, monkeypatch):
        monkeypatch.setattr(devices, "gpu", lambda: None)
        with pytest.raises(EnvironmentMissing, match="no NVIDIA GPU"):
            BareDevice()


def test_quantiles():
    assert spread([4, 1, 3, 2]) == {"median_us": 2.5}
    assert spread(range(11), 0.1, 0.9) == {"median_us": 5.0, "p10_us": 1.0, "p90_us": 9.0}


class TestMachine:
    """The steps about the machine."""

    V100 = Gpu("Tesla V100-SXM2-16GB", (7, 0), "12.4", "550.54.15")

    def test_the_driver(self, monkeypatch):
        monkeypatch.setattr(machine, "gpu", lambda: self.V100)
        figures = machine.driver(None).figures
        assert figures["identity"] == {
            "GPU": "Tesla V100-SXM2-16GB",
            "compute capability": "7.0",
            "driver": "550.54.15",
            "CUDA of the driver": "12.4",
        }

    def test_without_a_driver(self, monkeypatch):
        monkeypatch.setattr(machine, "gpu", lambda: None)
        with pytest.raises(EnvironmentMissing, match="does nvidia-smi succeed"):
            machine.driver(None)

    def test_figures_of_nvidia_smi(self):
        found = machine.driver_figures(lambda _: "580.159.03, 1980, 1980, 3201, 700.00, 41")
        assert (found["driver"], found["temperature, C"]) == ("580.159.03", "41")
        assert set(machine.driver_figures(lambda _: "").values()) == {"not known"}
        assert machine.output_of(["no-such-program-here"]) == ""

    @pytest.fixture
    def stub(self, cuda, monkeypatch):
        monkeypatch.setattr(devices, "gpu", lambda: self.V100)
        return cuda

    def test_cuda(self, stub):
        findings = machine.cuda(None)
        assert findings.failures == []
        assert findings.figures["identity"]["CUDA of cuda-bindings"] == "12.9"

    def test_a_copy_that_does_nothing(self, stub):
        stub.loses = True
        assert machine.cuda(None).failures == ["a copy recorded as a CUDA graph did not copy"]

    def test_a_graph_that_does_nothing(self, stub, monkeypatch):
        monkeypatch.setattr(stub, "cudaGraphLaunch", lambda graph, stream: (Error.cudaSuccess,), raising=False)
        assert "a copy recorded as a CUDA graph did not copy" in machine.cuda(None).failures

    def test_bundles(self, bundles, tmp_path, monkeypatch):
        monkeypatch.setattr(machine, "ARTIFACTS", tmp_path / "nothing exported")
        found = machine.bundles(Given(bundles, tmp_path, ""))
        assert set(found.figures["identity"]) == {"bundle mini", "bundle scenes", "bundle row4"}
        with pytest.raises(EnvironmentMissing, match="gpu-check --pack"):
            machine.bundles(Given(tmp_path / "packed", tmp_path, ""))

    def test_an_export_that_was_copied_is_enough(self, artifacts, tmp_path, monkeypatch):
        monkeypatch.setattr(machine, "ARTIFACTS", artifacts)
        monkeypatch.setattr(machine, "pack", lambda *given: pack.pack(*given, artifacts))
        found = machine.bundles(Given(tmp_path, tmp_path, ""))
        assert set(found.figures["identity"]) == {"bundle mini"}

    @pytest.fixture
    def trt(self, stub, monkeypatch):
        made = fake_trt_build.install(monkeypatch, "10.4.0")
        creators = [SimpleNamespace(name=name) for name in PLUGINS]
        made.get_plugin_registry = lambda: SimpleNamespace(plugin_creator_list=[], all_creators=creators)
        made.creators = creators
        return made

    def test_tensorrt(self, trt):
        findings = machine.tensorrt(None)
        assert findings.failures == []
        assert findings.figures["identity"]["TensorRT"] == "10.4.0"
        assert findings.figures["identity"]["way to FP16"] == "typed"

    def test_a_tensorrt_that_gave_up_this_gpu(self, trt):
        def refuse(logger):
            raise TypeError("pybind11::init(): factory function returned nullptr")

        trt.Builder = refuse
        findings = machine.tensorrt(None)
        assert findings.figures["identity"]["TensorRT"] == "10.4.0"
        assert findings.failures[0].startswith("TensorRT makes no builder: pybind11")

    def test_no_tensorrt(self, stub, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(EnvironmentMissing, match="TensorRT cannot be imported"):
            machine.tensorrt(None)

    def test_plugins(self, trt, monkeypatch, tmp_path):
        monkeypatch.setenv("PSSDET_PLUGINS", str(tmp_path / "plugins.so"))
        with pytest.raises(EnvironmentMissing, match="not a file"):
            machine.plugins(None)
        (tmp_path / "plugins.so").write_bytes(b"no library")
        assert "cannot be loaded" in machine.plugins(None).failures[0]
        monkeypatch.setattr(machine, "load_plugins", lambda trt, path: None)
        assert machine.plugins(None).failures == []
        trt.creators.pop(0)
        assert machine.plugins(None).failures == ["TensorRT knows no plugin PssDetDeformConv2d"]

    def test_kernels(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PSSDET_KERNELS", str(tmp_path / "nowhere.so"))
        with pytest.raises(EnvironmentMissing, match="not a file"):
            machine.kernels(None)
