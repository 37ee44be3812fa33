"""Variants that only a configuration describes, from their checkpoints to ONNX.

Their checkpoints are saved by Paddle from the variant's own parameters, under the names of either era.
"""

import numpy as np
import pytest
from configurations import CASCADE, DYGRAPH, FASTER, read_varied, write_varied
from reference import DATA
from static_parameters import read_manifest
from test_scripts import assert_one_line_error, run

from pssdet.errors import BadInput
from pssdet.models.card import read_model_card
from pssdet.models.checkpoint_formats.parameter_names import structured_name
from pssdet.models.parameters import load_parameters

#: What keeps the work small; the backbone of 50 layers stays as it is.
SMALL_DYGRAPH = """
ResNet: {depth: 50}
FPN: {out_channel: 16}
TwoFCHead: {out_channel: 32}
RPNHead:
  anchor_generator: {anchor_sizes: [[8], [16], [32], [64], [128]], aspect_ratios: [0.5, 2.0]}
  test_proposal: {pre_nms_top_n: 60, post_nms_top_n: 80}
BBoxHead: {roi_extractor: {aligned: false, sampling_ratio: 1}}
TestReader:
  sample_transforms:
  - Decode: {}
  - Resize: {target_size: [96, 128], keep_ratio: true}
  - NormalizeImage: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
  - Permute: {}
"""
SMALL_FASTER = "{FPN: {num_chan: 16}, FPNRPNHead: {num_chan: 16}, TwoFCHead: {mlp_dim: 32}}"
SMALL_CASCADE = "{FPN: {num_chan: 8}, FPNRPNHead: {num_chan: 8}, CascadeTwoFCHead: {mlp_dim: 16}}"


def shapes_of(entry):
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import parameter_shapes

    return parameter_shapes(TwoStageDetector(entry.architecture, entry.numerics))


def save(path, shapes):
    """A checkpoint of seeded values, as PaddleDetection saves it; also the values."""
    import paddle

    from pssdet.models.parameters import seeded_parameters

    values = seeded_parameters(shapes)
    paddle.save({name: paddle.to_tensor(value) for name, value in values.items()}, str(path))
    return values


def static_names(row):
    """Structured names to those of the static program, which the published detector of that row has."""
    cascade = row > 1
    names = read_manifest(DATA / f"row{row}.tsv")
    return {structured_name(name, cascade=cascade): name for name in names}


def test_a_variant_with_its_checkpoint_becomes_onnx(tmp_path):
    config = write_varied(DYGRAPH, SMALL_DYGRAPH, tmp_path)
    values = save(tmp_path / "own.pdparams", shapes_of(read_varied(DYGRAPH, SMALL_DYGRAPH)))
    code, out, err = run("export/to_onnx.py", "--config", config, "--weights", "own.pdparams", folder=tmp_path)
    assert code == 0, err
    assert "FPN 16, 80 proposals, 3 classes (numbered), test size 96/128" in err
    assert "wrote artifacts/varied/model.onnx" in out
    card = read_model_card(tmp_path / "artifacts" / "varied")
    assert card.model == "varied"
    assert card.labels == ("class 0", "class 1", "class 2")
    assert (card.preprocessing.short_side, card.preprocessing.long_side) == (96, 128)
    assert card.numerics.roi_aligned is False
    assert card.architecture.anchor_ratios == (0.5, 2.0)
    assert card.weights.kind == "checkpoint"
    assert all(record.passed for record in card.verification)
    assert any(record.stage == "detections" and record.share == 1.0 for record in card.verification)
    assert sum(value.size for value in values.values()) * 4 < card.onnx.bytes * 1.1


@pytest.mark.parametrize(("path", "changes", "row"), [(FASTER, SMALL_FASTER, 1), (CASCADE, SMALL_CASCADE, 3)])
def test_static_checkpoints_fit_their_configurations(path, changes, row, tmp_path):
    shapes = shapes_of(read_varied(path, changes))
    names = static_names(row)
    values = save(tmp_path / "own.pdparams", {names[name]: shape for name, shape in shapes.items()})
    found, record = load_parameters(str(tmp_path / "own.pdparams"), shapes)
    assert record.kind == "checkpoint"
    assert list(found) == list(shapes)
    for name in list(shapes)[::20]:
        np.testing.assert_array_equal(found[name], values[names[name]])


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    shapes = shapes_of(read_varied(FASTER, SMALL_FASTER))
    names = static_names(1)
    save(tmp_path / "own.pdparams", {names[name]: shape for name, shape in shapes.items()})
    other = shapes_of(read_varied(FASTER, "{FPN: {num_chan: 16}, FPNRPNHead: {num_chan: 16}, num_classes: 6}"))
    with pytest.raises(BadInput, match="of another shape"):
        load_parameters(str(tmp_path / "own.pdparams"), other)


class TestTheCommand:
    def test_needs_weights(self, tmp_path):
        code, _, err = run("export/to_onnx.py", "--config", DYGRAPH, folder=tmp_path)
        assert_one_line_error(code, 2, err, "--weights", "none")

    def test_takes_a_configuration_or_a_model(self, tmp_path):
        arguments = ("--config", DYGRAPH, "--model", "mini_faster", "--weights", "none")
        code, _, err = run("export/to_onnx.py", *arguments, folder=tmp_path)
        assert_one_line_error(code, 2, err, "--model and --config")

    def test_names_what_it_does_not_understand(self, tmp_path):
        config = write_varied(CASCADE, "{ResNet: {variant: b}, slim: QAT}", tmp_path)
        code, out, err = run("export/to_onnx.py", "--config", config, "--weights", "none", folder=tmp_path)
        assert_one_line_error(code, 2, err, "ResNet.variant", "slim", "docs/configurations.md")
        assert out == ""
        assert not (tmp_path / "artifacts").exists()

    def test_runs_nothing_of_the_file(self, tmp_path):
        (tmp_path / "evil.yml").write_text("a: !!python/object/apply:os.system ['touch executed']\n")
        code, _, err = run("export/to_onnx.py", "--config", "evil.yml", "--weights", "none", folder=tmp_path)
        assert_one_line_error(code, 2, err, "evil.yml", "tag")
        assert [path.name for path in tmp_path.iterdir()] == ["evil.yml"]
