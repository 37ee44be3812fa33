"""A real engine with several streams: what each picture gets does not depend on what runs beside it."""

import numpy as np

from pssdet.engines.backend import Threading
from pssdet.images import NamedPicture
from pssdet.runtime.detector import Detector
from pssdet.validation.scenes.dataset import render_scene
from pssdet.validation.scenes.layout import SPLITS


def test_detections_are_those_of_one_picture_at_a_time(mini_folder):
    scenes = [render_scene(SPLITS["heldout"], index).picture for index in range(12)]
    engine = mini_folder / "onnxruntime-fp32"
    with Detector.load(engine, threading=Threading(threads=1)) as detector:
        alone = [detector([scene])[0] for scene in scenes]
    with Detector.load(engine, threading=Threading(threads=3, streams=3)) as detector:
        pictures = [NamedPicture(str(index), "", scene) for index, scene in enumerate(scenes)]
        streamed = list(detector.stream(pictures))
    assert [picture.name for picture, _ in streamed] == [str(index) for index in range(12)]
    for (_, found), wanted in zip(streamed, alone, strict=True):
        np.testing.assert_array_equal(found.to_paddle_rows(), wanted.to_paddle_rows())
