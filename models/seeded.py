"""Seeded random parameters, for measuring and testing without a checkpoint.

Every array is a function of its name and shape alone: CRC-32 of the name seeds NumPy's legacy
generator, whose streams never change between versions. The spreads are chosen so that activations
keep their size through the network, offsets reach a few pixels, and boxes and scores vary.
The detections mean nothing in a picture; they are numbers to be reproduced.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]

#: Standard deviation of weights, times 1/sqrt(inputs of one output); first match wins.
_GAINS = (
    ("conv_offset", 0.3),
    ("rpn_rois_score", 1.2),
    ("rpn_rois_delta", 0.5),
    ("bbox_score", 1.5),
    ("bbox_delta", 1.0),
    ("fpn_inner", 1.0),
    ("fpn_res2", 0.2),
    ("fpn_res3", 0.3),
    ("fpn_res4", 0.6),
    ("fpn_res5", 1.2),
)


def seeded_parameters(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Values for all parameters, float32, by name.

    Args:
        shapes: structured parameter name to shape; convolutions OIHW, linear layers [in, out].
    """
    return {name: np.ascontiguousarray(_values(name, shape), dtype=np.float32) for name, shape in shapes.items()}


def _values(name: str, shape: tuple[int, ...]) -> _Array:
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("._mean"):
        return rng.normal(0.0, 0.05, shape)
    if name.endswith("._variance"):
        return rng.uniform(0.8, 1.25, shape)
    if name.endswith("norm.weight"):
        # A small gain on each residual branch keeps the sum of many blocks bounded.
        gain = 0.25 if "branch2c" in name else 1.0
        return gain * rng.uniform(0.8, 1.2, shape)
    if len(shape) == 1:
        return _bias(name, shape, rng)
    fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
    gain = next((gain for part, gain in _GAINS if part in name), 2.0**0.5)
    return rng.normal(0.0, _deviation(gain, fan_in), shape)


def _deviation(gain: float, fan_in: int) -> float:
    return float(np.sqrt(2.0 / fan_in) if gain == 2.0**0.5 else gain / np.sqrt(fan_in))


def _bias(name: str, shape: tuple[int, ...], rng: np.random.RandomState) -> _Array:
    bias = rng.normal(0.0, 0.5 if "conv_offset" in name else 0.02, shape)
    if "rpn_rois_delta" in name:  # proposals larger than their anchors on average
        bias = (bias.reshape(-1, 4) + np.array([0.0, 0.0, 0.35, 0.35])).reshape(shape)
    if "bbox_score" in name:
        bias = rng.normal(0.0, 0.5, shape)  # the second draw of the stream
        bias[-1] += 1.5  # most regions are background
    return bias
