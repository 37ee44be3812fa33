"""The classifier computes what PaddleClas does, from a checkpoint under any of the published names."""

import pickle
import re

import numpy as np
import pytest
from classifier_parts import (
    NARROW,
    manifest,
    reference,
    reference_input,
    static_values,
    under_old_names,
)

from pssdet.errors import BadInput
from pssdet.models.checkpoint_formats.checkpoint import match_parameters, read_checkpoint
from pssdet.models.checkpoint_formats.parameter_names import rename_classifier, to_structured
from pssdet.models.classification import ClassifierArchitecture
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.layers import Classifier
from pssdet.models.network.reference_run import parameter_shapes, run_classifier, with_parameters
from pssdet.models.numerics import DYGRAPH
from pssdet.models.parameters import load_parameters, seeded_parameters

R50 = ClassifierArchitecture()


@pytest.fixture(scope="module")
def values():
    return static_values()


@pytest.fixture(scope="module")
def expected(values):
    """The parameters under this project's names, by way of the static ones."""
    return to_structured(values)[0]


def test_logits_of_the_original_program(tmp_path, values):
    path = tmp_path / "ResNet50_vd_ssld_pretrained.pdparams"
    old = {name: values[static] for static, name, _, _ in manifest()}
    table = {name: static for static, name, _, _ in manifest()}
    path.write_bytes(pickle.dumps({**old, "StructuredToParameterName@@": table}, protocol=2))
    model = Classifier(R50)
    rename = lambda found, source: rename_classifier(found, R50.backbone, source)  # noqa: E731
    parameters, record = load_parameters(str(path), parameter_shapes(model), rename=rename)
    assert record.kind == "checkpoint"
    with_parameters(model, parameters)
    stored, image = reference(), reference_input()
    np.testing.assert_allclose(image.sum(dtype=np.float64), stored["input_sum"], rtol=1e-9)
    stages = run_classifier(model, image)
    largest = np.abs(stored["logits"]).max()
    np.testing.assert_allclose(stages["logits"], stored["logits"], rtol=0, atol=1e-5 * largest)
    np.testing.assert_allclose(stages["probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert [stages[name].shape[2:] for name in ("c2", "c3", "c4", "c5")] == [(25, 33), (13, 17), (7, 9), (4, 5)]


class TestNames:
    @pytest.mark.parametrize("column", [1, 2], ids=["PaddleClas 2.0", "PaddleClas 2.5"])
    def test_of_either_version(self, values, expected, column):
        renamed = rename_classifier({row[column]: values[row[0]] for row in manifest()}, R50.backbone, "x")
        assert len(renamed) == len(expected) == 277
        assert all(renamed[name] is expected[name] for name in expected)

    def test_of_a_static_archive_and_with_or_without_the_prefix(self, expected):
        assert rename_classifier(expected, R50.backbone, "x") == expected
        bare = {name.removeprefix("backbone."): value for name, value in expected.items()}
        assert rename_classifier(bare, R50.backbone, "x") == expected

    def test_unknown_ones_are_named(self, expected):
        names = expected | dict.fromkeys([f"alien{i}" for i in range(7)])
        with pytest.raises(BadInput, match=re.escape("x holds 7 unknown parameters (alien0, alien1, alien2")):
            rename_classifier(names, R50.backbone, "x")

    def test_of_a_deeper_network(self):
        with pytest.raises(
            BadInput, match=r"1 unknown parameters \(bb_2_6\.conv0\._conv\.weight\).*3-4-6-3 blocks"
        ):
            rename_classifier({"bb_2_6.conv0._conv.weight": None, "fc.bias": None}, R50.backbone, "x")

    def test_one_parameter_under_two_names(self):
        with pytest.raises(BadInput, match=r"fc\.bias under several names"):
            rename_classifier({"fc.bias": None, "out.bias": None}, R50.backbone, "x")

    def test_long_stages_are_numbered(self):
        deep = ClassifierArchitecture(blocks=(3, 4, 23, 3)).backbone
        names = ["bb_2_22.conv1._conv.weight", "blocks.30.short.bn._mean"]
        assert list(rename_classifier(dict.fromkeys(names), deep, "x")) == [
            "backbone.res4.res4b22.branch2b.conv.weight",
            "backbone.res5.res5a.short.conv.norm._mean",
        ]


def load_backbone(model, checkpoint):
    """Start a detector's backbone from a classifier's checkpoint; what predicts offsets keeps what it has."""
    found = rename_classifier(read_checkpoint(checkpoint), model.arch, str(checkpoint))
    state = model.state_dict()
    expected = {
        name: tuple(value.shape)
        for name, value in state.items()
        if name.startswith("backbone.") and ".conv_offset." not in name
    }
    backbone = {name: value for name, value in found.items() if name.startswith("backbone.")}
    for name, value in match_parameters(backbone, expected, str(checkpoint)).items():
        state[name].set_value(value)


class TestIntoABackbone:
    @pytest.fixture
    def detector(self):
        arch = NARROW.backbone
        arch = type(arch)(
            arch.blocks, arch.stem_width, arch.base_width, fpn_channels=8, head_width=16, num_classes=2
        )
        return TwoStageDetector(arch, DYGRAPH)

    @pytest.fixture
    def parameters(self):
        return seeded_parameters(parameter_shapes(Classifier(NARROW)))

    def written(self, folder, parameters):
        (folder / "x.pdparams").write_bytes(pickle.dumps(under_old_names(parameters, NARROW), protocol=2))
        return folder / "x.pdparams"

    def test_every_parameter_but_the_offsets(self, tmp_path, detector, parameters):
        before = {name: value.numpy() for name, value in detector.state_dict().items()}
        load_backbone(detector, self.written(tmp_path, parameters))
        after = {name: value.numpy() for name, value in detector.state_dict().items()}
        loaded = {name for name in parameters if name.startswith("backbone.")}
        offsets = {name for name in after if "conv_offset" in name}
        assert loaded | offsets == {name for name in after if name.startswith("backbone.")}
        assert len(offsets) == 2 * (1 + 2 + 1)
        for name, value in after.items():
            np.testing.assert_array_equal(value, parameters[name] if name in loaded else before[name])
        assert not any(after[name].any() for name in offsets)

    @pytest.mark.parametrize("change", ["missing", "of another shape"])
    def test_a_checkpoint_that_does_not_fit_changes_nothing(self, tmp_path, detector, parameters, change):
        name = "backbone.res3.res3a.short.conv.norm.bias"
        before = {name: value.numpy() for name, value in detector.state_dict().items()}
        parameters = {each: value[..., :1] if each == name else value for each, value in parameters.items()}
        if change == "missing":
            del parameters[name]
        with pytest.raises(BadInput, match=rf"1 {change} \({re.escape(name)}"):
            load_backbone(detector, self.written(tmp_path, parameters))
        for name, value in detector.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), before[name])
