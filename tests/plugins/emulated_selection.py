"""Proposals and class-wise NMS by the kernels' own source, run on the CPU; called as the ONNX functions are.

Memory that is nobody's holds NaN, and what the kernels write holds rubbish before.
"""

import numpy as np

from pssdet.plugins.bindings.detection import MulticlassNmsParams, ProposalsParams

TYPES = {"float32": np.float32, "half": np.float16}


class Proposals:
    """``GenerateProposals`` with the ONNX function's attributes; maps of any type and layout."""

    def __init__(self, library, attributes, dtype="float32", layouts=("NCHW", "NCHW")):
        self.library = library
        self.attributes = attributes
        self.dtype = dtype
        self.layouts = layouts

    def __call__(self, *arrays):
        """Score maps, delta maps, image sizes -> proposals, scores, count."""
        levels = len(arrays) // 2
        maps, image_size = arrays[:-1], np.ascontiguousarray(arrays[-1])
        layouts = [self.layouts[i % len(self.layouts)] for i in range(2 * levels)]
        attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in self.attributes.items()}
        problem = ProposalsParams(len(image_size), tuple(x.shape[2:] for x in maps[:levels]), **attributes)
        laid_out = [
            in_layout(x.astype(TYPES[self.dtype]), layout) for x, layout in zip(maps, layouts, strict=True)
        ]
        shape = (problem.batch, problem.post_nms_top_n)
        outputs = [rubbish((*shape, 4), np.float32), rubbish(shape, np.float32), rubbish(shape[:1], np.int32)]
        workspace = rubbish((self.library.workspace(problem),), np.uint8)
        self.library.proposals(
            problem,
            dtype=self.dtype,
            layouts=layouts,
            scores=[x.ctypes.data for x in laid_out[:levels]],
            deltas=[x.ctypes.data for x in laid_out[levels:]],
            image_size=image_size.ctypes.data,
            **dict(
                zip(("proposals", "proposal_scores", "count"), (x.ctypes.data for x in outputs), strict=True)
            ),
            workspace=workspace.ctypes.data,
        )
        return outputs


class MulticlassNms:
    """``MulticlassNms`` with the ONNX function's attributes."""

    def __init__(self, library, attributes):
        self.library = library
        self.attributes = attributes

    def __call__(self, boxes, scores, region_count):
        """Boxes, scores, count of regions -> boxes, scores, labels, count."""
        problem = MulticlassNmsParams(*scores.shape, boxes.shape[2], **self.attributes)
        inputs = [np.ascontiguousarray(x) for x in (boxes, scores, region_count)]
        shape = (problem.batch, problem.max_detections)
        outputs = [
            rubbish((*shape, 4), np.float32),
            rubbish(shape, np.float32),
            rubbish(shape, np.int32),
            rubbish(shape[:1], np.int32),
        ]
        workspace = rubbish((self.library.workspace(problem),), np.uint8)
        names = ("boxes", "scores", "region_count", "best_boxes", "best_scores", "labels", "count")
        addresses = (x.ctypes.data for x in (*inputs, *outputs))
        self.library.multiclass_nms(
            problem, **dict(zip(names, addresses, strict=True)), workspace=workspace.ctypes.data
        )
        return outputs


def in_layout(maps, layout):
    """Maps [N, C, h, w] as the kernels read them: NHWC has its channels padded to a multiple of 8."""
    if layout == "NCHW":
        return np.ascontiguousarray(maps)
    batch, channels, height, width = maps.shape
    padded = np.full((batch, height, width, -(-channels // 8) * 8), np.nan, maps.dtype)
    padded[..., :channels] = maps.transpose(0, 2, 3, 1)
    return padded


def rubbish(shape, dtype):
    return (
        np.frombuffer(b"\xa5" * (int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype).reshape(shape).copy()
    )
