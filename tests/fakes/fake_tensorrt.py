"""A stub of the running half of TensorRT, on the memory and streams of ``fake_cuda``, as strict as that is.

A plan is JSON. Its engine gives, for picture i of a batch, ``boxes[i]`` = (sum of ``image[i]``, height, width
of ``image_size[i]``, sum times height) and ``labels[i]`` = the sum rounded.
"""

import ctypes
import json
import sys
import weakref
from dataclasses import asdict, dataclass, field
from enum import Enum
from types import SimpleNamespace

import numpy as np

SCRATCH = 1 << 12

PROFILE = {"image": [[1, 3, 4, 4], [1, 3, 8, 8], [4, 3, 16, 16]], "image_size": [[1, 2], [1, 2], [4, 2]]}


@dataclass
class FakePlan:
    """The content; ``alone``: one context on a profile, as before 10.0; ``capture``: how recording goes."""

    profiles: list = field(default_factory=lambda: [PROFILE])
    alone: bool = False
    capture: str = "works"
    types: dict = field(default_factory=dict)
    output_rows: int | None = None

    def write(self, path):
        path.write_bytes(json.dumps(asdict(self)).encode())
        return path


class DataType(Enum):
    FLOAT, HALF, INT32, INT64 = range(4)


class TensorIOMode(Enum):
    INPUT, OUTPUT = range(2)


class Logger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


TENSORS = {
    "image_size": (TensorIOMode.INPUT, (-1, 2), "FLOAT"),
    "image": (TensorIOMode.INPUT, (-1, 3, -1, -1), "FLOAT"),
    "boxes": (TensorIOMode.OUTPUT, (-1, 4), "FLOAT"),
    "labels": (TensorIOMode.OUTPUT, (-1,), "INT32"),
}


def expected(inputs):
    """What an engine gives for a batch."""
    sums = inputs["image"].sum(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)
    sizes = inputs["image_size"]
    boxes = np.stack([sums, sizes[:, 0], sizes[:, 1], sums * sizes[:, 0]], axis=1).astype(np.float32)
    return {"boxes": boxes, "labels": np.rint(sums).astype(np.int32)}


class Runtime:
    def __init__(self, deserialize):
        self._deserialize = deserialize
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine):
        return self._deserialize(serialized_engine)


class FakeTensorRT(SimpleNamespace):
    """The module ``tensorrt`` of one version."""

    def __init__(self, cuda, version="10.4.0"):
        major = int(version.split(".")[0])
        types = {each.name: each for each in DataType if major >= 10 or each is not DataType.INT64}
        super().__init__(
            __version__=version,
            DataType=SimpleNamespace(**types),
            TensorIOMode=TensorIOMode,
            ILogger=Logger,
            cuda=cuda,
        )
        self.contexts = weakref.WeakSet()
        self.engines = weakref.WeakSet()
        self.runtimes = weakref.WeakSet()
        self.contexts_made = 0
        if major >= 10:
            self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user")

    def Runtime(self, logger):  # noqa: N802
        assert self.cuda.devices, "a crash: TensorRT's runtime without a device"
        runtime = Runtime(lambda plan: self._engine(plan, logger))
        self.runtimes.add(runtime)
        return runtime

    def _engine(self, plan, logger):
        try:
            says = FakePlan(**json.loads(plan))
        except ValueError:
            logger.log(Logger.ERROR, "magic number does not match\n")
            return None
        engine = (OldEngine if self.__version__.startswith("8") else NewEngine)(self, says, logger)
        self.engines.add(engine)
        return engine


def install(monkeypatch, cuda, version="10.4.0"):
    """Put both fakes where the real packages would be imported from."""
    tensorrt = FakeTensorRT(cuda, version)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    return tensorrt


class Engine:
    num_io_tensors = len(TENSORS)

    def __init__(self, module, plan, logger):
        self.module, self.plan, self.logger = module, plan, logger
        self.num_optimization_profiles = len(plan.profiles)

    def get_tensor_name(self, index):
        return list(TENSORS)[index]

    def get_tensor_mode(self, name):
        return TENSORS[name][0]

    def get_tensor_shape(self, name):
        return TENSORS[name][1]

    def get_tensor_dtype(self, name):
        return DataType[self.plan.types.get(name, TENSORS[name][2])]

    def get_tensor_profile_shape(self, name, profile_index):
        return self.plan.profiles[profile_index][name]

    def _made(self, context):
        self.module.contexts.add(context)
        self.module.contexts_made += 1
        return context


