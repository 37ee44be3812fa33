"""Tensors for the detection part, drawn from seeds, and its ONNX functions as models of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput

if TYPE_CHECKING:
    import onnx

Tensors = dict[str, NDArray[Any]]

KERNELS = {  # with the names of their outputs
    "proposals": ("proposals", "scores", "count"),
    "roi_align": ("features",),
    "nms": ("boxes", "scores", "labels", "count"),
}
FUNCTIONS = {"proposals": "GenerateProposals", "roi_align": "MultilevelRoiAlign", "nms": "MulticlassNms"}
_MAPS = ("score_", "delta_", "map_")  # how the names of maps begin
FORMATS = {"fp32 NCHW": (False, False), "fp16 NCHW": (True, False), "fp16 NHWC": (True, True)}  # half, NHWC


@dataclass(frozen=True)
class Setting:
    """One detector's detection part at one size; the mappings are attributes of the ONNX functions."""

    name: str
    size: tuple[int, int]  # (height, width) of the network's input
    channels: int  # of the maps that RoIAlign reads
    classes: int
    box_classes: int  # 1: the classes share their boxes
    proposals: Mapping[str, Any]
    roi_align: Mapping[str, Any]
    nms: Mapping[str, Any]

    @classmethod
    def of(
        cls, model: onnx.ModelProto, name: str, size: tuple[int, int], channels: int, classes: int
    ) -> Setting:
        """That of an exported model; ``BadInput`` if it calls none of the functions."""
        from pssdet.engines.trt.graph.plugin_nodes import FUNCTION_DOMAIN
        from pssdet.engines.trt.graph.plugins import attributes_of

        calls = [node for node in model.graph.node if node.domain == FUNCTION_DOMAIN]
        found = {node.op_type: attributes_of(node) for node in calls}
        if lacking := set(FUNCTIONS.values()) - set(found):
            raise BadInput(f"the model {name} does not call {min(lacking)}; pack it again with this version")
        # The heads of a cascade share their boxes.
        heads = sum(node.op_type == FUNCTIONS["roi_align"] for node in calls)
        box_classes = 1 if heads > 1 else classes
        return cls(name, size, channels, classes, box_classes, *(found[each] for each in FUNCTIONS.values()))

    @property
    def regions(self) -> int:
        """Proposals of an image."""
        return int(self.proposals["post_nms_top_n"])

    @property
    def per_cell(self) -> int:
        """Anchors of a cell."""
        return len(self.proposals["anchors"]) // (4 * len(self.proposals["strides"]))

    def at(self, size: tuple[int, int]) -> Setting:
        """The same with few proposals and detections, at another size."""
        few = {**self.proposals, "pre_nms_top_n": 40, "post_nms_top_n": 24}
        return replace(self, size=size, proposals=few, nms={**self.nms, "max_detections": 10})

    def map_sizes(self, strides: Sequence[int]) -> list[tuple[int, int]]:
        """Heights and widths of the maps of these strides."""
        return [(-(-self.size[0] // stride), -(-self.size[1] // stride)) for stride in strides]


def single_call(model: onnx.ModelProto, setting: Setting, kernel: str, tensors: Tensors) -> onnx.ModelProto:
    """A function of an exported model alone, with inputs of these names and ranks, all of them float32.

    Maps pass through nodes of the trunk that change nothing, where half precision begins.
    """
    from onnx import TensorProto, helper

    from pssdet.engines.trt.graph.plugin_nodes import FUNCTION_DOMAIN

    nodes, read = [], []
    for name in tensors:
        read.append(name)
        if name.startswith(_MAPS):
            read[-1] = f"{name}:read"
            nodes.append(helper.make_node("Mul", [name, "one"], read[-1:], name=f"trunk/Mul_{name}"))
        elif name == "region_count":
            read[-1] = f"{name}:read"
            nodes.append(helper.make_node("Cast", [name], read[-1:], name="Cast_count", to=TensorProto.INT32))
    call = helper.make_node(
        FUNCTIONS[kernel],
        read,
        KERNELS[kernel],
        name=f"{kernel}/{FUNCTIONS[kernel]}_0",
        domain=FUNCTION_DOMAIN,
        **getattr(setting, kernel),
    )
    integers = {"labels", "count"}
    ranks = {"features": 4, "boxes": 3, "proposals": 3, "scores": 2, "labels": 2, "count": 1}
    graph = helper.make_graph(
        [*nodes, call],
        kernel,
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, *_fixed(name, values)])
            for name, values in tensors.items()
        ],
        [
            helper.make_tensor_value_info(
                name, TensorProto.INT32 if name in integers else TensorProto.FLOAT, [None] * ranks[name]
            )
            for name in KERNELS[kernel]
        ],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    return helper.make_model(
        graph, functions=model.functions, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _fixed(name: str, values: NDArray[Any]) -> list[int | None]:
    """Sizes behind the batch: those of maps but for their number of channels vary."""
    sizes: list[int | None] = list(values.shape[1:])
    return [sizes[0], None, None] if name.startswith(_MAPS) else sizes


def computed(call: onnx.ModelProto, tensors: Tensors) -> Tensors:
    """What ONNX's own evaluator, in NumPy, makes of a ``single_call``."""
    from onnx import inliner
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.ops.op_non_max_suppression import NonMaxSuppression as Nms
    from onnx.reference.ops.op_roi_align import RoiAlign as Align

    class NonMaxSuppression(Nms):  # type: ignore[misc]  # the original takes no scalars
        op_domain = ""

        def _run(self, boxes: Any, scores: Any, *limits: Any, **more: Any) -> Any:
            return super()._run(boxes, scores, *(each.reshape(1) for each in limits), **more)

    class RoiAlign(Align):  # type: ignore[misc]  # nor levels without a region
        op_domain = ""

        def _run(self, maps: Any, rois: Any, images: Any, **more: Any) -> Any:
            if rois.size == 0:
                return (np.zeros((0, maps.shape[1], self.output_height, self.output_width), np.float32),)
            return super()._run(maps, rois, images, **more)

    # Nor does it pass attributes on to the nodes of a function.
    plain = inliner.inline_local_functions(call)
    evaluator = ReferenceEvaluator(plain, new_ops=[NonMaxSuppression, RoiAlign])
    given = {name: values.astype(np.float32) for name, values in tensors.items()}
    names = [output.name for output in call.graph.output]
    return dict(zip(names, evaluator.run(None, given), strict=True))


def drawn_inputs(setting: Setting, kernel: str, batch: int, *, half: bool) -> Tensors:
    """A kernel's inputs; those of NMS are float32 in any case."""
    if kernel == "nms":
        return nms_inputs(setting, batch)
    return (proposals_inputs if kernel == "proposals" else roi_align_inputs)(setting, batch, half=half)


def proposals_inputs(setting: Setting, batch: int, *, half: bool) -> Tensors:
    """``score_0`` .., ``delta_0`` .., logits and small deltas, and ``image_size`` [N, 2]."""
    draw = _generator(1)
    sizes = setting.map_sizes(setting.proposals["strides"])
    per_cell = setting.per_cell
    inputs = {
        f"score_{i}": _rounded(8 * draw(batch, per_cell, *size) - 6, half=half) for i, size in enumerate(sizes)
    }
    for i, size in enumerate(sizes):
        inputs[f"delta_{i}"] = _rounded(draw(batch, 4 * per_cell, *size) - 0.5, half=half)
    return inputs | {"image_size": _image_sizes(setting, batch)}


def roi_align_inputs(setting: Setting, batch: int, *, half: bool) -> Tensors:
    """``map_0`` .. and ``rois`` [N, R, 4] of all sizes, the larger the rarer."""
    draw = _generator(2)
    sizes = setting.map_sizes(setting.roi_align["strides"])
    shape = (batch, setting.channels)
    inputs = {f"map_{i}": _rounded(2 * draw(*shape, *size) - 1, half=half) for i, size in enumerate(sizes)}
    height, width = setting.size
    extent = 4 + draw(batch, setting.regions, 2) ** 3 * (np.array([width, height]) - 8)
    corner = draw(batch, setting.regions, 2) * (np.array([width, height]) - extent)
    return inputs | {"rois": np.concatenate([corner, corner + extent], axis=2).astype(np.float32)}


def nms_inputs(setting: Setting, batch: int) -> Tensors:
    """``region_boxes`` [N, R, box classes, 4], ``region_scores`` [N, R, classes], ``region_count``."""
    draw = _generator(3)
    height, width = setting.size
    centre = draw(batch, setting.regions // 4 + 1, 1, 2) * np.array([width, height])
    centre = np.repeat(centre, 4, axis=1)[:, : setting.regions]
    centre = centre + 20 * draw(batch, setting.regions, setting.box_classes, 2)
    half_extent = 10 + 60 * draw(batch, setting.regions, setting.box_classes, 2)
    boxes = np.concatenate([centre - half_extent, centre + half_extent], axis=3)
    bounds = np.array([width, height, width, height], np.float64)
    scores = draw(batch, setting.regions, setting.classes) ** 16
    counts = np.array([setting.regions - 17 * (number % 3) for number in range(batch)], np.int32)
    return {
        "region_boxes": boxes.clip(0, bounds).astype(np.float32),
        "region_scores": scores.astype(np.float32),
        "region_count": counts.clip(0),
    }


def _image_sizes(setting: Setting, batch: int) -> NDArray[np.float32]:
    """The whole input, and inputs that are padded by some rows and columns."""
    height, width = setting.size
    rows = [(height - 7 * (number % 3), width - 11 * (number % 3)) for number in range(batch)]
    return np.array(rows, np.float32)


def _generator(seed: int) -> Any:
    random = np.random.RandomState(seed)
    return lambda *shape: random.random_sample(prod(shape)).reshape(shape)


def _rounded(values: NDArray[np.float64], *, half: bool) -> NDArray[np.float32]:
    """float32; through half precision, if the kernel reads that."""
    single = values.astype(np.float32)
    return single.astype(np.float16).astype(np.float32) if half else single
