"""The models in Paddle run like exported ones: same inputs, same outputs, same layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from pssdet.models.architecture import MAX_DETECTIONS
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.layers import Classifier
from pssdet.models.stages import region_stages

_Model = TypeVar("_Model", bound=nn.Layer)


def with_parameters(model: _Model, parameters: Mapping[str, NDArray[np.float32]]) -> _Model:
    """The model with these parameters, ready for inference."""
    model.set_state_dict({name: paddle.to_tensor(value) for name, value in parameters.items()})
    model.eval()
    return model


def parameter_shapes(model: nn.Layer) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter that a checkpoint must bring."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def run_reference(
    model: TwoStageDetector, inputs: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[Any]]:
    """The model card's outputs of a batch of its inputs, and the tensors of ``stages.tap_names``.

    Unused slots of regions and detections are zero (proposal scores -inf, labels -1).
    """
    with paddle.no_grad():
        names = ("image", "image_size", "original_size", "scale_factor")
        stages = model(*(paddle.to_tensor(inputs[name]) for name in names))
    slots = model.arch.post_nms_top_n
    arrays = {name: value.numpy() for name, value in stages.items() if not isinstance(value, list)}
    lists = {name: [x.numpy() for x in value] for name, value in stages.items() if isinstance(value, list)}
    arrays["proposals"] = np.stack([_padded(x, slots) for x in lists["proposals"]])
    arrays["proposal_scores"] = np.stack([_padded(x, slots, -np.inf) for x in lists["proposal_scores"]])
    arrays["proposal_count"] = np.array([len(x) for x in lists["proposals"]], np.int32)
    for name in region_stages(model.arch):
        join = np.stack if name.startswith("rois_") else np.concatenate
        arrays[name] = join([_padded(x, slots) for x in lists[name]])
    return arrays | _outputs(lists["detections"])


def run_classifier(model: Classifier, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Every stage of a batch [N, 3, H, W], as arrays."""
    with paddle.no_grad():
        return {name: value.numpy() for name, value in model(paddle.to_tensor(image)).items()}


def _padded(rows: NDArray[Any], slots: int, filler: float = 0.0) -> NDArray[Any]:
    padded = np.full((slots, *rows.shape[1:]), filler, rows.dtype)
    padded[: len(rows)] = rows
    return padded


def _outputs(detections: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Paddle orders rows by class, the exported model by score (equal scores in Paddle's order)."""
    ordered = [rows[np.argsort(-rows[:, 1], kind="stable")] for rows in detections]
    return {
        "boxes": np.stack([_padded(rows[:, 2:], MAX_DETECTIONS) for rows in ordered]),
        "scores": np.stack([_padded(rows[:, 1], MAX_DETECTIONS) for rows in ordered]),
        "labels": np.stack([_padded(rows[:, 0].astype(np.int32), MAX_DETECTIONS, -1) for rows in ordered]),
        "count": np.array([len(rows) for rows in ordered], np.int32),
    }
