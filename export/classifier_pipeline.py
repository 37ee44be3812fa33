"""One export of a classifier: parameters, Paddle model, ONNX file, verification, card."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.export.compose import adopted, value_info
from pssdet.export.convert import convert_classifier
from pssdet.export.pipeline import PACKAGES, require_agreement
from pssdet.export.tracing import IR_VERSION, OPSET
from pssdet.files import staged_folder
from pssdet.models.card import (
    MODEL_CARD,
    MODEL_ONNX,
    ClassifierCard,
    FileRecord,
    GraphRecord,
    StageRecord,
    TensorRecord,
    encode,
    installed_versions,
)
from pssdet.models.centre_crop import crop_centre, normalise, resize_short_side
from pssdet.models.checkpoint_formats.classifier_names import rename_classifier
from pssdet.models.classification import CLASSIFIER_STAGES, CentreCrop, ClassifierEntry
from pssdet.models.network.classifier import Classifier, load_parameters_into, run_classifier
from pssdet.models.network.reference_run import parameter_shapes
from pssdet.models.parameters import load_parameters
from pssdet.models.sample import sample_picture
from pssdet.models.stages import FLOAT32, TRUNK_NODES, map_record

INPUTS = (TensorRecord("image", "float32", ("N", 3, "H", "W"), "normalised RGB; published at the crop's size"),)


def export_classifier(
    entry: ClassifierEntry, weights: str, output: Path, progress: Callable[[str], None] = lambda _: None
) -> ClassifierCard:
    """Export a classifier into ``output``: ``model.onnx`` and ``model.json``, or nothing at all.

    Args:
        entry: the classifier.
        weights: checkpoint file, folder or URL, or ``none`` for seeded random parameters; empty for the published one.

    Returns:
        The card that was written.

    Raises:
        BadInput: checkpoint or folder cannot be used.
        EnvironmentMissing: the checkpoint cannot be downloaded.
        GateFailed: conversion or verification failed; nothing was written.
    """
    with staged_folder(output) as stage:
        progress("reading the parameters")
        model = Classifier(entry.architecture)
        parameters, source = load_parameters(
            weights or entry.checkpoint,
            parameter_shapes(model),
            "" if weights else entry.sha256,
            lambda found, path: rename_classifier(found, entry.architecture.backbone, path),
        )
        load_parameters_into(model, parameters)
        model.eval()
        progress("converting to ONNX")
        composed, graph = _convert(model)
        onnx.save(composed, stage / MODEL_ONNX)
        progress("verifying against Paddle")
        records = verify_classifier(model, stage / MODEL_ONNX, entry.preprocessing)
        require_agreement(records)
        card = ClassifierCard(
            model=entry.name,
            task="classification",
            architecture=entry.architecture,
            preprocessing=entry.preprocessing,
            labels=entry.labels,
            weights=source,
            onnx=FileRecord.of(stage / MODEL_ONNX),
            inputs=INPUTS,
            outputs=_outputs(entry.architecture.num_classes),
            graph=graph,
            versions=installed_versions(*PACKAGES),
            verification=tuple(records),
        )
        (stage / MODEL_CARD).write_bytes(encode(card))
    return card


def verify_classifier(model: Classifier, onnx_file: Path, steps: CentreCrop) -> list[StageRecord]:
    """Agreement of ONNX Runtime with Paddle at every stage, for a picture, a batch and another size."""
    records: list[StageRecord] = []
    with closing(OnnxRuntimeSession(onnx_file, CLASSIFIER_STAGES, cuda=False)) as session:
        for case, image in _sample_batches(steps):
            expected, obtained = run_classifier(model, image), session.run({"image": image})
            records += [map_record(case, name, expected[name], obtained[name], FLOAT32.maps) for name in expected]
    return records


def _convert(model: Classifier) -> tuple[onnx.ModelProto, GraphRecord]:
    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        converted = convert_classifier(model, Path(folder)).graph
    graph = adopted(converted, TRUNK_NODES, "image", list(CLASSIFIER_STAGES))
    whole = helper.make_graph(
        graph.node,
        "pss-det",
        [value_info(record) for record in INPUTS],
        [value_info(record) for record in _outputs(model.arch.num_classes)],
        graph.initializer,
    )
    composed = helper.make_model(
        whole, producer_name="pss-det", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(composed, full_check=True)
    return composed, GraphRecord(OPSET, len(converted.node), len(whole.node))


def _outputs(classes: int) -> tuple[TensorRecord, ...]:
    return (
        TensorRecord("logits", "float32", ("N", classes), "one per label"),
        TensorRecord("probabilities", "float32", ("N", classes), "softmax of the logits"),
    )


def _sample_batches(steps: CentreCrop) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The bundled picture alone, with its mirror image, and uncropped: sides that no stride divides."""
    picture = sample_picture()
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    yield "picture", np.stack([crop_centre(picture, steps)])
    yield "batch of two", np.stack([crop_centre(each, steps) for each in (mirrored, picture)])
    yield "uncropped", normalise(resize_short_side(picture, steps.resize_short - 1), steps)[None]
