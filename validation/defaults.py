"""What a report is about unless something else is asked for: the bundled detector on held-out scenes."""

from __future__ import annotations

from pathlib import Path

from pssdet.console import Progress
from pssdet.engines.on_demand import ARTIFACTS, engine_of
from pssdet.models.card import Precision
from pssdet.models.zoo import DEFAULT_MODEL
from pssdet.validation.scene_files import ensure_dataset

#: Paddle first: it is the reference.
_ENGINES: tuple[tuple[str, Precision], ...] = (("paddle", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "fp16"))


def bundled_engines(progress: Progress) -> list[Path]:
    """Folders of the bundled detector's engines, made if missing."""
    return [engine_of(DEFAULT_MODEL, backend, precision, progress) for backend, precision in _ENGINES]


def held_out_scenes(count: int, progress: Progress) -> tuple[Path, Path]:
    """Annotation file and folder of the first ``count`` held-out scenes, rendered if missing."""
    progress(f"rendering {count} held-out scenes")
    folder = ARTIFACTS / "scenes" / f"heldout-{count}"
    return ensure_dataset(folder, "heldout", count), folder
