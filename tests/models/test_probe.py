"""The probe of an export: small, the same bytes each time, samples that a comparison can stand on."""

import zipfile
from functools import partial

import numpy as np
import pytest
from reference import ROW4, ROWS

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.errors import BadInput
from pssdet.models.card import FileRecord, ProfileRecord, read_model_card
from pssdet.models.probe import make_probe, read_probe, write_probe
from pssdet.models.stages import FLOAT32, map_stages, region_stages, tap_names
from pssdet.models.zoo import find

STEPS = ROW4.preprocessing
GENERIC = "cascade_rcnn_dcn_r50_vd_fpn_gen_server_side"


@pytest.fixture(scope="module")
def probe(mini_folder):
    return read_probe(mini_folder, read_model_card(mini_folder).probe)


@pytest.fixture(scope="module")
def tensors(mini_folder, probe):
    """What ONNX Runtime gives for it."""
    card = read_model_card(mini_folder)
    session = OnnxRuntimeSession(mini_folder / "model.onnx", tap_names(card.architecture), cuda=False)
    return session.run(probe.inputs(card.preprocessing))


ARCH = find("mini_faster").architecture


def broken(probe, tensors):
    return [each.stage for each in probe.compare(ARCH, tensors, FLOAT32) if not each.passed]


def test_the_model_finds_things_in_it_and_agrees(probe, tensors):
    assert not probe.finds_nothing
    assert probe.picture.shape == (192, 256, 3)
    assert broken(probe, tensors) == []


@pytest.mark.parametrize("stage", [*map_stages(ARCH), *region_stages(ARCH), "proposals"])
def test_a_fault_of_any_stage_shows_in_its_samples(probe, tensors, stage):
    assert broken(probe, tensors | {stage: tensors[stage] * np.float32(1.01)}) == [stage]


def test_without_stages_the_detections_are_compared(probe, tensors):
    outputs = {name: tensors[name] for name in ("boxes", "scores", "labels", "count")}
    assert broken(probe, outputs) == []
    assert broken(probe, outputs | {"scores": outputs["scores"] * np.float32(0.99)}) == ["detections"]


def test_of_a_batch_the_first_image_counts(probe, tensors):
    batch = {name: np.concatenate([value, np.zeros_like(value)]) for name, value in tensors.items()}
    assert broken(probe, batch) == []


def test_a_map_of_another_size_differs(probe, tensors):
    assert broken(probe, tensors | {"p2": tensors["p2"][:, :3]}) == ["p2"]


def test_the_largest_value_is_among_the_samples(probe, tensors):
    for name in map_stages(ARCH):
        assert np.abs(probe.tensors[name]).max() == pytest.approx(np.abs(tensors[name]).max(), rel=1e-4)


