"""An engine without a network: what it "finds" in a picture depends on that picture alone."""

import struct
from pathlib import Path

import cv2
import numpy as np

from pssdet.engines.registry import OpenEngine
from pssdet.models.architecture import Architecture
from pssdet.models.card import EngineCard, FileRecord, GraphRecord, ModelCard, WeightsRecord
from pssdet.models.numerics import DYGRAPH
from pssdet.models.reader import Preprocessing

LABELS = ("cat", "dog", "bird")
MAX = 100


class FakeSession:
    """Two detections per picture, worse score first, with rubbish in the padding rows."""

    def __init__(self):
        self.batches = []
        self.closed = False

    def run(self, inputs):
        assert {name: value.dtype for name, value in inputs.items()} == dict.fromkeys(
            ("image", "image_size", "original_size", "scale_factor"), np.dtype(np.float32)
        )
        self.batches.append(inputs)
        return self.answer(inputs)

    def answer(self, inputs):
        n = len(inputs["image"])
        outputs = {
            "boxes": np.full((n, MAX, 4), np.nan, np.float32),
            "scores": np.full((n, MAX), np.nan, np.float32),
            "labels": np.full((n, MAX), -1, np.int32),
            "count": np.full(n, 2, np.int32),
        }
        for index in range(n):
            height, width = inputs["original_size"][index]
            brightness = score_of(inputs["image"][index])
            outputs["boxes"][index, :2] = [[1, 2, width / 2, height / 2], [0, 0, width, height]]
            outputs["scores"][index, :2] = [brightness / 2, brightness]
            outputs["labels"][index, :2] = [2, 0]
        return outputs

    def close(self):
        self.closed = True


def score_of(image):
    """A score between 0.55 and 0.95 that differs from picture to picture."""
    return 0.75 + 0.2 * np.tanh(image.mean(dtype=np.float64))


def fake_card(preprocessing=None):
    steps = preprocessing or Preprocessing(64, 96, interpolation="linear", resize="first")
    file = FileRecord("model.onnx", "0" * 64, 1)
    model = ModelCard(
        model="fake",
        architecture=Architecture(num_classes=len(LABELS)),
        numerics=DYGRAPH,
        preprocessing=steps,
        labels=LABELS,
        weights=WeightsRecord("checkpoint", "fake.pdparams"),
        onnx=file,
        inputs=(),
        outputs=(),
        graph=GraphRecord(19, 1, 1),
        versions={},
        verification=(),
    )
    return EngineCard(
        "fake",
        "fp32",
        emulated=False,
        files=(),
        fp32_nodes=0,
        versions={},
        machine="",
        build_seconds=0.0,
        verification=(),
        model=model,
    )


def fake_engine(session=None, preprocessing=None):
    return OpenEngine(fake_card(preprocessing), session or FakeSession())


def picture(width, height, level=100, seed=0):
    """Noise around a grey level, uint8 [height, width, 3]."""
    noise = np.random.default_rng(seed).integers(-40, 40, (height, width, 3))
    return np.clip(noise + level, 0, 255).astype(np.uint8)


def with_exif(jpeg, orientation, thumbnail=b""):
    """The JPEG with an Exif segment; an embedded thumbnail brings its own end marker."""
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, orientation) + struct.pack("<I", 0)
    body = b"Exif\0\0" + tiff + thumbnail
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def write_picture(path, *args, **kwargs):
    """A lossless picture file; returns its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = picture(*args, **kwargs)
    path.write_bytes(cv2.imencode(path.suffix, pixels[..., ::-1])[1].tobytes())
    return path
