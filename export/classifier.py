"""What is particular to the export of a classifier: one graph, published names of parameters, centre crops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pssdet.engines.backend import Session
from pssdet.export.compose import adopted, assemble
from pssdet.export.convert import convert_classifier
from pssdet.export.tracing import OPSET
from pssdet.models.card import ClassifierCard, GraphRecord, StageRecord, TensorRecord
from pssdet.models.centre_crop import crop_centre, normalise, resize_short_side
from pssdet.models.checkpoint_formats.classifier_names import rename_classifier
from pssdet.models.classification import CLASSIFIER_STAGES, ClassifierEntry
from pssdet.models.network.classifier import Classifier, run_classifier
from pssdet.models.parameters import Parameters
from pssdet.models.reader import CentreCrop
from pssdet.models.sample import sample_picture
from pssdet.models.stages import FLOAT32, TRUNK_NODES, map_record

INPUTS = (TensorRecord("image", "float32", ("N", 3, "H", "W"), "normalised RGB; published at the crop's size"),)


@dataclass(frozen=True)
class ClassifierExport:
    """A classifier as the pipeline exports it.

    Attributes:
        entry: the classifier.
        model: it in Paddle; the pipeline gives it its parameters.
    """

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
        """The parameters of a classifier published under any of the known schemes of names.

        Raises:
            BadInput: the names are of no scheme, or of several.
        """
        return rename_classifier(found, self.entry.architecture.backbone, source)

    def convert(self) -> tuple[onnx.ModelProto, GraphRecord]:
        """The classifier in ONNX.

        Raises:
            GateFailed: paddle2onnx failed.
            EnvironmentMissing: paddle2onnx is not installed.
        """
        converted = convert_classifier(self.model).graph
        graph = adopted(converted, TRUNK_NODES, "image", list(CLASSIFIER_STAGES))
        return assemble(graph, INPUTS, self.outputs), GraphRecord(OPSET, len(converted.node), len(graph.node))

    def compare(self, session: Session) -> list[StageRecord]:
        """Agreement at every stage, for a picture, a batch and another size."""
        records: list[StageRecord] = []
        for case, image in _sample_batches(self.entry.preprocessing):
            expected, obtained = run_classifier(self.model, image), session.run({"image": image})
            records += [map_record(case, name, expected[name], obtained[name], FLOAT32.maps) for name in expected]
        return records

    def card(self, **common: Any) -> ClassifierCard:
        """The classifier's card, with the fields that all cards of exported models have."""
        return ClassifierCard(task="classification", inputs=INPUTS, outputs=self.outputs, **common)


def _sample_batches(steps: CentreCrop) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The bundled picture alone, with its mirror image, and uncropped: sides that no stride divides."""
    picture = sample_picture()
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    yield "picture", np.stack([crop_centre(picture, steps)])
    yield "batch of two", np.stack([crop_centre(each, steps) for each in (mirrored, picture)])
    yield "uncropped", normalise(resize_short_side(picture, steps.resize_short - 1), steps)[None]
