"""The pssdet functions of an exported model as plugin nodes, within the limits of plugins/detection/detection.h."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from pssdet.engines.trt.graph.nodes import Attributes, attributes_of, plugin_node, refuse
from pssdet.errors import BadInput

#: PSSDET_MAX_LEVELS, PSSDET_MAX_ANCHORS (of one cell), PSSDET_MAX_CANDIDATES of an image.
MAX_LEVELS, MAX_ANCHORS, MAX_CANDIDATES = 8, 16, 2048
#: PSSDET_MAX_OUTPUT_SIZE, PSSDET_MAX_SAMPLING_RATIO: bins of a region and samples of a bin, along one axis.
MAX_OUTPUT_SIZE, MAX_SAMPLING_RATIO = 32, 64

FUNCTION_DOMAIN = "pssdet"

#: How the exported attribute says whether regions are shifted by half a cell.
_ALIGNED = {"half_pixel": 1, "output_half_pixel": 0}


def replace_functions(graph: onnx.GraphProto) -> None:
    """Make every call of a pssdet function a plugin node, in place.

    Raises:
        BadInput: a function without a plugin, or sizes beyond the plugins' limits.
    """
    for index, node in enumerate(graph.node):
        if node.domain != FUNCTION_DOMAIN:
            continue
        if node.op_type not in _PLUGINS:
            raise BadInput(f"{node.op_type} {node.name} has no TensorRT plugin; export the model with this version")
        outputs, convert = _PLUGINS[node.op_type]
        if len(node.output) != outputs or not all(node.output):
            raise refuse(node, f"it has not the {outputs} outputs of that function")
        try:
            attributes = convert(node, attributes_of(node))
        except KeyError as missing:
            raise refuse(node, f"its attribute {missing} is missing; export the model with this version") from None
        new = plugin_node(f"PssDet{node.op_type}", list(node.input), list(node.output), node.name, attributes)
        graph.node[index].CopyFrom(new)


def _proposals(node: onnx.NodeProto, given: Attributes) -> Attributes:
    levels = len(given["strides"])
    _within(node, "pyramid levels", levels, MAX_LEVELS)
    cells, rest = divmod(len(given["anchors"]), 4 * levels)
    if rest or len(node.input) != 2 * levels + 1:
        raise refuse(node, "its anchors and inputs do not fit its strides")
    _within(node, "anchors of a cell", cells, MAX_ANCHORS)
    _within(node, "candidates of a level (pre_nms_top_n)", given["pre_nms_top_n"], MAX_CANDIDATES)
    _within(node, "proposals of an image (post_nms_top_n)", given["post_nms_top_n"], MAX_CANDIDATES)
    lists = {"anchors": list(given["anchors"]), "strides": list(given["strides"])}
    names = ("pre_nms_top_n", "post_nms_top_n", "nms_threshold", "min_size", "pixel_offset", "clip_multiple")
    return lists | {name: given[name] for name in names}


def _roi_align(node: onnx.NodeProto, given: Attributes) -> Attributes:
    levels = len(given["strides"])
    _within(node, "pyramid levels", levels, MAX_LEVELS)
    if len(node.input) != levels + 1:
        raise refuse(node, "its inputs do not fit its strides")
    mode = given["coordinate_transformation_mode"]
    if mode not in _ALIGNED:
        raise refuse(node, f"coordinate_transformation_mode is {mode}; {' or '.join(_ALIGNED)} is needed")
    _within(node, "bins of a region's side (output_size)", given["output_size"], MAX_OUTPUT_SIZE)
    # 0 has a meaning of its own: as many samples as cells.
    _within(node, "samples of a bin's side (sampling_ratio)", given["sampling_ratio"], MAX_SAMPLING_RATIO, least=0)
    names = ("min_level", "canonical_level", "canonical_size", "pixel_offset", "output_size", "sampling_ratio")
    return {"strides": list(given["strides"])} | {name: given[name] for name in names} | {"aligned": _ALIGNED[mode]}


def _nms(node: onnx.NodeProto, given: Attributes) -> Attributes:
    _within(node, "detections of an image (max_detections)", given["max_detections"], MAX_CANDIDATES)
    return {name: given[name] for name in ("score_threshold", "nms_threshold", "max_detections", "pixel_offset")}


def _within(node: onnx.NodeProto, what: str, count: int, limit: int, *, least: int = 1) -> None:
    if not least <= count <= limit:
        raise refuse(node, f"{count} {what}, it takes {least} to {limit}; the onnxruntime backend has no such limit")


#: Outputs of each function, and its attributes as its plugin takes them.
_PLUGINS: dict[str, tuple[int, Callable[[onnx.NodeProto, Attributes], Attributes]]] = {
    "GenerateProposals": (3, _proposals),
    "MultilevelRoiAlign": (1, _roi_align),
    "MulticlassNms": (4, _nms),
}
