"""One export of a detector or classifier: parameters, Paddle model, ONNX file, verification, card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import inliner

from pssdet.console import Progress
from pssdet.engines.backend import Session
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.errors import GateFailed
from pssdet.export.compose import INPUTS, OUTPUTS, adopted, assemble, compose
from pssdet.export.convert import convert_classifier, convert_head, convert_trunk
from pssdet.export.tracing import OPSET
from pssdet.files import staged_folder
from pssdet.models.card import (
    MODEL_CARD,
    MODEL_ONNX,
    ClassifierCard,
    FileRecord,
    GraphRecord,
    ModelCard,
    StageRecord,
    TensorRecord,
    encode,
    installed_versions,
)
from pssdet.models.checkpoint_formats.parameter_names import rename_classifier
from pssdet.models.classification import CLASSIFIER_STAGES, ClassifierEntry
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.layers import Classifier
from pssdet.models.network.reference_run import parameter_shapes, run_classifier, run_reference, with_parameters
from pssdet.models.parameters import Parameters, load_parameters
from pssdet.models.preprocess import crop_centre, normalise, resize_short_side, sample_batches, sample_picture
from pssdet.models.probe import PROBE, make_probe, write_probe
from pssdet.models.reader import CentreCrop
from pssdet.models.stages import FLOAT32, HEAD_NODES, TRUNK_NODES, compare, first_broken, map_record, tap_names
from pssdet.models.zoo import ZooEntry

#: Whose versions an exported model's card records.
PACKAGES = ("paddlepaddle", "paddle2onnx", "onnx", "onnxruntime", "numpy", "opencv-python-headless")

_CLASSIFIER_INPUTS = (
    TensorRecord("image", "float32", ("N", 3, "H", "W"), "normalised RGB; published at the crop's size"),
)


@dataclass(frozen=True)
class DetectorExport:
    """A detector as the pipeline exports it; the pipeline gives ``model`` its parameters."""

    entry: ZooEntry
    model: TwoStageDetector

    @property
    def tapped(self) -> tuple[str, ...]:
        """Every stage of the detector."""
        return tap_names(self.entry.architecture)

    def rename(self, found: Parameters, source: str) -> Parameters:
        """Nothing to do: a detector's checkpoint is read under the model's names."""
        del source
        return found

    def convert(self) -> tuple[onnx.ModelProto, GraphRecord]:
        """The whole detector in ONNX.

        Raises:
            GateFailed: paddle2onnx failed, or a function cannot be inlined.
            EnvironmentMissing: paddle2onnx is not installed.
        """
        arch = self.entry.architecture
        trunk = convert_trunk(self.model)
        heads = [convert_head(self.model, head) for head in range(arch.num_heads)]
        converted = sum(len(part.graph.node) for part in (trunk, *heads))
        composed = compose(trunk, heads, arch, self.entry.numerics)
        nodes = _inlined_nodes(composed)
        network = sum(node.name.startswith((TRUNK_NODES, HEAD_NODES)) for node in composed.graph.node)
        return composed, GraphRecord(OPSET, converted + nodes - network, nodes)

    def compare(self, session: Session, folder: Path) -> list[StageRecord]:
        """Agreement at every stage, for the bundled picture alone and with its mirror image, and for the probe.

        The probe is written into ``folder``.
        """
        records: list[StageRecord] = []
        for name, inputs in sample_batches(self.entry.preprocessing):
            expected, obtained = run_reference(self.model, inputs), session.run(inputs)
            records += compare(name, self.entry.architecture, expected, obtained)
        steps, arch = self.entry.preprocessing, self.entry.architecture
        probe = make_probe(steps, arch, partial(run_reference, self.model))
        write_probe(folder / PROBE, probe)
        return [*records, *probe.compare(arch, session.run(probe.inputs(steps)), FLOAT32)]

    def card(self, folder: Path, **common: Any) -> ModelCard:
        """The detector's card; ``common`` are the fields that every model's card has."""
        probe = FileRecord.of(folder / PROBE)
        return ModelCard(numerics=self.entry.numerics, inputs=INPUTS, outputs=OUTPUTS, probe=probe, **common)


def _inlined_nodes(model: onnx.ModelProto) -> int:
    """Nodes of the graph once every function is inlined.

    Raises:
        GateFailed: a call would stay, so a runtime without functions could not run the model.
    """
    nodes = inliner.inline_local_functions(model).graph.node
    left = sorted({node.op_type for node in nodes if node.domain not in ("", "ai.onnx")})
    if left:
        raise GateFailed(f"functions {left} cannot be inlined; model and functions must have one opset")
    return len(nodes)


@dataclass(frozen=True)
class ClassifierExport:
    """A classifier as the pipeline exports it; see ``DetectorExport``."""

    entry: ClassifierEntry
    model: Classifier

    @property
    def tapped(self) -> tuple[str, ...]:
        """Every stage of the classifier."""
        return CLASSIFIER_STAGES

    @property
    def outputs(self) -> tuple[TensorRecord, ...]:
        """The exported model's outputs."""
        classes = self.entry.architecture.num_classes
        return (
            TensorRecord("logits", "float32", ("N", classes), "one per label"),
            TensorRecord("probabilities", "float32", ("N", classes), "softmax of the logits"),
        )

    def rename(self, found: Parameters, source: str) -> Parameters:
        """The parameters of a classifier published under any known scheme of names."""
        return rename_classifier(found, self.entry.architecture.backbone, source)

    def convert(self) -> tuple[onnx.ModelProto, GraphRecord]:
        """The classifier in ONNX; raises as for a detector."""
        converted = convert_classifier(self.model).graph
        graph = adopted(converted, TRUNK_NODES, "image", list(CLASSIFIER_STAGES))
        return assemble(graph, _CLASSIFIER_INPUTS, self.outputs), GraphRecord(
            OPSET, len(converted.node), len(graph.node)
        )

    def compare(self, session: Session, folder: Path) -> list[StageRecord]:
        """Agreement at every stage, for a picture, a batch and another size."""
        del folder
        records: list[StageRecord] = []
        for case, image in _sample_batches(self.entry.preprocessing):
            expected, obtained = run_classifier(self.model, image), session.run({"image": image})
            records += [
                map_record(case, name, expected[name], obtained[name], FLOAT32.maps) for name in expected
            ]
        return records

    def card(self, folder: Path, **common: Any) -> ClassifierCard:
        """The classifier's card; see ``DetectorExport.card``."""
        del folder
        return ClassifierCard(task="classification", inputs=_CLASSIFIER_INPUTS, outputs=self.outputs, **common)


def _sample_batches(steps: CentreCrop) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The bundled picture alone, with its mirror image, and uncropped: sides that no stride divides."""
    picture = sample_picture()
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    yield "picture", np.stack([crop_centre(picture, steps)])
    yield "batch of two", np.stack([crop_centre(each, steps) for each in (mirrored, picture)])
    yield "uncropped", normalise(resize_short_side(picture, steps.resize_short - 1), steps)[None]


def export_model(
    entry: ZooEntry | ClassifierEntry, weights: str, output: Path, progress: Progress = lambda _: None
) -> ModelCard | ClassifierCard:
    """Export a model into ``output``: ``model.onnx`` and ``model.json``, or nothing at all.

    Args:
        weights: checkpoint file, folder or URL; ``none``: seeded random parameters; empty: the published ones.

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
            records = task.compare(session, folder)
        if broken := first_broken(records):
            raise GateFailed(f"the exported model differs from Paddle {broken}; nothing was written")
        card = task.card(
            folder,
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
