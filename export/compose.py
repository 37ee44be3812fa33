"""The whole detector in one ONNX file: converted trunk and head around the detection functions."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from pssdet.export.functions import nms as nms_function
from pssdet.export.functions import proposals as proposals_function
from pssdet.export.functions import roi_align as roi_align_function
from pssdet.export.functions.proposals import decode
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
    TensorRecord(
        "boxes", "float32", ("N", MAX_DETECTIONS, 4), "x1, y1, x2, y2 in original pixels; 0 past count"
    ),
    TensorRecord("scores", "float32", ("N", MAX_DETECTIONS), "probability, falling; 0 past count"),
    TensorRecord("labels", "int32", ("N", MAX_DETECTIONS), "0-based class; -1 past count"),
    TensorRecord("count", "int32", ("N",), "detections of the image"),
)

_ELEMENT = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def compose(
    trunk: onnx.ModelProto, heads: Sequence[onnx.ModelProto], arch: Architecture, numerics: Numerics
) -> onnx.ModelProto:
    """One model from image to detections; intermediate tensors bear the names of the stages.

    Args:
        trunk: image to the tensors of ``stages.map_stages``.
        heads: region features to class logits and box deltas; a cascade has several.
    """
    graph = onnx.GraphProto()
    _take_over(graph, adopted(trunk.graph, TRUNK_NODES, "image", list(map_stages(arch))))
    _propose(graph, arch, numerics)
    for head in range(arch.num_heads):
        _run_head(graph, heads, arch, numerics, head)
    _finish(graph, arch, numerics)
    functions = (
        proposals_function.generate_proposals(arch),
        roi_align_function.multilevel_roi_align(),
        nms_function.multiclass_nms(),
    )
    return assemble(graph, INPUTS, OUTPUTS, functions)


def assemble(
    graph: onnx.GraphProto,
    inputs: Sequence[TensorRecord],
    outputs: Sequence[TensorRecord],
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model of the graph's nodes and initialisers, checked in full; the nodes call the ``functions``.

    Raises:
        onnx.checker.ValidationError: the model is not valid.
    """
    whole = helper.make_graph(
        graph.node,
        "pss-det",
        [_value_info(record) for record in inputs],
        [_value_info(record) for record in outputs],
        graph.initializer,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if functions:
        opsets.append(helper.make_opsetid(DOMAIN, 1))
    model = helper.make_model(
        whole, producer_name="pss-det", ir_version=IR_VERSION, opset_imports=opsets, functions=functions
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _take_over(graph: onnx.GraphProto, part: onnx.GraphProto) -> None:
    """Append a part's nodes and new parameters: heads run more than once."""
    graph.node.extend(part.node)
    present = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(tensor for tensor in part.initializer if tensor.name not in present)


def adopted(source: onnx.GraphProto, prefix: str, input_name: str, outputs: list[str]) -> onnx.GraphProto:
    """A converted graph simplified, under names that cannot collide; an output named "" is left out."""
    graph = onnx.GraphProto()
    graph.CopyFrom(source)
    name_outputs(graph, [name or f"unused_{index}" for index, name in enumerate(outputs)])
    for output in [output for output in graph.output if output.name not in outputs]:
        graph.output.remove(output)
    simplify(graph)
    parameters = {tensor.name for tensor in graph.initializer}
    public = {*outputs, *parameters, ""}
    names = {graph.input[0].name: input_name}
    for index, node in enumerate(graph.node):
        node.name = f"{prefix}{node.op_type}_{index}"
        names |= {name: f"{node.name}:{i}" for i, name in enumerate(node.output) if name not in public}
    for node in graph.node:
        rename(node, names)
    return graph


def _value_info(record: TensorRecord) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(record.name, _ELEMENT[record.dtype], list(record.shape))


def _propose(graph: onnx.GraphProto, arch: Architecture, numerics: Numerics) -> None:
    t = Tracer("propose/")
    levels = range(2, 2 + len(arch.strides))
    scores = [t.value(f"rpn_score_p{level}") for level in levels]
    if numerics.proposal_scores == "probability":
        # Before the selection: logits that differ may saturate to equal probabilities.
        scores = [t.op("Sigmoid", score) for score in scores]
    t.op_n(
        proposals_function.NAME,
        *scores,
        *(t.value(f"rpn_delta_p{level}") for level in levels),
        t.value("image_size"),
        outputs=["proposals", "proposal_scores", "proposal_count"],
        domain=DOMAIN,
        **proposals_function.attributes(arch, numerics),
    )
    graph.node.extend(t.nodes)


def _run_head(
    graph: onnx.GraphProto, heads: Sequence[onnx.ModelProto], arch: Architecture, numerics: Numerics, index: int
) -> None:
    """Regions to features, and through one head; before the last head, to the next regions."""
    number = index + 1  # in names, heads count from 1
    t = Tracer(f"stage{number}/")
    last = number == arch.num_heads
    regions = "proposals" if index == 0 else f"rois_stage{number}"
    features = "roi_features" if arch.num_heads == 1 else f"roi_features_stage{number}"
    t.op(
        roi_align_function.NAME,
        *(t.value(f"p{level}") for level in ROI_LEVELS),
        t.value(regions),
        domain=DOMAIN,
        name=features,
        **roi_align_function.attributes(arch, numerics),
    )
    graph.node.extend(t.nodes)
    deltas = f"box_deltas_{number}"
    logits = f"class_logits_{number}" if last else ""
    _take_over(graph, adopted(heads[index].graph, f"{HEAD_NODES}{number}/", features, [logits, deltas]))
    if last:
        # A cascade's earlier heads are asked again, about the features of the last head.
        for earlier, head in enumerate(heads[:-1], start=1):
            again = adopted(
                head.graph, f"{HEAD_NODES}{earlier}/again/", features, [f"class_logits_{earlier}", ""]
            )
            _take_over(graph, again)
        return
    t = Tracer(f"stage{number}/decode/")
    boxes = _decode(t, t.value(regions), t.value(deltas), arch, numerics, index)
    t.op("Reshape", concat(boxes, -1), [-1, arch.post_nms_top_n, 4], name=f"rois_stage{number + 1}")
    graph.node.extend(t.nodes)


def _finish(graph: onnx.GraphProto, arch: Architecture, numerics: Numerics) -> None:
    """Class logits and box deltas to the model's outputs."""
    t = Tracer("finish/")
    probabilities = _probabilities(t, arch)
    shape = (-1, arch.post_nms_top_n)
    start = 1 if numerics.background == "first" else 0
    foreground = t.op("Slice", probabilities, [start], [start + arch.num_classes], [1]).reshape(
        *shape, arch.num_classes
    )
    regions = t.value("proposals" if arch.num_heads == 1 else f"rois_stage{arch.num_heads}")
    scale_y, scale_x = t.value("scale_factor").reshape(0, 1, 2).split(2)
    scales = concat([scale_x, scale_y, scale_x, scale_y], -1)
    in_original = numerics.decode_space == "original"
    if in_original:
        regions = regions / scales
    corners = _decode(t, regions, t.value(f"box_deltas_{arch.num_heads}"), arch, numerics, arch.num_heads - 1)
    boxes = t.op("Concat", *corners, axis=-1, name="decoded_boxes")
    slots = 1 if arch.num_heads > 1 else arch.num_classes
    bound = t.value("original_size" if in_original else "image_size").reshape(0, 1, 1, 2)
    clipped = _clip(boxes.reshape(*shape, slots, 4), bound - float(numerics.pixel_offset))
    found = t.op_n(
        nms_function.NAME,
        clipped,
        foreground,
        t.value("proposal_count"),
        outputs=["boxes", "scores", "labels", "count"] if in_original else 4,
        domain=DOMAIN,
        **nms_function.attributes(numerics),
    )
    if not in_original:
        _to_original_pixels(t, scales, *found[:3])
    graph.node.extend(t.nodes)


def _probabilities(t: Tracer, arch: Architecture) -> Value:
    """Softmax [N * R, classes + 1], the mean over a cascade's heads."""
    if arch.num_heads == 1:
        return t.op("Softmax", t.value("class_logits_1"), axis=-1, name="class_probabilities")
    each = [t.op("Softmax", t.value(f"class_logits_{i + 1}"), axis=-1) for i in range(arch.num_heads)]
    total = each[0]
    for probability in each[1:]:
        total = total + probability
    # The static program multiplies by 1/3 in float32, not a division by 3: one bit decides saturated ties.
    return t.op("Mul", total, 1.0 / arch.num_heads, name="class_probabilities")


def _decode(
    t: Tracer, regions: Value, deltas: Value, arch: Architecture, numerics: Numerics, head: int
) -> list[Value]:
    """Corners of the foreground's boxes [N * R, slots, 4], in the regions' own pixels, not clipped.

    Sources: ``delta2bbox`` of PaddleDetection, ``box_coder`` of Paddle (with a pixel offset).
    """
    slots = 1 if arch.num_heads > 1 else arch.num_classes
    if numerics.background == "first":
        deltas = t.op("Slice", deltas, [4], [4 + 4 * slots], [1])
    scaled = deltas.reshape(-1, slots, 4) / list(arch.reg_weights[head])
    offset = t.constant(float(numerics.pixel_offset))
    return decode(regions.reshape(-1, 1, 4), scaled, offset, clamp=numerics.clamp_box_deltas)


def _clip(boxes: Value, size: Value) -> Value:
    """Boxes [..., 4] within (h, w) [..., 2]."""
    height, width = size.split(2)
    return boxes.at_most(concat([width, height, width, height], -1)).at_least(0.0)


def _to_original_pixels(t: Tracer, scales: Value, boxes: Value, scores: Value, labels: Value) -> None:
    """Divide by the scale, clip, drop boxes without area, close the gaps.

    PaddleDetection's bound, ``floor(image_size / scale_factor + 0.5)``, may be a pixel off ``original_size``.
    """
    scale = t.value("scale_factor").reshape(0, 1, 2)
    bound = t.op("Floor", t.value("image_size").reshape(0, 1, 2) / scale + 0.5)
    boxes = _clip(boxes / scales, bound)
    x1, y1, x2, y2 = boxes.split(4)
    valid = ((x2 > x1) & (y2 > y1)).reshape(0, 0)
    exists = t.op("GreaterOrEqual", labels, t.constant(0, "int32")) & valid
    best, order = top_k(where(exists, scores, -1.0), t.constant(MAX_DETECTIONS))
    found = best >= 0.0
    t.op("Where", found.unsqueeze(-1), boxes.rows(order), 0.0, name="boxes")
    t.op("Where", found, best, 0.0, name="scores")
    t.op("Where", found, t.op("GatherElements", labels, order, axis=1), t.constant(-1, "int32"), name="labels")
    t.op("ReduceSum", found.cast(TensorProto.INT32), [1], keepdims=0, name="count")
