"""Folders that cannot be calibrated on, and large ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engine import with_exif

from pssdet.engines.precision import calibration as module
from pssdet.engines.precision.calibration import _pictures, _prepared, calibrate, sha256_of_ranges
from pssdet.errors import BadInput
from pssdet.images import find_files, load
from pssdet.models.card import read_model_card
from pssdet.models.preprocess import prepare
from pssdet.models.zoo import find

DATA = Path(__file__).parents[2] / "data"


def write(path):
    cv2.imwrite(str(path), np.full((40, 50, 3), 90, np.uint8))


@pytest.fixture
def run(mini_folder):
    steps = read_model_card(mini_folder).preprocessing
    return lambda folder: calibrate(mini_folder / "model.onnx", steps, folder, ("c2",), lambda _: None)


def test_a_folder_that_is_not_there(run, tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        run(tmp_path / "nothing")


def test_a_folder_without_pictures(run, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(BadInput, match="no pictures"):
        run(tmp_path)


def test_a_picture_that_is_none(run, tmp_path):
    write(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"rubbish")
    with pytest.raises(BadInput, match=r"b\.jpg is damaged"):
        run(tmp_path)


def test_a_picture_whose_end_is_missing(run, tmp_path):
    write(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-20])
    with pytest.raises(
        BadInput, match=r"a\.jpg is a JPEG whose end is missing.*take it out of the calibration folder"
    ):
        run(tmp_path)


def test_pictures_are_read_as_the_detector_reads_them(tmp_path):
    """Upright as their EXIF data say, and the same files of a folder."""
    scene = DATA / "rendered_scene.jpg"
    (tmp_path / "turned.jpg").write_bytes(with_exif(scene.read_bytes(), 6))
    for name in ("b.jp2", ".hidden.png", "notes.txt"):
        write(tmp_path / name) if name != "notes.txt" else (tmp_path / name).touch()
    assert _pictures(tmp_path) == find_files([tmp_path]) == [tmp_path / "b.jp2", tmp_path / "turned.jpg"]
    steps = find("mini_faster").preprocessing
    *_, (_, inputs) = _prepared(_pictures(tmp_path), steps)
    wanted = prepare(np.ascontiguousarray(np.rot90(load(scene), -1)), steps).image
    np.testing.assert_array_equal(inputs["image"][0], wanted)


def test_a_large_folder_is_taken_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_PICTURES", 4)
    for index in range(10):
        write(tmp_path / f"{index}.png")
    assert [path.stem for path in _pictures(tmp_path)] == ["0", "2", "5", "7"]


def test_progress_names_the_pictures(mini_folder, tmp_path):
    for index in range(3):
        write(tmp_path / f"{index}.png")
    steps, messages = read_model_card(mini_folder).preprocessing, []
    histograms, count = calibrate(mini_folder / "model.onnx", steps, tmp_path, ("c2",), messages.append)
    assert (count, messages) == (3, ["calibrating on pictures 1 to 3"])
    assert histograms["c2"].counts.sum() > 0


def test_equal_ranges_have_equal_hashes():
    first = sha256_of_ranges({"a": 1.0, "b": 0.1})
    assert first == sha256_of_ranges({"b": np.float32(0.1), "a": 1})
    assert first != sha256_of_ranges({"a": 1.0, "b": 0.1001})
