"""Make ``tests/data/golden/engine`` and ``pictures``: an engine of a tiny detector, and what it finds.

    python tests/golden/make_engine.py

The committed engine was made by version 0.1.0 and stands for engines that users have built: a later version
must open it and find the same. It is made again only when the schema of the cards changes.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from pssdet.engines.build_engine import build_engine
from pssdet.engines.registry import choose_backend
from pssdet.export.pipeline import export_model
from pssdet.models.architecture import Architecture
from pssdet.models.numerics import DYGRAPH
from pssdet.models.reader import Preprocessing
from pssdet.models.zoo import ZooEntry
from pssdet.runtime.detector import Detector

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from golden_files import GOLDEN  # noqa: E402

TINY = ZooEntry(
    0,
    "tiny_faster",
    "the published detectors' code at its smallest, with seeded parameters",
    "",
    None,
    Architecture(
        blocks=(1, 1, 1, 1),
        stem_width=4,
        base_width=4,
        fpn_channels=8,
        head_width=16,
        num_classes=3,
        anchor_sizes=(16.0, 32.0, 64.0, 128.0, 256.0),
        pre_nms_top_n=50,
        post_nms_top_n=20,
    ),
    DYGRAPH,
    Preprocessing(128, 128, interpolation="cubic", resize="first"),
    labels=("circle", "square", "star"),
)
SIZES = {"wide.png": (72, 120), "tall.png": (150, 100)}


def main():
    for name, size in SIZES.items():
        path = GOLDEN / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(*size))
    shutil.rmtree(GOLDEN / "engine", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        export_model(TINY, "none", Path(folder) / TINY.name)
        backend = choose_backend("onnxruntime", "fp32")
        build_engine(Path(folder) / TINY.name, backend, "fp32", GOLDEN / "engine")
    with Detector.load(GOLDEN / "engine") as detector:
        found = {name: detector([GOLDEN / "pictures" / name])[0].to_json() for name in SIZES}
    (GOLDEN / "detections.json").write_text(json.dumps(found, indent=1) + "\n")


def picture(height, width):
    """Coloured tiles of 12 pixels, uint8 [height, width, 3]."""
    tiles = np.random.RandomState(height).randint(0, 256, (-(-height // 12), -(-width // 12), 3), np.uint8)
    return np.kron(tiles, np.ones((12, 12, 1), np.uint8))[:height, :width]


if __name__ == "__main__":
    main()
