"""The table of TensorRT plugins: ONNX names, attributes, types of inputs and outputs, limits.

``plugins/tensorrt/README.md`` describes them for users, ``plugins/tensorrt/operators`` implements them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx
from onnx import TensorProto, helper

from pssdet.engines.precision.half import declare_half_positions
from pssdet.errors import BadInput

#: Domain of plugin nodes, since ONNX's checker takes unknown operators in any but its own. TensorRT's
#: parser finds a plugin by op_type, ``plugin_version`` and ``plugin_namespace``.
DOMAIN = "trt.plugins"
NAMESPACE = "pssdet"
VERSION = "1"

#: PSSDET_MAX_LEVELS, PSSDET_MAX_ANCHORS (of one cell), PSSDET_MAX_CANDIDATES of an image.
MAX_LEVELS, MAX_ANCHORS, MAX_CANDIDATES = 8, 16, 2048
#: PSSDET_MAX_OUTPUT_SIZE, PSSDET_MAX_SAMPLING_RATIO: bins of a region, samples of a bin, per axis.
MAX_OUTPUT_SIZE, MAX_SAMPLING_RATIO = 32, 64

Attributes = dict[str, Any]
Kind = Literal["integer", "integers", "real", "reals"]

_FLOAT: int = TensorProto.FLOAT
_HALF: int = TensorProto.FLOAT16
_INT32: int = TensorProto.INT32


def attributes_of(node: onnx.NodeProto) -> Attributes:
    """A node's attributes as Python values; strings as ``str``."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def refuse(node: onnx.NodeProto, reason: str) -> BadInput:
    """The error for a node that the plugins cannot serve."""
    return BadInput(f"{node.op_type} {node.name} has no TensorRT plugin: {reason}")


@dataclass(frozen=True)
class Field:
    """An attribute of a plugin node.

    Attributes:
        limits: least and most that the kernels take, of the value or of a list's length.
        counts: what the limited number counts, for messages.
        function_attribute: name in the exported function, if it is another one.
        choices: the value for each word that the function's attribute may be.
    """

    name: str
    kind: Kind
    limits: tuple[int, int] | None = None
    counts: str = ""
    function_attribute: str = ""
    choices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PluginTensor:
    """An input or output of a plugin.

    Attributes:
        type: of its elements, in ``TensorProto``; None: float32, or float16 in a region of half precision.
        per_level: there is one for each level of the pyramid.
        flag: attribute that says whether there is such an input.
        half_flag: attribute that says whether it is float16 instead.
    """

    name: str
    type: int | None = None
    per_level: bool = False
    flag: str = ""
    half_flag: str = ""

    def type_in(self, attributes: Mapping[str, Any], data: int) -> int:
        """Its element type in a node with these attributes, whose data is of type ``data``."""
        if self.half_flag and attributes.get(self.half_flag):
            return _HALF
        return data if self.type is None else self.type


@dataclass(frozen=True)
class Plugin:
    """One plugin.

    Attributes:
        function: the exported ONNX function that it replaces; empty: it replaces other nodes.
        follows_maps: outside of trunk and head it is half where all the maps that it reads are.
    """

    op_type: str
    fields: tuple[Field, ...]
    inputs: tuple[PluginTensor, ...]
    outputs: tuple[PluginTensor, ...]
    function: str = ""
    follows_maps: bool = False

    def inputs_of(self, node: onnx.NodeProto) -> list[PluginTensor]:
        """The tensor of each input that a node should have, with the levels that it has."""
        attributes = attributes_of(node)
        present = [tensor for tensor in self.inputs if not tensor.flag or attributes.get(tensor.flag)]
        repeated = sum(tensor.per_level for tensor in present)
        levels = (len(node.input) - len(present) + repeated) // repeated if repeated else 0
        return [tensor for each in present for tensor in [each] * (levels if each.per_level else 1)]

    def half_positions(self, node: onnx.NodeProto) -> tuple[list[int], list[int]]:
        """Positions of the inputs and outputs that are half in mixed precision."""
        inputs = [position for position, tensor in enumerate(self.inputs_of(node)) if tensor.type is None]
        return inputs, [position for position, tensor in enumerate(self.outputs) if tensor.type is None]

    def node(
        self, inputs: Sequence[str], outputs: Sequence[str], name: str, attributes: Mapping[str, Any]
    ) -> onnx.NodeProto:
        """A node for this plugin, with every field: the parser warns about those left out."""
        return helper.make_node(
            self.op_type,
            inputs,
            outputs,
            name=name,
            domain=DOMAIN,
            plugin_version=VERSION,
            plugin_namespace=NAMESPACE,
            **{each.name: attributes[each.name] for each in self.fields},
        )


