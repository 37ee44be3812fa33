"""The exported model against Paddle, stage by stage, on a picture and on a batch."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.models.card import StageRecord
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.reference_run import run_reference
from pssdet.models.reader import Preprocessing
from pssdet.models.sample import sample_batches
from pssdet.models.stages import compare, tap_names


def verify(model: TwoStageDetector, onnx_file: Path, steps: Preprocessing) -> list[StageRecord]:
    """Agreement of ONNX Runtime with Paddle at every stage.

    Two cases are run: the bundled picture alone, and in a batch with its mirror image at the same
    padded size. A model that detects nothing is compared all the same.
    """
    records: list[StageRecord] = []
    with closing(OnnxRuntimeSession(onnx_file, tap_names(model.arch), cuda=False)) as session:
        for name, inputs in sample_batches(steps):
            records += compare(name, model.arch, run_reference(model, inputs), session.run(inputs))
    return records
