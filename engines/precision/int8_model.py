"""An exported model in int8: calibrated on pictures, then quantised."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import onnx

from pssdet.console import Progress
from pssdet.engines.precision.calibration import calibrate, sha256_of_ranges
from pssdet.engines.precision.qdq_placement import WEIGHTED, in_trunk_or_head, place_qdq
from pssdet.engines.precision.quantise import quantise
from pssdet.engines.precision.ranges import Method, range_of
from pssdet.engines.precision.recipe import Recipe
from pssdet.models.card import MODEL_ONNX, CalibrationRecord, ModelCard

#: Of the three, the one with the least drift of scores in both bundled detectors; ``benchmarks/int8_calibration.py``.
METHOD: Method = "entropy"


class QuantisedModel(NamedTuple):
    """Result of quantising a model.

    Attributes:
        model: with QuantizeLinear / DequantizeLinear pairs.
        calibration: for the engine's card.
        float_layers: layers with weights of trunk and head that have no integers.
    """

    model: onnx.ModelProto
    calibration: CalibrationRecord
    float_layers: int


def quantised_model(
    exported: onnx.ModelProto,
    folder: Path,
    card: ModelCard,
    pictures: Path,
    progress: Progress = lambda _: None,
    *,
    recipe: Recipe,
    method: Method = METHOD,
) -> QuantisedModel:
    """An exported model in int8, with ranges from pictures.

    Args:
        exported: the model; it is left as it is.
        folder: where its file lies, which was verified.
        card: its card.
        pictures: folder of pictures like those that the detector will see; labels are not needed.
        recipe: its nodes are not quantised.
        method: how a range is chosen for the values of a tensor.

    Raises:
        BadInput: as ``calibrate``, or the recipe is not for this model.
    """
    recipe.check(exported.graph)
    placement = place_qdq(exported.graph, recipe.fp32)
    histograms, count = calibrate(folder / MODEL_ONNX, card.preprocessing, pictures, placement.activations, progress)
    ranges = {name: range_of(histogram, method) for name, histogram in histograms.items()}
    record = CalibrationRecord(count, method, sha256_of_ranges(ranges))
    weighted = sum(node.op_type in WEIGHTED and in_trunk_or_head(node) for node in exported.graph.node)
    return QuantisedModel(quantise(exported, ranges, placement), record, weighted - len(placement.layers))