class TestFile:
    def test_its_bytes_depend_on_the_content_alone(self, mini_folder, probe, tmp_path):
        write_probe(tmp_path / "again.npz", probe)
        stored = zipfile.ZipFile(mini_folder / "probe.npz").infolist()
        assert {member.date_time for member in stored} == {(1980, 1, 1, 0, 0, 0)}
        write_probe(tmp_path / "other.npz", probe)
        assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()

    def test_it_comes_back_as_it_was_written(self, probe, tmp_path):
        write_probe(tmp_path / "probe.npz", probe)
        back = read_probe(tmp_path, FileRecord.of(tmp_path / "probe.npz"))
        np.testing.assert_array_equal(back.picture, probe.picture)
        for ours, theirs in ((probe.tensors, back.tensors), (probe.positions, back.positions)):
            assert set(ours) == set(theirs)
            for name, value in ours.items():
                np.testing.assert_array_equal(value, theirs[name])

    @pytest.mark.parametrize("name", [*(entry.name for entry in ROWS.values()), GENERIC])
    def test_it_is_small_for_every_detector(self, name, tmp_path):
        """Noise, which does not compress, in the layout of the detector's stages."""
        entry = find(name)
        made = make_probe(entry.preprocessing, entry.architecture, partial(noise, entry.architecture))
        write_probe(tmp_path / "probe.npz", made)
        assert (tmp_path / "probe.npz").stat().st_size < 1_000_000

    def test_an_altered_one_is_refused(self, mini_folder, tmp_path):
        content = bytearray((mini_folder / "probe.npz").read_bytes())
        content[-100] ^= 1
        (tmp_path / "probe.npz").write_bytes(content)
        with pytest.raises(BadInput, match="sha256"):
            read_probe(tmp_path, read_model_card(mini_folder).probe)

    @pytest.mark.parametrize(
        "write",
        [
            lambda path: path.write_bytes(b"rubbish"),
            lambda path: path.write_bytes(b""),
            lambda path: np.savez(path, other=np.zeros(3)),
            lambda path: np.savez(path, picture=np.zeros((2, 2, 3), np.uint8)),
            lambda path: np.savez(path, picture=np.array([{}])),
        ],
        ids=["rubbish", "empty", "other arrays", "no outputs", "objects"],
    )
    def test_what_is_no_probe(self, tmp_path, write):
        write(tmp_path / "probe.npz")
        with pytest.raises(
            BadInput, match=r"probe\.npz (is no intact|has no array) .* is no probe of this version"
        ):
            read_probe(tmp_path, FileRecord.of(tmp_path / "probe.npz"))

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("picture", lambda value: value.astype(np.float32)),
            ("picture", lambda value: value[..., 0]),
            ("boxes", lambda value: value[:, :, :3]),
            ("scores", lambda value: value[:, :0]),
            ("labels", lambda value: value.astype(str)),
            ("count", lambda value: value[:0]),
            ("count", lambda value: value + 1000),
        ],
    )
    def test_other_shapes_and_types(self, mini_folder, tmp_path, name, change):
        with np.load(mini_folder / "probe.npz") as file:
            arrays = dict(file)
        np.savez(tmp_path / "probe.npz", **arrays | {name: change(arrays[name])})
        with pytest.raises(BadInput, match="holds arrays of other shapes or types than a probe has"):
            read_probe(tmp_path, FileRecord.of(tmp_path / "probe.npz"))


def noise(arch, inputs):
    """Tensors as the detector gives them for these inputs, all of them noise."""
    generator = np.random.default_rng(0)
    height, width = inputs["image"].shape[2:]
    slots = arch.post_nms_top_n

    def rows(*shape):
        return generator.normal(size=shape).astype(np.float32)

    def shape_of(name):
        if name.startswith("rois_"):
            return (1, slots, 4)
        if name.startswith("roi_features"):
            return (slots, arch.fpn_channels, 7, 7)
        if name == "class_probabilities":
            return (slots, arch.num_classes + 1)
        return (slots, arch.num_classes, 4)

    tensors = {name: rows(1, 64, height // 32, width // 32) for name in map_stages(arch)}
    tensors |= {name: rows(*shape_of(name)) for name in region_stages(arch)}
    tensors |= {"proposals": rows(1, slots, 4), "proposal_scores": rows(1, slots)}
    tensors |= {"proposal_count": np.array([slots], np.int32), "count": np.array([100], np.int32)}
    tensors |= {"boxes": rows(1, 100, 4), "scores": rows(1, 100), "labels": np.zeros((1, 100), np.int32)}
    return tensors


class TestInputs:
    def test_the_picture_is_not_resized(self, probe):
        inputs = probe.inputs(STEPS)
        assert inputs["image"].shape == (1, 3, 192, 256)
        pixels = (probe.picture / 255 - STEPS.mean) / STEPS.std
        np.testing.assert_allclose(inputs["image"][0], pixels.transpose(2, 0, 1), atol=1e-5)
        np.testing.assert_array_equal(inputs["image_size"], [[192, 256]])
        np.testing.assert_array_equal(inputs["original_size"], [[192, 256]])
        np.testing.assert_array_equal(inputs["scale_factor"], [[1, 1]])

    def test_the_first_profile_that_takes_it_says_how_often(self, probe):
        small, fitting = (
            ProfileRecord((1, 32, 32), (1, 64, 64), (8, 128, 128)),
            ProfileRecord((2, 192, 192), (2, 192, 256), (4, 256, 256)),
        )
        assert probe.inputs(STEPS, (small, fitting))["image"].shape == (2, 3, 192, 256)
        with pytest.raises(BadInput, match="192x256"):
            probe.inputs(STEPS, (small,))
