"""One export: parameters, Paddle detector, ONNX file, verification, card."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx import inliner

from pssdet.errors import GateFailed
from pssdet.export.compose import INPUTS, OUTPUTS, compose
from pssdet.export.convert import convert_head, convert_trunk
from pssdet.export.tracing import OPSET
from pssdet.export.verify import verify
from pssdet.files import staged_folder
from pssdet.models.card import (
    MODEL_CARD,
    MODEL_ONNX,
    FileRecord,
    GraphRecord,
    ModelCard,
    StageRecord,
    WeightsRecord,
    encode,
    installed_versions,
)
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.reference_run import build_detector, parameter_shapes
from pssdet.models.parameters import load_parameters
from pssdet.models.stages import HEAD_NODES, TRUNK_NODES, first_broken
from pssdet.models.zoo import ZooEntry

#: Whose versions an exported model's card records.
PACKAGES = ("paddlepaddle", "paddle2onnx", "onnx", "onnxruntime", "numpy", "opencv-python-headless")

#: Told at the start of each step what it is.
Progress = Callable[[str], None]


class _Converted(NamedTuple):
    model: onnx.ModelProto
    record: GraphRecord


def export_model(entry: ZooEntry, weights: str, output: Path, progress: Progress = lambda _: None) -> ModelCard:
    """Export a detector into ``output``: ``model.onnx`` and ``model.json``, or nothing at all.

    Args:
        entry: the detector.
        weights: checkpoint file, folder or URL, or ``none`` for seeded random parameters; empty for the
            published checkpoint.

    Returns:
        The card that was written.

    Raises:
        BadInput: checkpoint or folder cannot be used.
        EnvironmentMissing: the checkpoint cannot be downloaded.
        GateFailed: conversion or verification failed; nothing was written.
    """
    with staged_folder(output) as stage:
        progress("reading the parameters")
        model = TwoStageDetector(entry.architecture, entry.numerics)
        # The zoo's hash is that of the zoo's own checkpoint, not of one that a user brings.
        known = "" if weights else entry.sha256
        parameters, source = load_parameters(weights or entry.checkpoint, parameter_shapes(model), known)
        build_detector(model, parameters)
        progress("converting to ONNX")
        converted = _convert(model)
        onnx.save(converted.model, stage / MODEL_ONNX)
        progress("verifying against Paddle")
        records = verify(model, stage / MODEL_ONNX, entry.preprocessing)
        require_agreement(records)
        card = _card(entry, source, stage / MODEL_ONNX, converted.record, records)
        (stage / MODEL_CARD).write_bytes(encode(card))
    return card


def _convert(model: TwoStageDetector) -> _Converted:
    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        trunk = convert_trunk(model, Path(folder))
        heads = [convert_head(model, stage, Path(folder)) for stage in range(model.arch.stages)]
    converted = sum(len(part.graph.node) for part in (trunk, *heads))
    composed = compose(trunk, heads, model.arch, model.numerics)
    onnx.checker.check_model(composed, full_check=True)
    nodes = inlined_nodes(composed)
    network = sum(node.name.startswith((TRUNK_NODES, HEAD_NODES)) for node in composed.graph.node)
    return _Converted(composed, GraphRecord(OPSET, converted + nodes - network, nodes))


def inlined_nodes(model: onnx.ModelProto) -> int:
    """Nodes of the graph once every function call is replaced by the function's body.

    Raises:
        GateFailed: a call would stay, so a runtime without functions could not run the model.
    """
    nodes = inliner.inline_local_functions(model).graph.node
    left = sorted({node.op_type for node in nodes if node.domain not in ("", "ai.onnx")})
    if left:
        raise GateFailed(f"functions {left} cannot be inlined; model and functions must have one opset")
    return len(nodes)


def require_agreement(records: Sequence[StageRecord]) -> None:
    """Refuse an export that differs from Paddle.

    Raises:
        GateFailed: at some stage, which the message names.
    """
    if broken := first_broken(records):
        raise GateFailed(f"the exported model differs from Paddle {broken}; nothing was written")


def _card(
    entry: ZooEntry, weights: WeightsRecord, file: Path, graph: GraphRecord, records: Sequence[StageRecord]
) -> ModelCard:
    return ModelCard(
        model=entry.name,
        architecture=entry.architecture,
        numerics=entry.numerics,
        preprocessing=entry.preprocessing,
        labels=entry.labels,
        weights=weights,
        onnx=FileRecord.of(file),
        inputs=INPUTS,
        outputs=OUTPUTS,
        graph=graph,
        versions=installed_versions(*PACKAGES),
        verification=tuple(records),
    )
