"""Bundles: written, read, refused when altered; their pictures equal the reader's own to the bit."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.zoo import find
from pssdet.validation.gpu_check.bundle import (
    CARD,
    OUTPUTS,
    Bundle,
    Case,
    Picture,
    network_image,
    save_arrays,
    write_bundle,
)

FILE = Path(__file__).resolve().parents[2] / "data" / "rendered_scene.jpg"
STEPS = find("mini_faster").preprocessing
CASE = Case(
    "tiny",
    "mini_faster",
    False,  # noqa: FBT003
    STEPS.mean,
    STEPS.std,
    ("trunk/Conv_7",),
    {"fp32": {"score": 1e-3}},
    ("onnxruntime",),
    (1, 2),
    {},
)


def pictures():
    rng = np.random.RandomState(0)
    sizes = ((40, 64), (64, 33), (50, 50))
    contents = [rng.randint(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    return [Picture(content, (80.0 + index, 90.0), 0.5 + index / 7) for index, content in enumerate(contents)]


def outputs(index):
    shapes = {"boxes": (1, 2, 4), "scores": (1, 2), "labels": (1, 2), "count": (1,)}
    return {name: np.full(shapes[name], index, np.float32) for name in OUTPUTS}


EXPECTED = {"onnxruntime": [outputs(index) for index in range(3)]}


@pytest.fixture
def folder(tmp_path):
    write_bundle(
        tmp_path,
        CASE,
        onnx.ModelProto(ir_version=9),
        pictures(),
        {"onnxruntime": [outputs(i) for i in range(3)]},
    )
    return tmp_path


def test_everything_comes_back(folder):
    bundle = Bundle(folder)
    assert (bundle.case.name, bundle.case.fp32, bundle.case.batches) == ("tiny", ("trunk/Conv_7",), (1, 2))
    assert len(bundle.pictures) == 3
    for index, picture in enumerate(pictures()):
        again = bundle.pictures[index]
        np.testing.assert_array_equal(again.content, picture.content)
        assert (again.original_size, again.scale) == (picture.original_size, picture.scale)
    np.testing.assert_array_equal(bundle.expected("onnxruntime")["count"], [0, 1, 2])
    assert bundle.model().ir_version == 9


def test_a_batch_has_the_models_inputs(folder):
    bundle = Bundle(folder)
    assert [picture.padded_size for picture in bundle.pictures] == [(64, 64)] * 3
    batch = bundle.case.inputs([bundle.pictures[2], bundle.pictures[0]])
    assert {name: (values.shape, values.dtype) for name, values in batch.items()} == {
        "image": ((2, 3, 64, 64), np.float32),
        "image_size": ((2, 2), np.float32),
        "original_size": ((2, 2), np.float32),
        "scale_factor": ((2, 2), np.float32),
    }
    np.testing.assert_array_equal(batch["image_size"], [[50, 50], [40, 64]])
    np.testing.assert_array_equal(batch["original_size"], [[82, 90], [80, 90]])
    assert (batch["image"][1, :, 40:] == 0).all()
    assert len(bundle.cycled(5)["image"]) == 5


def test_a_picture_is_the_readers_to_the_bit():
    content = cv2.cvtColor(cv2.imread(str(FILE)), cv2.COLOR_BGR2RGB)
    wanted = as_batch([prepare(content, STEPS)])["image"][0]
    scale = 256 / max(content.shape[:2])
    resized = cv2.resize(content, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    assert max(resized.shape) == 256
    np.testing.assert_array_equal(network_image(resized, STEPS.mean, STEPS.std), wanted)


@pytest.mark.parametrize("name", ["model.onnx", "pictures.npz", "expected.npz"])
def test_an_altered_file_is_noticed(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes() + b"x")
    with pytest.raises(BadInput, match=f"{name} is missing or not what was packed"):
        Bundle(folder)


def test_another_version_and_no_bundle_at_all(folder, tmp_path):
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, "schema": 0}))
    with pytest.raises(BadInput, match="another version"):
        Bundle(folder)
    with pytest.raises(EnvironmentMissing, match="gpu-check --pack"):
        Bundle(tmp_path / "nowhere")


def test_identity_is_that_of_the_content(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_bundle(
        other, CASE, onnx.ModelProto(ir_version=8), pictures(), {"onnxruntime": [outputs(i) for i in range(3)]}
    )
    assert Bundle(folder).identity() != Bundle(other).identity()


def test_a_probe_travels_alone(tmp_path):
    """Without pictures; of the stages, where they were sampled."""
    picture = np.random.RandomState(1).randint(0, 256, (40, 64, 3)).astype(np.uint8)
    stages = {"c2": np.float32([[1, 2]]), "c2/positions": np.int64([3, 4])}
    save_arrays(tmp_path / "probe.npz", {"picture": picture, **outputs(7), **stages})
    write_bundle(tmp_path, CASE, onnx.ModelProto(ir_version=9), [], {})
    bundle = Bundle(tmp_path)
    assert (bundle.pictures, set(bundle.case.files)) == ([], {"model.onnx", "probe.npz"})
    probe = bundle.probe()
    np.testing.assert_array_equal(probe.picture.content, picture)
    assert (probe.picture.original_size, probe.picture.scale) == ((40.0, 64.0), 1.0)
    assert set(probe.outputs) == set(OUTPUTS)
    assert (set(probe.stages), probe.positions["c2"].tolist()) == ({"c2"}, [3, 4])


def test_a_bundle_without_a_probe(folder):
    with pytest.raises(BadInput, match="has no probe"):
        Bundle(folder).probe()
