"""A deserialised TensorRT engine: its plugins, its tensors, its optimisation profiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pssdet.engines.trt.callbacks import error_log
from pssdet.engines.trt.plugin_library import load_plugins
from pssdet.engines.trt.shapes import InputRanges, Shape, ShapeRange
from pssdet.errors import BadInput, EnvironmentMissing

_INSTALL = "see the table of TensorRT versions in docs/tensorrt.md"


class TensorSpec(NamedTuple):
    """An input or output of an engine; -1 in its shape stands for a side that varies."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]


class LoadedEngine:
    """A deserialised engine. The driver must have answered: without a device TensorRT crashes the process.

    Attributes:
        inputs: float32 tensors.
        outputs: float32 or int32 tensors; stages in reduced precision are float16.
        profiles: the range of every input, of each optimisation profile.

    Args:
        path: the serialised engine, whose hash was verified: TensorRT trusts what it reads.
        plugins: library of the plugins it uses; None if it uses none or carries them.
        host_code: run code that the plan carries: plugins, or the runtime of a version-compatible plan.

    Raises:
        BadInput: TensorRT does not take the plan, or a tensor has a type that no exported model has.
        EnvironmentMissing: TensorRT or the plugins cannot be loaded.
    """

    def __init__(self, path: Path, plugins: Path | None, *, host_code: bool) -> None:
        self.tensorrt = _tensorrt()
        if plugins is not None:
            load_plugins(self.tensorrt, plugins)
        self._logger = error_log(self.tensorrt)
        self._runtime: Any = self.tensorrt.Runtime(self._logger)
        if host_code and hasattr(self._runtime, "engine_host_code_allowed"):
            self._runtime.engine_host_code_allowed = True
        self.engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            version = self.tensorrt.__version__
            raise BadInput(
                f"TensorRT {version} does not take {path}: {self.last_errors()}; build the engine again here"
            )
        self.inputs, self.outputs = self._tensors()
        self.profiles = [self._ranges(number) for number in range(self.engine.num_optimization_profiles)]

    @property
    def scratch_size(self) -> int:
        """Bytes of scratch memory that a context needs for intermediate tensors, the most over all profiles."""
        for name in ("device_memory_size_v2", "device_memory_size"):
            if hasattr(self.engine, name):
                return int(getattr(self.engine, name))
        raise EnvironmentMissing(f"TensorRT {self.tensorrt.__version__} does not say how much memory an engine needs")

    def new_context(self, scratch: int) -> Any:
        """An execution context that computes in the memory at ``scratch``; None if TensorRT allows no further one."""
        # The strategies exist from TensorRT 10 on.
        strategies = getattr(self.tensorrt, "ExecutionContextAllocationStrategy", None)
        if strategies is not None:
            context = self.engine.create_execution_context(strategies.USER_MANAGED)
        else:
            context = self.engine.create_execution_context_without_device_memory()
        if context is not None and self.scratch_size:
            if hasattr(context, "set_device_memory"):
                context.set_device_memory(scratch, self.scratch_size)
            else:
                context.device_memory = scratch
        return context

    def last_errors(self) -> str:
        """The latest errors that TensorRT logged, in one line; each is given once."""
        errors: str = self._logger.last_errors()
        return errors

    def close(self) -> None:
        """Free the engine; its contexts must be gone."""
        self.engine = None
        self._runtime = None

    def _tensors(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        inputs: list[TensorSpec] = []
        outputs: list[TensorSpec] = []
        for index in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(index)
            is_input = self.engine.get_tensor_mode(name) == self.tensorrt.TensorIOMode.INPUT
            kind = self.engine.get_tensor_dtype(name)
            (inputs if is_input else outputs).append(
                TensorSpec(
                    name, as_shape(self.engine.get_tensor_shape(name)), self._dtype(name, kind, is_input=is_input)
                )
            )
        return tuple(inputs), tuple(outputs)

    def _dtype(self, name: str, kind: Any, *, is_input: bool) -> np.dtype[Any]:
        known: dict[str, type[np.generic]] = {"FLOAT": np.float32}
        if not is_input:
            known |= {"HALF": np.float16, "INT32": np.int32}
        for name_of_type, dtype in known.items():
            if kind == getattr(self.tensorrt.DataType, name_of_type):
                return np.dtype(dtype)
        raise BadInput(
            f"{'input' if is_input else 'output'} {name} of the engine is {kind}, and our models have"
            f" {' or '.join(known)} there; build the engine again with engines/build.py"
        )

    def _ranges(self, profile: int) -> InputRanges:
        return {tensor.name: self._range(tensor, profile) for tensor in self.inputs}

    def _range(self, tensor: TensorSpec, profile: int) -> ShapeRange:
        if -1 not in tensor.shape:
            return ShapeRange(tensor.shape, tensor.shape, tensor.shape)
        return ShapeRange(*map(as_shape, self.engine.get_tensor_profile_shape(tensor.name, profile)))


def check_outputs(engine: LoadedEngine, expected: Mapping[str, str]) -> None:
    """Check that an engine has the outputs that its card records.

    Args:
        expected: dtype of every output by name, as in ``{"boxes": "float32"}``; there may be others.

    Raises:
        BadInput: one is missing or of another type.
    """
    present = {tensor.name: tensor.dtype.name for tensor in engine.outputs}
    flaws = [
        f"output {name} is {present.get(name, 'missing')} instead of {dtype}"
        for name, dtype in expected.items()
        if present.get(name) != dtype
    ]
    if flaws:
        raise BadInput(f"the engine is not what its card says: {', '.join(flaws)}; build it again")


def as_shape(dims: Any) -> Shape:
    """TensorRT's dimensions as a tuple of numbers."""
    return tuple(int(size) for size in dims)


def _tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise EnvironmentMissing(f"the package tensorrt cannot be imported ({error}); {_INSTALL}") from error
    return tensorrt
