"""The exported model against Paddle, stage by stage, on a picture and on a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backends.onnx_runtime import OnnxRuntimeSession
from pssdet.models.card import StageRecord
from pssdet.models.detector import TwoStageDetector
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.reader import Preprocessing
from pssdet.models.reference_run import run_reference
from pssdet.models.stages import compare, tap_names

PICTURE = Path(__file__).resolve().parent / "assets" / "rendered_scene.jpg"


def verify(model: TwoStageDetector, onnx_file: Path, steps: Preprocessing) -> list[StageRecord]:
    """Agreement of ONNX Runtime with Paddle at every stage.

    Two cases are run: the bundled picture alone, and in a batch with its mirror image at the same
    padded size. A model that detects nothing is compared all the same.
    """
    session = OnnxRuntimeSession(onnx_file, tap_names(model.arch), cuda=False)
    records: list[StageRecord] = []
    for name, pictures in _cases():
        inputs = as_batch([prepare(picture, steps) for picture in pictures])
        records += compare(name, model.arch, run_reference(model, inputs), session.run(inputs))
    session.close()
    return records


def _cases() -> Iterator[tuple[str, list[NDArray[np.uint8]]]]:
    picture = cv2.cvtColor(cv2.imread(str(PICTURE)), cv2.COLOR_BGR2RGB)
    yield "picture", [picture]
    yield "batch of two", [np.ascontiguousarray(picture[:, ::-1]), picture]