class OldEngine(Engine):
    device_memory_size = SCRATCH

    def create_execution_context_without_device_memory(self):
        return self._made(Context(self))


class NewEngine(Engine):
    device_memory_size_v2 = SCRATCH

    def create_execution_context(self, strategy):
        assert strategy == "user"
        return self._made(NewContext(self))


class Context:
    def __init__(self, engine):
        self.engine, self.cuda, self.log = engine, engine.module.cuda, engine.logger.log
        self.shapes, self.addresses = {}, {}
        self.state = 0
        self.enqueued = -1
        self.active_optimization_profile = 0 if 0 not in self._taken() else -1

    def _taken(self):
        others = [
            each for each in self.engine.module.contexts if each is not self and each.engine is self.engine
        ]
        return {each.active_optimization_profile for each in others} if self.engine.plan.alone else set()

    def set_optimization_profile_async(self, profile_index, stream_handle):
        assert isinstance(stream_handle, int)
        if profile_index in self._taken():
            self.log(Logger.ERROR, f"profile {profile_index} is in use by another context")
            return False
        self.active_optimization_profile = profile_index
        self.shapes = {}
        return True

    def set_input_shape(self, name, shape):
        low, _, high = self.engine.plan.profiles[self.active_optimization_profile][name]
        if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            self.log(Logger.ERROR, f"{name} {shape} is outside of the profile")
            return False
        self.shapes[name] = tuple(shape)
        self.state += 1
        return True

    def infer_shapes(self):
        return [name for name in ("image", "image_size") if name not in self.shapes]

    def get_tensor_shape(self, name):
        rows = self.engine.plan.output_rows or self.shapes["image"][0]
        return self.shapes.get(name) or (rows, *TENSORS[name][1][1:])

    def set_tensor_address(self, name, memory):
        assert isinstance(memory, int)
        assert memory % 256 == 0
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        assert isinstance(stream_handle, int)
        recording = self.cuda.is_recording(stream_handle)
        if recording and self.enqueued != self.state:
            self.log(Logger.ERROR, "recorded before it was enqueued with these shapes")
            self.cuda.invalidate()
            return False
        if recording and self.engine.plan.capture != "works":
            self.log(Logger.ERROR, "a plugin waits for the device")
            self.cuda.invalidate()
            return self.engine.plan.capture == "is broken in silence"
        self.enqueued = self.state
        self.cuda.enqueue(stream_handle, Work(self))
        return True


class NewContext(Context):
    def set_device_memory(self, memory, size):
        assert size >= SCRATCH
        self.device_memory = memory


class Work:
    """One run with the shapes and addresses of when it was enqueued."""

    def __init__(self, context):
        self.context = weakref.ref(context)
        self.cuda = context.cuda
        self.state = context.state
        self.shapes = {name: tuple(context.get_tensor_shape(name)) for name in TENSORS}
        self.addresses = dict(context.addresses)
        self.scratch = context.device_memory
        self.types = context.engine.plan.types

    def __call__(self):
        if self.context() is None:
            self.cuda.faults.append("the context of running work is gone")
        if not self.cuda.holds(self.scratch, SCRATCH):
            return
        inputs = {name: self._tensor(name, np.float32) for name in ("image", "image_size")}
        if any(values is None for values in inputs.values()):
            return
        for name, values in expected(inputs).items():
            target = self._tensor(name, np.float16 if self.types.get(name) == "HALF" else values.dtype)
            if target is not None:
                target[...] = values

    def replay(self):
        context = self.context()
        if context is None or context.state != self.state:
            self.cuda.faults.append("a graph whose context is gone or has another shape by now")
        self()

    def _tensor(self, name, dtype):
        shape = self.shapes[name]
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if not self.cuda.holds(self.addresses[name], size):
            return None
        memory = (ctypes.c_ubyte * size).from_address(self.addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)
