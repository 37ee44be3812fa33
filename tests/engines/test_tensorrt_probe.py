"""TensorRT engines proved by a probe, and their self-tests, with a stub whose plans ONNX Runtime runs."""

import msgspec
import numpy as np
import pytest
from fake_trt_machine import H200, V100, tensorrt_machine

from pssdet.errors import BadInput, EnvironmentMissing, GateFailed
from pssdet.models.card import read_engine_card, read_model_card
from pssdet.runtime.detector import Detector


@pytest.fixture
def machine(monkeypatch, tmp_path, mini_folder):
    return tensorrt_machine(monkeypatch, tmp_path, mini_folder)


@pytest.fixture
def without_runtime(monkeypatch):
    """No ONNX Runtime beside what plays TensorRT: a V100 with TensorRT 8.6 and its Python 3.10."""
    lacking = lambda: "it is not installed; do that"  # noqa: E731
    for module in ("build_engine", "precision.calibration"):
        monkeypatch.setattr(f"pssdet.engines.{module}.missing_onnx_runtime", lacking)


class TestProbe:
    def test_what_the_proof_needs_is_asked_for_before_building(self, machine, monkeypatch, without_runtime):
        monkeypatch.setattr(
            "pssdet.engines.build_engine.read_model_card",
            lambda folder: msgspec.structs.replace(read_model_card(folder), probe=None),
        )
        with pytest.raises(EnvironmentMissing, match=r"proved against .* but it is not installed; do that"):
            machine.build()
        assert machine.builds == 0

    @pytest.mark.parametrize("stages", [False, True])
    def test_it_proves_a_build_without_onnx_runtime(self, machine, without_runtime, stages):
        machine.device = V100
        machine.have("8.6.0")
        folder = machine.build(stages=stages)
        card = read_engine_card(folder)
        assert {record.case for record in card.verification} == {"probe"}
        assert len(card.verification) == (24 if stages else 1)
        assert not Detector.load(folder).self_test
        assert Detector.load(folder, self_test=True).self_test.startswith("self-test passed")

    def test_what_differs_from_it_is_not_written(self, machine, tmp_path, without_runtime):
        machine.session.disturb = staticmethod(
            lambda outputs: outputs | {"boxes": outputs["boxes"] + np.float32(9)}
        )
        with pytest.raises(GateFailed, match=r"first at detections \(probe\)"):
            machine.build()
        assert not (tmp_path / "engine").exists()

    def test_int8_needs_onnx_runtime_for_its_ranges(self, machine, tmp_path, without_runtime):
        with pytest.raises(EnvironmentMissing, match="int8 takes its ranges"):
            machine.build(precision="int8", calibration=tmp_path)

    def test_a_profile_may_ask_for_more_pictures(self, machine, without_runtime):
        card = read_engine_card(machine.build(opt_shapes=("2x192x256",)))
        assert [record.case for record in card.verification] == ["probe"]

    def test_profiles_without_its_size(self, machine, monkeypatch, tmp_path):
        folder = machine.build(opt_shapes=("1x256x192",))
        assert read_engine_card(folder).probe is None
        with pytest.raises(BadInput, match="no profile of it takes the export's probe"):
            Detector.load(folder, self_test=True)
        machine.device = H200._replace(driver="580.1")
        said = Detector.load(folder).self_test
        assert said.startswith(
            "no self-test, although since the build, driver 570.86.15 became 580.1: the engine"
        )
        monkeypatch.setattr("pssdet.engines.build_engine.missing_onnx_runtime", lambda: "not installed")
        with pytest.raises(BadInput, match="no profile of the engine takes its probe, a picture of 192x256"):
            machine.build("other", opt_shapes=("1x192x192",))
        assert not (tmp_path / "other").exists()

    def test_the_cache_keeps_it(self, machine, tmp_path):
        first, second = machine.build("first"), machine.build("second")
        assert machine.builds == 1
        assert (second / "probe.npz").read_bytes() == (first / "probe.npz").read_bytes()
        (entry,) = (tmp_path / "cache" / "engines").glob("*/probe.npz")
        entry.unlink()
        machine.build("third")
        assert machine.builds == 2

    def test_a_new_driver_that_computes_something_else(self, machine):
        folder = machine.build()
        machine.device = H200._replace(driver="580.1")
        assert Detector.load(folder).self_test == (
            "self-test passed; since the build, driver 570.86.15 became 580.1"
        )
        machine.session.disturb = staticmethod(
            lambda outputs: outputs | {"scores": outputs["scores"] * np.float32(0.9)}
        )
        with pytest.raises(GateFailed, match=r"fails its self-test .* first at detections .*driver 570.86.15"):
            Detector.load(folder)
