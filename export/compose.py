"""The whole detector in one ONNX file: converted trunk and head around the detection functions."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from pssdet.export import nms_function, proposals_function, roi_align_function
from pssdet.export.proposals_function import decode
from pssdet.export.simplify import name_outputs, rename, simplify
from pssdet.export.tracing import DOMAIN, IR_VERSION, OPSET, Tracer, Value, concat, top_k, where
from pssdet.models.architecture import MAX_DETECTIONS, ROI_LEVELS, Architecture
from pssdet.models.card import TensorRecord
from pssdet.models.numerics import Numerics
from pssdet.models.stages import HEAD_NODES, TRUNK_NODES, map_stages

INPUTS = (
    TensorRecord("image", "float32", ("N", 3, "H", "W"), "normalised RGB; H and W multiples of 32"),
    TensorRecord("image_size", "float32", ("N", 2), "(h, w) of the content before padding, network pixels"),
    TensorRecord("original_size", "float32", ("N", 2), "(h, w) of the picture before resizing"),
    TensorRecord("scale_factor", "float32", ("N", 2), "(y, x) network pixels per original pixel"),
)
OUTPUTS = (
    TensorRecord("boxes", "float32", ("N", MAX_DETECTIONS, 4), "x1, y1, x2, y2 in original pixels; 0 past count"),
    TensorRecord("scores", "float32", ("N", MAX_DETECTIONS), "probability, falling; 0 past count"),
    TensorRecord("labels", "int32", ("N", MAX_DETECTIONS), "0-based class; -1 past count"),
    TensorRecord("count", "int32", ("N",), "detections of the image"),
)

_ELEMENT = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def compose(
    trunk: onnx.ModelProto, head: onnx.ModelProto, arch: Architecture, numerics: Numerics, stride: int
) -> onnx.ModelProto:
    """One model from image to detections; intermediate tensors bear the names of the stages.

    Args:
        trunk: image to the tensors of ``stages.map_stages``.
        head: region features to class logits and box deltas.
        stride: multiple to which the reader pads.
    """
    _adopt(trunk.graph, TRUNK_NODES, "image", list(map_stages(arch)))
    _adopt(head.graph, HEAD_NODES, "roi_features", ["class_logits", "box_deltas"])
    before = Tracer("detect/")
    _propose(before, arch, numerics, stride)
    after = Tracer("finish/")
    _finish(after, arch, numerics)
    graph = helper.make_graph(
        [*trunk.graph.node, *before.nodes, *head.graph.node, *after.nodes],
        "pss-det",
        [_value_info(record) for record in INPUTS],
        [_value_info(record) for record in OUTPUTS],
        [*trunk.graph.initializer, *head.graph.initializer],
    )
    return helper.make_model(
        graph,
        producer_name="pss-det",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=[
            proposals_function.generate_proposals(arch),
            roi_align_function.multilevel_roi_align(),
            nms_function.multiclass_nms(),
        ],
    )


def _adopt(graph: onnx.GraphProto, prefix: str, input_name: str, outputs: list[str]) -> None:
    """Simplify a converted graph and bring its tensors under names that cannot collide."""
    name_outputs(graph, outputs)
    simplify(graph)
    parameters = {tensor.name for tensor in graph.initializer}
    public = {*outputs, *parameters, ""}
    names = {graph.input[0].name: input_name}
    for index, node in enumerate(graph.node):
        node.name = f"{prefix}{node.op_type}_{index}"
        names |= {name: f"{node.name}:{i}" for i, name in enumerate(node.output) if name not in public}
    for node in graph.node:
        rename(node, names)


def _value_info(record: TensorRecord) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(record.name, _ELEMENT[record.dtype], list(record.shape))


def _propose(t: Tracer, arch: Architecture, numerics: Numerics, stride: int) -> None:
    """RPN maps to proposals and their features."""
    levels = range(2, 2 + len(arch.strides))
    scores = [t.value(f"rpn_score_p{level}") for level in levels]
    deltas = [t.value(f"rpn_delta_p{level}") for level in levels]
    t.op_n(
        proposals_function.NAME,
        *scores,
        *deltas,
        t.value("image_size"),
        outputs=["proposals", "proposal_scores", "proposal_count"],
        domain=DOMAIN,
        **proposals_function.attributes(arch, numerics, stride),
    )
    t.op(
        roi_align_function.NAME,
        *(t.value(f"p{level}") for level in ROI_LEVELS),
        t.value("proposals"),
        domain=DOMAIN,
        name="roi_features",
        **roi_align_function.attributes(arch, numerics),
    )


def _finish(t: Tracer, arch: Architecture, numerics: Numerics) -> None:
    """Class logits and box deltas to the model's outputs."""
    shape = (-1, arch.post_nms_top_n, arch.num_classes)
    probabilities = t.op("Softmax", t.value("class_logits"), axis=-1, name="class_probabilities")
    foreground = t.op("Slice", probabilities, [0], [arch.num_classes], [1]).reshape(*shape)
    boxes = _decode(t, arch, numerics)
    clipped = _clip(boxes.reshape(*shape, 4), t.value("image_size").reshape(0, 1, 1, 2))
    found = t.op_n(
        nms_function.NAME,
        clipped,
        foreground,
        t.value("proposal_count"),
        outputs=4,
        domain=DOMAIN,
        **nms_function.attributes(),
    )
    _to_original_pixels(t, *found[:3])


def _decode(t: Tracer, arch: Architecture, numerics: Numerics) -> Value:
    """Class boxes [N * R, C, 4] in network pixels, not clipped (``delta2bbox`` of PaddleDetection)."""
    regions = t.value("proposals").reshape(-1, 1, 4)
    deltas = t.value("box_deltas").reshape(-1, arch.num_classes, 4) / list(arch.reg_weights[0])
    corners = decode(regions, deltas, t.constant(float(numerics.pixel_offset)))
    return t.op("Concat", *corners, axis=-1, name="decoded_boxes")


def _clip(boxes: Value, size: Value) -> Value:
    """Boxes [..., 4] within (h, w) [..., 2]."""
    height, width = size.split(2)
    return boxes.at_most(concat([width, height, width, height], -1)).at_least(0.0)


def _to_original_pixels(t: Tracer, boxes: Value, scores: Value, labels: Value) -> None:
    """Divide by the scale, clip, drop boxes without area, close the gaps.

    The bound is ``floor(image_size / scale_factor + 0.5)`` as in PaddleDetection, which may differ
    by a pixel from ``original_size``.
    """
    scale = t.value("scale_factor").reshape(0, 1, 2)
    bound = t.op("Floor", t.value("image_size").reshape(0, 1, 2) / scale + 0.5)
    scale_y, scale_x = scale.split(2)
    boxes = _clip(boxes / concat([scale_x, scale_y, scale_x, scale_y], -1), bound)
    x1, y1, x2, y2 = boxes.split(4)
    valid = ((x2 > x1) & (y2 > y1)).reshape(0, 0)
    exists = t.op("GreaterOrEqual", labels, t.constant(0, "int32")) & valid
    best, order = top_k(where(exists, scores, -1.0), t.constant(MAX_DETECTIONS))
    found = best >= 0.0
    t.op("Where", found.unsqueeze(-1), boxes.rows(order), 0.0, name="boxes")
    t.op("Where", found, best, 0.0, name="scores")
    t.op("Where", found, t.op("GatherElements", labels, order, axis=1), t.constant(-1, "int32"), name="labels")
    t.op("ReduceSum", found.cast(TensorProto.INT32), [1], keepdims=0, name="count")
