"""The names that are used of cuda-bindings and TensorRT, held to those packages where they are installed."""

import importlib
import inspect
import re
from importlib import metadata

import numpy as np
import pytest
from api_tables import check
from api_tables.extract import signature
from api_tables.table import CUDA, TENSORRT, Table, present
from api_tables.uses import uses_of
from fake_cuda import FakeCuda

from pssdet.engines.trt.runtime.cuda import Cuda, CudaFailure, DeviceBuffer, Event, Graph, PinnedBuffer, Stream

FUNCTIONS = sorted(
    name for name, value in vars(FakeCuda).items() if re.match("cuda[A-Z]", name) and inspect.isfunction(value)
)


@pytest.fixture(scope="module")
def runtime():
    return pytest.importorskip("cuda.bindings.runtime")


@pytest.fixture
def cuda(runtime):
    """The wrapper on the real package, without asking for a device."""
    cuda = object.__new__(Cuda)
    cuda.runtime = runtime
    return cuda


def test_something_is_compared():
    assert len(FUNCTIONS) == 25


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_table_has_the_signatures_of_the_real_one(runtime, function):
    """The stand-in has those of the table."""
    table = Table.load(CUDA)
    described = inspect.getdoc(getattr(runtime, function)).splitlines()[0]
    assert table.get(function, table.nearest(metadata.version("cuda-bindings"))) == [signature(described)]


def test_constants(runtime):
    fake = FakeCuda()
    assert int(runtime.cudaEventDisableTiming) == fake.cudaEventDisableTiming
    assert int(runtime.cudaStreamNonBlocking) == fake.cudaStreamNonBlocking
    for kind in ("cudaMemcpyKind", "cudaStreamCaptureMode"):
        for name, value in vars(getattr(fake, kind)).items():
            assert int(getattr(getattr(runtime, kind), name)) == value
    for error in fake.cudaError_t:
        assert int(getattr(runtime.cudaError_t, error.name)) == int(error)


def without_a_device(runtime):
    error, count = runtime.cudaGetDeviceCount()
    return int(error) != 0 or count == 0


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("cudaMalloc", (16,)),
        ("cudaMallocHost", (16,)),
        ("cudaFree", (256,)),
        ("cudaFreeHost", (256,)),
        ("cudaMemcpyAsync", (256, 512, 16, "cudaMemcpyKind.cudaMemcpyHostToDevice", "cudaStream_t")),
        ("cudaStreamCreateWithFlags", (1,)),
        ("cudaStreamDestroy", ("cudaStream_t",)),
        ("cudaStreamSynchronize", ("cudaStream_t",)),
        ("cudaStreamWaitEvent", ("cudaStream_t", "cudaEvent_t", 0)),
        ("cudaEventCreateWithFlags", (2,)),
        ("cudaEventRecord", ("cudaEvent_t", "cudaStream_t")),
        ("cudaEventSynchronize", ("cudaEvent_t",)),
        ("cudaEventDestroy", ("cudaEvent_t",)),
        ("cudaStreamBeginCapture", ("cudaStream_t", "cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal")),
        ("cudaStreamEndCapture", ("cudaStream_t",)),
        ("cudaGraphInstantiate", ("cudaGraph_t", 0)),
        ("cudaGraphLaunch", ("cudaGraphExec_t", "cudaStream_t")),
        ("cudaGraphDestroy", ("cudaGraph_t",)),
        ("cudaGraphExecDestroy", ("cudaGraphExec_t",)),
        ("cudaSetDevice", (0,)),
        ("cudaGetDevice", ()),
    ],
)
def test_arguments_are_taken_and_errors_come_back(cuda, function, arguments):
    if not without_a_device(cuda.runtime):
        pytest.skip("with a device these calls would do something")
    values = [real_value(cuda.runtime, argument) for argument in arguments]
    with pytest.raises(CudaFailure, match=rf"CUDA's {function} failed: cudaError\w+ \(.+\)"):
        cuda.call(function, *values)


def real_value(runtime, argument):
    if not isinstance(argument, str):
        return argument
    kind, _, member = argument.partition(".")
    return getattr(getattr(runtime, kind), member) if member else getattr(runtime, kind)(4096)


def test_without_a_device_the_driver_says_so(runtime):
    if not without_a_device(runtime):
        pytest.skip("there is a device")
    with pytest.raises(CudaFailure, match=r"cudaErrorInsufficientDriver|cudaErrorNoDevice"):
        Cuda()


def test_on_a_device(runtime):
    """Copies there and back, plain and as a graph."""
    if without_a_device(runtime):
        pytest.skip("there is no device")
    cuda = Cuda()
    stream, event = Stream(cuda), Event(cuda)
    device, source, target = (
        DeviceBuffer(cuda, 1 << 20),
        PinnedBuffer(cuda, 1 << 20),
        PinnedBuffer(cuda, 1 << 20),
    )
    for work in (lambda: None, lambda: cuda.copy_to_host(target, device, 1 << 20, stream)):
        source.bytes[:] = np.random.default_rng(0).integers(0, 256, 1 << 20)
        target.bytes[:] = 0
        cuda.copy_to_device(device, source, 1 << 20, stream)
        cuda.copy_to_host(target, device, 1 << 20, stream)
        graph = Graph(cuda, stream, work)
        graph.launch(stream)
        stream.record(event)
        event.synchronize()
        np.testing.assert_array_equal(target.bytes, source.bytes)
        graph.close()
    for resource in (target, source, device, event, stream):
        resource.close()


@pytest.fixture(scope="module")
def tensorrt():
    for name in ("tensorrt", "tensorrt_lean_bindings"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    pytest.skip("TensorRT is not installed")


def test_names_of_tensorrt(tensorrt):
    table = Table.load(TENSORRT)
    version = table.nearest(tensorrt.__version__)
    used = {use.name for use in uses_of(check.sources()).uses if use.place.startswith("engines/trt/runtime/")}
    assert len(used) > 20
    assert [name for name in used if present(tensorrt, name) != (table.get(name, version) is not None)] == []
