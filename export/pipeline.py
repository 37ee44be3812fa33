"""One export: parameters, Paddle model, ONNX file, verification, card."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import onnx

from pssdet.console import Progress
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.errors import GateFailed
from pssdet.export.tasks import ClassifierExport, DetectorExport
from pssdet.files import staged_folder
from pssdet.models.card import (
    MODEL_CARD,
    MODEL_ONNX,
    ClassifierCard,
    FileRecord,
    ModelCard,
    encode,
    installed_versions,
)
from pssdet.models.classification import ClassifierEntry
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.layers import Classifier
from pssdet.models.network.reference_run import parameter_shapes, with_parameters
from pssdet.models.parameters import load_parameters
from pssdet.models.stages import first_broken
from pssdet.models.zoo import ZooEntry

#: Whose versions an exported model's card records.
PACKAGES = ("paddlepaddle", "paddle2onnx", "onnx", "onnxruntime", "numpy", "opencv-python-headless")


def export_model(
    entry: ZooEntry | ClassifierEntry, weights: str, output: Path, progress: Progress = lambda _: None
) -> ModelCard | ClassifierCard:
    """Export a model into ``output``: ``model.onnx`` and ``model.json``, or nothing at all.

    Args:
        entry: the detector or classifier.
        weights: checkpoint file, folder or URL, or ``none`` for seeded random parameters; empty for the
            published checkpoint.

    Returns:
        The card that was written.

    Raises:
        BadInput: checkpoint or folder cannot be used.
        EnvironmentMissing: the checkpoint cannot be downloaded.
        GateFailed: conversion or verification failed; nothing was written.
    """
    with staged_folder(output) as folder:
        file = folder / MODEL_ONNX
        progress("reading the parameters")
        task = _task(entry)
        # The zoo's hash is that of the zoo's own checkpoint, not of one that a user brings.
        known = "" if weights else entry.sha256
        shapes = parameter_shapes(task.model)
        parameters, source = load_parameters(weights or entry.checkpoint, shapes, known, task.rename)
        with_parameters(task.model, parameters)
        progress("converting to ONNX")
        converted, graph = task.convert()
        onnx.save(converted, file)
        progress("verifying against Paddle")
        with closing(OnnxRuntimeSession(file, task.tapped, cuda=False)) as session:
            records = task.compare(session)
        if broken := first_broken(records):
            raise GateFailed(f"the exported model differs from Paddle {broken}; nothing was written")
        card = task.card(
            model=entry.name,
            architecture=entry.architecture,
            preprocessing=entry.preprocessing,
            labels=entry.labels,
            weights=source,
            onnx=FileRecord.of(file),
            graph=graph,
            versions=installed_versions(*PACKAGES),
            verification=tuple(records),
        )
        (folder / MODEL_CARD).write_bytes(encode(card))
    return card


def _task(entry: ZooEntry | ClassifierEntry) -> DetectorExport | ClassifierExport:
    if isinstance(entry, ZooEntry):
        return DetectorExport(entry, TwoStageDetector(entry.architecture, entry.numerics))
    return ClassifierExport(entry, Classifier(entry.architecture))
