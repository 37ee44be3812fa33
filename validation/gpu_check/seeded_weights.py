"""A model that travels without its large parameters, which are drawn again from seeds.

They are uniform, of their mean and spread, seeded by name: other distributions need a logarithm, which
libraries round differently. A hash over all parameters proves that both sides have the same.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput

if TYPE_CHECKING:
    import onnx

LARGE = 2048  # larger parameters are drawn again; the rest, biases among them, travel as they are
_FILLED, _HASH = "pssdet.filled", "pssdet.parameters"


def draw(name: str, shape: tuple[int, ...], mean: float, spread: float) -> NDArray[np.float32]:
    """A parameter's values: uniform, of this mean and standard deviation."""
    unit = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
    half_width = np.sqrt(3.0) * spread
    return np.asarray(mean + half_width * (2.0 * unit - 1.0), np.float32)


def strip_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without large float32 parameters; its metadata say how to draw them, and the hash."""
    import onnx
    from onnx import helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    filled: dict[str, tuple[float, float]] = {}
    for tensor in copy.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) > LARGE:
            values = numpy_helper.to_array(tensor).astype(np.float64)
            filled[tensor.name] = (float(values.mean()), float(values.std()))
            tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims))
    described = {_FILLED: json.dumps(filled), _HASH: parameters_hash(_drawn(copy, filled))}
    helper.set_model_props(copy, _properties(copy) | described)
    return copy


def seed_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A stripped model with its parameters, any other as it is; ``BadInput`` if the hash differs."""
    described = _properties(model)
    if _FILLED not in described:
        return model
    whole = _drawn(model, json.loads(described[_FILLED]))
    if parameters_hash(whole) != described[_HASH]:
        raise BadInput(
            "the parameters drawn here differ from the packed model's; pack it again with this version"
        )
    return whole


def parameters_hash(model: onnx.ModelProto) -> str:
    """The digest of all parameters."""
    from onnx import numpy_helper

    return digest({tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer})


def digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    found = hashlib.sha256()
    for name, values in sorted(tensors.items()):
        found.update(f"{name} {values.dtype} {list(values.shape)}\n".encode() + values.tobytes())
    return found.hexdigest()


def _drawn(model: onnx.ModelProto, filled: Mapping[str, tuple[float, float]]) -> onnx.ModelProto:
    import onnx
    from onnx import numpy_helper

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for tensor in whole.graph.initializer:
        if tensor.name in filled:
            values = draw(tensor.name, tuple(tensor.dims), *filled[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return whole


def _properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}
