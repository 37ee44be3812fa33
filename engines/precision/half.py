"""Half precision as a rewrite of the exported graph, real or emulated.

The half region is the trunk and the head without what a recipe keeps in float32 (``recipe.py``): in those that ship,
the convolutions that predict DCN offsets and masks. Sampling coordinates, box decoding and NMS always stay in float32,
where half precision would move samples and boxes by visible fractions of a pixel.

ONNX Runtime's CPU backend runs float16 graphs in float32 and drops the casts between neighbours: it
never rounds. ``emulate_half`` therefore keeps float32 operators and puts an explicit cast to float16
and back on every edge of the region, which rounds as a float16 engine with float32 accumulation does.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from pssdet.engines.precision.recipe import HALF_PREFIXES, Recipe
from pssdet.engines.precision.region import TypedRewriter, as_half, cast, half_tensors, rewrite_region


def half_region(graph: onnx.GraphProto, *, emulated: bool, recipe: Recipe) -> set[str]:
    """Names of the nodes that run in half precision.

    Standard ``DeformConv`` has one type for all inputs, and its offsets must be float32, so a real
    half-precision graph leaves such nodes in float32; an emulated one rounds around them.

    Raises:
        BadInput: the recipe is not for this graph.
    """
    recipe.check(graph)
    region = {node.name for node in graph.node if node.name.startswith(HALF_PREFIXES)} - set(recipe.fp32)
    if not emulated:
        region -= {node.name for node in graph.node if node.op_type == "DeformConv"}
    return region


def emulate_half(model: onnx.ModelProto, region: set[str]) -> None:
    """Round, in place, every edge and every parameter of the region to half precision."""
    rewrite_region(model.graph, region, _RoundingRewriter(model.graph, region))


def to_half(model: onnx.ModelProto, region: set[str]) -> None:
    """Make the region compute in float16, in place; casts stand where the precision changes."""
    rewrite_region(model.graph, region, TypedRewriter(model.graph, region))


class _RoundingRewriter:
    """Keeps everything in float32, but rounded to values that half precision has."""

    def __init__(self, graph: onnx.GraphProto, region: set[str]) -> None:
        self._rounded = {name: name for name in half_tensors(graph, region)}

    def parameter(self, tensor: onnx.TensorProto) -> None:
        tensor.CopyFrom(numpy_helper.from_array(as_half(tensor).astype(np.float32), tensor.name))

    def entering(self, name: str) -> tuple[str, list[onnx.NodeProto]]:
        if name in self._rounded:
            return self._rounded[name], []
        self._rounded[name] = f"{name}:rounded"
        return self._rounded[name], _cast_pair(name, self._rounded[name])

    def leaving(self, name: str) -> tuple[str, list[onnx.NodeProto]]:
        # The rounded tensor keeps the name, so consumers and stage names stay as they are.
        return f"{name}:exact", _cast_pair(f"{name}:exact", name)


def _cast_pair(source: str, target: str) -> list[onnx.NodeProto]:
    half = f"{target}:float16"
    return [cast(source, half, TensorProto.FLOAT16), cast(half, target, TensorProto.FLOAT)]
