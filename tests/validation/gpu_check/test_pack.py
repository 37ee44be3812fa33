"""Packing at home: what a bundle has, what is kept, what is refused."""

import shutil

import numpy as np
import onnx
import pytest

from pssdet.errors import BadInput
from pssdet.models.card import read_model_card
from pssdet.models.probe import read_probe
from pssdet.validation.gpu_check import pack
from pssdet.validation.gpu_check.bundle import Bundle


def silent(_):
    pass


def test_the_probe_of_the_small_detector_is_its_exports(bundles, mini_folder):
    bundle = Bundle(bundles / "mini")
    assert (bundle.pictures, bundle.case.seeded, bundle.case.references) == (
        [],
        False,
        ("onnxruntime", "paddle"),
    )
    theirs = read_probe(mini_folder, read_model_card(mini_folder).probe)
    ours = bundle.probe()
    np.testing.assert_array_equal(ours.picture.content, theirs.picture)
    np.testing.assert_array_equal(ours.outputs["boxes"], theirs.tensors["boxes"])
    assert ours.positions.keys() == theirs.positions.keys()
    steps = read_model_card(mini_folder).preprocessing
    given = bundle.case.inputs([ours.picture])
    for name, values in theirs.inputs(steps).items():
        np.testing.assert_array_equal(given[name], values)


def test_what_travels_of_the_scenes(bundles, mini_folder):
    bundle = Bundle(bundles / "scenes")
    assert len(bundle.pictures) == 3
    names = {node.name for node in onnx.load(mini_folder / "model.onnx").graph.node}
    assert set(bundle.case.fp32)
    assert set(bundle.case.fp32) <= names
    assert bundle.case.limits["fp16"] == {"maps": 0.02, "score": 0.02, "box": 2.0, "share": 0.95}
    ours, theirs = (bundle.expected(reference) for reference in bundle.case.references)
    np.testing.assert_array_equal(ours["count"], theirs["count"])
    np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)


def test_a_seeded_model_travels_without_its_parameters(bundles, artifacts):
    whole, travelling = artifacts / "mini_faster" / "model.onnx", bundles / "row4" / "model.onnx"
    assert travelling.stat().st_size < whole.stat().st_size / 4
    bundle = Bundle(bundles / "row4")
    assert bundle.case.seeded
    probe = bundle.probe()
    assert {"c2", "p2"} <= set(probe.positions)
    assert probe.stages["c2"].shape == (1, len(probe.positions["c2"]))


def test_a_whole_bundle_is_kept(bundles, artifacts):
    said = []
    before = (bundles / "mini" / "case.json").stat().st_mtime_ns
    pack.pack(bundles, ("mini",), said.append, artifacts)
    assert said == [f"mini: {bundles / 'mini'} is there"]
    assert (bundles / "mini" / "case.json").stat().st_mtime_ns == before


def test_an_altered_one_is_packed_again(artifacts, tmp_path):
    pack.pack(tmp_path, ("mini",), silent, artifacts)
    (tmp_path / "mini" / "probe.npz").write_bytes(b"x")
    pack.pack(tmp_path, ("mini",), silent, artifacts)
    assert Bundle(tmp_path / "mini").probe().picture.content.ndim == 3


def test_an_unknown_case(tmp_path):
    with pytest.raises(BadInput, match="no case 'nosuch'"):
        pack.pack(tmp_path, ("nosuch",), silent)


@pytest.mark.parametrize("flaw", ["no pixel offset", "no probe"])
def test_an_export_of_an_earlier_version(artifacts, tmp_path, flaw):
    old = tmp_path / "old" / "mini_faster"
    shutil.copytree(artifacts / "mini_faster", old)
    if flaw == "no probe":
        (old / "probe.npz").unlink()
    else:
        model = onnx.load(old / "model.onnx")
        node = next(node for node in model.graph.node if node.op_type == "MulticlassNms")
        kept = [attribute for attribute in node.attribute if attribute.name != "pixel_offset"]
        del node.attribute[:]
        node.attribute.extend(kept)
        onnx.save(model, old / "model.onnx")
    with pytest.raises(BadInput, match="remove the folder and pack again"):
        pack.pack(tmp_path / "out", ("mini",), silent, tmp_path / "old")
    assert not (tmp_path / "out" / "mini").exists()
