"""The part of the detector that an engine's layer belongs to, by the layer's name."""

from __future__ import annotations

from collections.abc import Mapping

#: Parts of a layer's name, the first that is found decides. TensorRT joins the ONNX nodes' names where it fuses them.
_MARKS = (
    ("Reformat", "reformats"),
    ("DeformConv", "deformable convolutions"),
    ("GenerateProposals", "proposals"),
    ("MultilevelRoiAlign", "RoIAlign"),
    ("MulticlassNms", "NMS"),
    ("/decode/", "decoding"),
    ("finish/", "decoding"),
    ("propose/", "proposals"),
    ("head/", "head"),
    ("trunk/", "trunk"),
)
OTHER = "other"
KINDS = tuple(dict.fromkeys([*(kind for _, kind in _MARKS), OTHER]))
#: The goal about detection plugins is about these.
DETECTION = ("proposals", "RoIAlign", "NMS", "decoding")


def kind_of(layer: str) -> str:
    """The part that a layer belongs to; one that spans several counts where its first mark says."""
    return next((kind for mark, kind in _MARKS if mark in layer), OTHER)


def shares(layers_us: Mapping[str, float]) -> dict[str, float]:
    """Each part's share of the time, in the order of ``KINDS``; those that take none are left out."""
    total = sum(layers_us.values())
    sums = {kind: sum(time for name, time in layers_us.items() if kind_of(name) == kind) for kind in KINDS}
    return {kind: time / total for kind, time in sums.items() if time > 0}
