"""Real engines with several streams: what each picture gets does not depend on what runs beside it."""

import numpy as np
import pytest

from pssdet.engines.backend import Threading
from pssdet.engines.build_engine import build_engine
from pssdet.engines.ov.session import OWN
from pssdet.engines.registry import backend_named
from pssdet.images import NamedPicture
from pssdet.runtime.detector import Detector
from pssdet.validation.scenes.dataset import render_scene
from pssdet.validation.scenes.layout import SPLITS

#: Pictures of a size, which follow one another, so that several are under way at once.
EACH = 4
#: Parts of a scene's width and height; each gives another padded size.
PARTS = [(1.0, 1.0), (0.5, 1.0), (0.75, 1.0), (1.0, 0.5), (1.0, 0.75), (0.6, 1.0)]


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine(request, mini_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / "cache"))
    if request.param == "onnxruntime":
        return mini_folder / "onnxruntime-fp32"
    pytest.importorskip("openvino")
    build_engine(mini_folder, backend_named("openvino"), "fp32", tmp_path / "engine")
    return tmp_path / "engine"


def part_of(scene, index):
    width, height = PARTS[index // EACH]
    return scene[: int(height * scene.shape[0]), : int(width * scene.shape[1])].copy()


def test_detections_are_those_of_one_picture_at_a_time(engine):
    count = EACH * len(PARTS)
    scenes = [part_of(render_scene(SPLITS["heldout"], index).picture, index) for index in range(count)]
    with Detector.load(engine, threading=Threading(threads=1)) as detector:
        steps = detector.card.model.preprocessing
        sizes = {detector.preprocessor.prepare(scene, steps).image.shape for scene in scenes}
        assert len(sizes) > OWN
        alone = [detector([scene])[0] for scene in scenes]
    with Detector.load(engine, threading=Threading(threads=3, streams=3)) as detector:
        pictures = [NamedPicture(str(index), "", scene) for index, scene in enumerate(scenes)]
        streamed = list(detector.stream(pictures))
    assert [picture.name for picture, _ in streamed] == [str(index) for index in range(count)]
    assert sum(map(len, alone)) > count
    for (_, found), wanted in zip(streamed, alone, strict=True):
        if detector.card.backend == "onnxruntime":
            np.testing.assert_array_equal(found.to_paddle_rows(), wanted.to_paddle_rows())
        else:  # the number of threads changes the order of sums
            np.testing.assert_array_equal(found.labels, wanted.labels)
            np.testing.assert_allclose(found.scores, wanted.scores, rtol=0, atol=1e-5)
            np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=1e-2)
