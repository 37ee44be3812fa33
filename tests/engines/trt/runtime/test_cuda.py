import sys

import numpy as np
import pytest
from fake_cuda import Error, FakeCuda

from pssdet.engines.trt.runtime.cuda import Cuda, CudaFailure, DeviceBuffer, Event, Graph, PinnedBuffer, Stream
from pssdet.errors import EnvironmentMissing


@pytest.fixture
def fake(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    return fake


@pytest.fixture
def cuda(fake):
    return Cuda()


class TestWithoutAGpu:
    def test_no_bindings(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
        with pytest.raises(
            EnvironmentMissing, match=r"cuda-bindings is not installed; pip install 'cuda-bindings"
        ):
            Cuda()

    def test_no_driver(self, fake):
        fake.fail("cudaGetDeviceCount", Error.cudaErrorInsufficientDriver)
        with pytest.raises(
            EnvironmentMissing, match=r"cudaErrorInsufficientDriver \(text of 35\); install the NVIDIA"
        ):
            Cuda()

    def test_no_device(self, fake):
        fake.devices = 0
        with pytest.raises(
            EnvironmentMissing, match=r"cudaErrorNoDevice .*nvidia-smi and CUDA_VISIBLE_DEVICES"
        ):
            Cuda()


class TestErrors:
    def test_name_text_and_advice(self, fake, cuda):
        fake.fail("cudaMalloc")
        with pytest.raises(
            CudaFailure, match=r"cudaMalloc failed: cudaErrorMemoryAllocation .*smaller batches"
        ) as seen:
            DeviceBuffer(cuda, 16)
        assert seen.value.name == "cudaErrorMemoryAllocation"
        assert seen.value.exit_code == 3

    def test_it_is_not_left_for_the_next_check(self, fake, cuda):
        fake.fail("cudaMalloc")
        with pytest.raises(CudaFailure):
            DeviceBuffer(cuda, 16)
        assert fake.calls["cudaGetLastError"] == 1

    def test_without_advice(self, fake, cuda):
        fake.fail("cudaMalloc", Error.cudaErrorInvalidValue)
        with pytest.raises(CudaFailure, match=r"cudaErrorInvalidValue \(text of 1\)$"):
            DeviceBuffer(cuda, 16)


class TestResources:
    @pytest.mark.parametrize(
        "make", [Stream, Event, lambda c: DeviceBuffer(c, 8), lambda c: PinnedBuffer(c, 8)]
    )
    def test_given_back_once(self, fake, cuda, make):
        resource = make(cuda)
        assert sum(fake.live.values()) == 1
        resource.close()
        resource.close()
        assert fake.live == {}
        assert fake.faults == []
        with pytest.raises(ValueError, match="is closed"):
            _ = resource.handle

    def test_a_failure_while_giving_back_is_not_reported_again(self, fake, cuda):
        buffer = DeviceBuffer(cuda, 8)
        fake.broken = Error.cudaErrorIllegalAddress
        buffer.close()

    def test_pinned_memory_is_seen_as_bytes(self, fake, cuda):
        buffer = PinnedBuffer(cuda, 300)
        assert (buffer.bytes.shape, buffer.bytes.dtype, buffer.bytes.ctypes.data) == (
            (300,),
            np.uint8,
            buffer.address,
        )
        buffer.bytes[:] = 7
        buffer.close()
        assert buffer.bytes.size == 0

    def test_nothing_can_be_held(self, fake, cuda):
        for kind in (DeviceBuffer, PinnedBuffer):
            buffer = kind(cuda, 0)
            assert buffer.size == 0
            buffer.close()
        assert fake.live == {}


class TestCopies:
    def test_there_and_back_in_the_order_of_events(self, fake, cuda):
        up, down, event = Stream(cuda), Stream(cuda), Event(cuda)
        device, source, target = DeviceBuffer(cuda, 64), PinnedBuffer(cuda, 64), PinnedBuffer(cuda, 64)
        source.bytes[:] = np.arange(64)
        cuda.copy_to_device(device, source, 64, up)
        up.record(event)
        down.wait_for(event)
        cuda.copy_to_host(target, device, 64, down)
        assert (target.bytes == 0xFF).all(), "nothing is done before it is waited for"
        down.synchronize()
        np.testing.assert_array_equal(target.bytes, source.bytes)
        assert fake.faults == []

    def test_an_event_never_recorded_is_over(self, cuda):
        Event(cuda).synchronize()


class TestGraphs:
    def test_recorded_once_done_at_each_launch(self, fake, cuda):
        stream, done = Stream(cuda), []
        graph = Graph(cuda, stream, lambda: fake.enqueue(stream.handle, lambda: done.append(1)))
        stream.synchronize()
        assert done == []
        graph.launch(stream)
        graph.launch(stream)
        stream.synchronize()
        assert done == [1, 1]
        assert fake.live == {"stream": 1, "executable graph": 1}
        graph.close()
        graph.close()
        assert fake.live == {"stream": 1}
        assert fake.faults == []

    def test_what_cannot_be_recorded(self, fake, cuda):
        stream = Stream(cuda)
        with pytest.raises(CudaFailure, match="cudaErrorStreamCaptureUnsupported"):
            Graph(cuda, stream, stream.synchronize)
        with pytest.raises(CudaFailure, match="cudaErrorStreamCaptureInvalidated"):
            Graph(cuda, stream, fake.invalidate)
        stream.synchronize()
        assert fake.live == {"stream": 1}

    def test_an_error_while_recording_ends_the_recording(self, fake, cuda):
        stream = Stream(cuda)
        with pytest.raises(ZeroDivisionError):
            Graph(cuda, stream, lambda: 1 // 0)
        stream.synchronize()
        assert fake.live == {"stream": 1}

    @pytest.mark.parametrize("function", ["cudaStreamBeginCapture", "cudaGraphInstantiate"])
    def test_no_graph_without_memory(self, fake, cuda, function):
        stream = Stream(cuda)
        fake.fail(function)
        with pytest.raises(CudaFailure, match=function):
            Graph(cuda, stream, lambda: None)
        assert fake.live == {"stream": 1}


def test_the_current_device_is_put_back(monkeypatch):
    fake = FakeCuda(devices=2)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    cuda = Cuda()
    with cuda.on(1):
        assert cuda.call("cudaGetDevice") == 1
    assert cuda.call("cudaGetDevice") == 0
