"""What a report is about unless something else is asked for: the bundled detectors on held-out scenes."""

from __future__ import annotations

from pathlib import Path

from pssdet.commands.artifacts import ARTIFACTS, engine_of
from pssdet.console import Progress
from pssdet.models.card import Precision
from pssdet.models.zoo import bundled
from pssdet.validation.scenes.dataset import ensure_dataset

#: Of each detector.
_ENGINES: tuple[tuple[str, Precision], ...] = (("paddle", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "fp16"))


def bundled_engines(progress: Progress) -> list[Path]:
    """Folders of the bundled detectors' engines, made if missing."""
    return [
        engine_of(entry.name, backend, precision, progress) for entry in bundled() for backend, precision in _ENGINES
    ]


def held_out_scenes(count: int, progress: Progress) -> tuple[Path, Path]:
    """Annotation file and folder of the first ``count`` held-out scenes, rendered if missing."""
    progress(f"rendering {count} held-out scenes")
    folder = ARTIFACTS / "scenes" / f"heldout-{count}"
    return ensure_dataset(folder, "heldout", count), folder
