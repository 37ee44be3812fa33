"""The bundled detector on pictures of several sizes: what padding changes, and what it must not."""

import numpy as np
import pytest

from pssdet.runtime.detector import Detector
from pssdet.validation.agreement import agreement
from pssdet.validation.scenes.dataset import render_scene
from pssdet.validation.scenes.layout import SPLITS


@pytest.fixture(scope="module")
def pictures():
    """Held-out scenes, and an empty picture."""
    return [
        *(render_scene(SPLITS["heldout"], index).picture for index in range(9)),
        np.full((240, 320, 3), 120, "u1"),
    ]


@pytest.fixture(scope="module")
def alone(mini_folder, pictures):
    with Detector.load(mini_folder / "onnxruntime-fp32", max_batch=1) as detector:
        return detector(pictures)


def test_pictures_have_several_sizes_and_one_has_nothing(pictures, alone):
    assert len({picture.shape for picture in pictures}) >= 4
    assert len(alone[-1]) == 0
    assert sum(len(found) > 0 for found in alone) > 5


@pytest.mark.parametrize("seed", range(3))
def test_own_padding_gives_what_each_picture_gets_alone(mini_folder, pictures, alone, seed):
    order = np.random.default_rng(seed).permutation(len(pictures))
    with Detector.load(mini_folder / "onnxruntime-fp32", max_batch=4) as detector:
        together = detector([pictures[index] for index in order])
    for index, found in zip(order, together, strict=True):
        np.testing.assert_array_equal(found.labels, alone[index].labels)
        np.testing.assert_allclose(found.scores, alone[index].scores, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.boxes, alone[index].boxes, rtol=0, atol=1e-3)


def test_common_padding_changes_scores_but_no_bounds(mini_folder, pictures, alone):
    """The other detections that it gives are the reason why it is no default."""
    with Detector.load(mini_folder / "onnxruntime-fp32", max_batch=8, padding="common") as detector:
        together = detector(pictures)
    assert len(together[-1]) == 0
    for found in together:
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [found.width, found.height] * 2).all()
    assert agreement(alone, together).score_drift["max"] > 0.01