def _fields(kind: Kind, *names: str) -> tuple[Field, ...]:
    """Attributes of one kind whose limits the plugin alone checks."""
    return tuple(Field(name, kind) for name in names)


_STRIDES = Field("strides", "integers", (1, MAX_LEVELS), "pyramid levels")

#: Offsets stay float32 unless ``half_offsets`` is set, and a mask has their type.
DEFORM_CONV = Plugin(
    "PssDetDeformConv2d",
    fields=(
        *_fields("integers", "dilations", "kernel_shape", "pads", "strides"),
        *_fields(
            "integer", "group", "offset_group", "has_bias", "has_mask", "raw_mask", "relu", "half_offsets"
        ),
    ),
    inputs=(
        PluginTensor("x"),
        PluginTensor("weight"),
        PluginTensor("offset", _FLOAT, half_flag="half_offsets"),
        PluginTensor("bias", _FLOAT, flag="has_bias"),
        PluginTensor("mask", _FLOAT, flag="has_mask", half_flag="half_offsets"),
    ),
    outputs=(PluginTensor("y"),),
)

GENERATE_PROPOSALS = Plugin(
    "PssDetGenerateProposals",
    function="GenerateProposals",
    follows_maps=True,
    fields=(
        *_fields("reals", "anchors"),
        _STRIDES,
        Field("pre_nms_top_n", "integer", (1, MAX_CANDIDATES), "candidates of a level (pre_nms_top_n)"),
        Field("post_nms_top_n", "integer", (1, MAX_CANDIDATES), "proposals of an image (post_nms_top_n)"),
        *_fields("real", "nms_threshold", "min_size", "pixel_offset", "clip_multiple"),
    ),
    inputs=(
        PluginTensor("score", per_level=True),
        PluginTensor("delta", per_level=True),
        PluginTensor("image_size", _FLOAT),
    ),
    outputs=(PluginTensor("proposals", _FLOAT), PluginTensor("scores", _FLOAT), PluginTensor("count", _INT32)),
)

MULTILEVEL_ROI_ALIGN = Plugin(
    "PssDetMultilevelRoiAlign",
    function="MultilevelRoiAlign",
    follows_maps=True,
    fields=(
        _STRIDES,
        *_fields("integer", "min_level", "canonical_level"),
        *_fields("real", "canonical_size", "pixel_offset"),
        Field("output_size", "integer", (1, MAX_OUTPUT_SIZE), "bins of a region's side (output_size)"),
        # 0 has a meaning of its own: as many samples as cells.
        Field("sampling_ratio", "integer", (0, MAX_SAMPLING_RATIO), "samples of a bin's side (sampling_ratio)"),
        Field(
            "aligned",
            "integer",
            function_attribute="coordinate_transformation_mode",
            choices={"half_pixel": 1, "output_half_pixel": 0},
        ),
    ),
    inputs=(PluginTensor("map", per_level=True), PluginTensor("rois", _FLOAT)),
    outputs=(PluginTensor("features"),),
)

MULTICLASS_NMS = Plugin(
    "PssDetMulticlassNms",
    function="MulticlassNms",
    fields=(
        *_fields("real", "score_threshold", "nms_threshold", "pixel_offset"),
        Field("max_detections", "integer", (1, MAX_CANDIDATES), "detections of an image (max_detections)"),
    ),
    inputs=(
        PluginTensor("boxes", _FLOAT),
        PluginTensor("scores", _FLOAT),
        PluginTensor("region_count", _INT32),
    ),
    outputs=(
        PluginTensor("boxes", _FLOAT),
        PluginTensor("scores", _FLOAT),
        PluginTensor("labels", _INT32),
        PluginTensor("count", _INT32),
    ),
)

PLUGINS = {
    each.op_type: each for each in (DEFORM_CONV, GENERATE_PROPOSALS, MULTILEVEL_ROI_ALIGN, MULTICLASS_NMS)
}

# The rewrites to half precision are below TensorRT and know no plugin.
for _plugin in PLUGINS.values():
    declare_half_positions(_plugin.op_type, _plugin.half_positions)
