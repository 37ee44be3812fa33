"""The backend tensorrt on the bundled detector, with a stub of TensorRT whose plans ONNX Runtime runs."""

import importlib.util
import json

import fake_trt_build
import msgspec
import numpy as np
import pytest
from fake_trt_machine import H200, V100, tensorrt_machine

from pssdet.engines.backends import tensorrt_gpu
from pssdet.engines.build_engine import engine_folder
from pssdet.engines.devices import Gpu
from pssdet.engines.precision.recipe import Recipe, write_recipe
from pssdet.engines.registry import backend_named, choose_backend, open_engine
from pssdet.engines.trt.plan.held import COMPUTED
from pssdet.errors import BadInput, EnvironmentMissing, GateFailed
from pssdet.files import sha256_of
from pssdet.models.card import ENGINE_CARD, EngineCard, encode, read_engine_card
from pssdet.models.preprocess import PICTURE, sample_batches
from pssdet.models.stages import tap_names


@pytest.fixture
def machine(monkeypatch, tmp_path, mini_folder):
    return tensorrt_machine(monkeypatch, tmp_path, mini_folder)


class TestBuilding:
    @pytest.mark.parametrize("version", ["8.6.0", "10.4.0", "11.1.0"])
    def test_the_card_says_all_that_was_used(self, machine, version):
        machine.have(version)
        card = read_engine_card(machine.build())
        assert (card.backend, card.precision, card.emulated, card.tapped) == ("tensorrt", "fp16", False, False)
        assert card.gpu is not None
        assert (card.gpu.name, card.gpu.capability, card.gpu.driver) == ("NVIDIA H200", (9, 0), "570.86.15")
        assert card.versions["tensorrt"] == version
        assert card.versions["cuda (driver)"] == "12.8"
        assert card.plugins is not None
        assert card.plugins.name == "libpssdet_plugins.so"
        assert card.recipe is not None
        assert len(card.recipe.fp32) == card.fp32_nodes > 0
        assert [(each.min, each.opt, each.max) for each in card.profiles] == [
            ((1, 32, 32), (1, 192, 256), (8, 256, 256))
        ]
        assert card.layers is not None
        flops = card.layers.convolution_flops
        assert set(flops) == {"fp16", "fp32"}
        assert flops["fp16"] > 0.9 * sum(flops.values())
        # The predictors of offsets, and nothing else of the convolutions, are float32.
        assert set(card.layers.wide) <= set(card.recipe.fp32)
        assert [record.stage for record in card.verification] == ["detections"]
        assert all(record.passed for record in card.verification)
        listed = [node for nodes in card.layers.held.values() for node in nodes]
        # Where the graph says every type there is nothing to hold.
        assert (len(listed) > card.fp32_nodes) == (version == "8.6.0")
        assert len(set(listed)) == len(listed)
        assert (set(card.layers.wide) <= set(card.layers.held.get(COMPUTED, ()))) == (version == "8.6.0")

    def test_float32_needs_no_recipe(self, machine):
        card = read_engine_card(machine.build(precision="fp32"))
        assert card.recipe is None
        assert set(card.layers.convolution_flops) == {"fp32"}

    def test_a_false_fp16_is_not_written(self, machine, tmp_path):
        machine.trt.ignores_half = True
        with pytest.raises(GateFailed, match=r"FP16 was asked for, but .*0\.0%.*trunk/"):
            machine.build()
        assert not (tmp_path / "engine").exists()
        assert not list((tmp_path / "cache" / "engines").glob("*/"))

    def test_what_tensorrt_fuses_is_not_told_of(self, machine):
        machine.have("8.6.0")
        held = read_engine_card(machine.build()).layers.held
        fused = held[COMPUTED][-2:]
        machine.trt.fuses = set(fused)
        found = read_engine_card(machine.build("other", workspace=1)).layers.held
        assert found == {**held, COMPUTED: held[COMPUTED][:-2], "held, but the inspector does not tell": fused}

    @pytest.mark.parametrize("fault", ["rounds a held node", "computes something else"])
    def test_a_failed_proof_keeps_what_it_judged(self, machine, tmp_path, fault):
        machine.have("8.6.0")
        if fault == "rounds a held node":
            machine.build()
            machine.trt.ignores_constraints = set(read_engine_card(tmp_path / "engine").recipe.fp32)
        else:
            machine.session.disturb = staticmethod(lambda outputs: outputs | {"scores": outputs["scores"] * 0})
        kept = tmp_path / "failed" / "other"
        kept.mkdir(parents=True)
        (kept / "of an earlier build").touch()
        names = "model.plan, model.layers.json, model.log"
        with pytest.raises(
            GateFailed, match=rf"no engine was written; {names} of the failed build: see {kept}$"
        ):
            machine.build("other", workspace=1)
        assert {path.name for path in kept.iterdir()} == set(names.split(", "))
        assert json.loads((kept / "model.layers.json").read_text())["Layers"]
        assert not (tmp_path / "other").exists()

    def test_a_build_that_fails_keeps_its_log(self, machine, tmp_path):
        machine.trt.build_error = "no implementation for node trunk/stem"
        with pytest.raises(
            GateFailed, match=r"could not build the engine: .*; model.log of the failed build: see"
        ):
            machine.build()
        assert "trunk/stem" in (tmp_path / "failed" / "engine" / "model.log").read_text()

    def test_an_engine_has_its_own_files_alone(self, machine):
        names = {path.name for path in machine.build().iterdir()}
        assert names == {"model.plan", "engine.json", "probe.npz"}

    def test_an_engine_with_other_detections_is_not_written(self, machine, tmp_path):
        machine.session.disturb = staticmethod(
            lambda outputs: outputs | {"boxes": outputs["boxes"] + np.float32(9)}
        )
        with pytest.raises(GateFailed, match="differs from the exported model"):
            machine.build()
        assert not (tmp_path / "engine").exists()

    @pytest.mark.parametrize("version", ["8.6.0", "10.4.0", "11.1.0"])
    def test_stages_are_compared_where_the_engine_returns_them(self, machine, tmp_path, version):
        machine.have(version)
        folder = machine.build(stages=True)
        # A session takes float32 and int32 only, whatever the layers behind compute in.
        kinds = {tensor.dtype for tensor in machine.trt.network._outputs}
        assert kinds == {fake_trt_build.DataType.FLOAT, fake_trt_build.DataType.INT32}
        card = read_engine_card(folder)
        assert card.tapped
        assert {"p2", "proposals", "detections"} <= {record.stage for record in card.verification}
        _, session = open_engine(folder, stages=True)
        (_, inputs), *_ = sample_batches(card.model.preprocessing)
        assert set(tap_names(card.model.architecture)) <= set(session.run(inputs))
        session.close()
        assert engine_folder(tmp_path, machine.backend, "fp16", stages=True).name == "tensorrt-fp16-stages"

    def test_an_engine_without_stages_says_so(self, machine):
        with pytest.raises(BadInput, match="--stages"):
            open_engine(machine.build(), stages=True)

    def test_each_profile_is_proved_in_its_shape(self, machine):
        shapes = ("1x256x192", "3x128x256")
        card = read_engine_card(machine.build(opt_shapes=shapes))
        names = ["picture, 1x256x192", *(f"picture, 3x128x256, image {number}" for number in (1, 2, 3))]
        assert [record.case for record in card.verification] == names
        assert machine.trt.config.profiles[1]["image"] == [[3, 3, 128, 256]] * 3

    def test_a_recipe_of_ones_own(self, machine, tmp_path):
        graph_recipe = read_engine_card(machine.build()).recipe.fp32
        stem = next(layer.name for layer in machine.trt.network._layers if layer.name.startswith("trunk/"))
        write_recipe(tmp_path / "mine.json", Recipe((*graph_recipe, stem), "mini_faster", "a test"))
        card = read_engine_card(machine.build("mine", recipe=tmp_path / "mine.json"))
        assert stem in card.recipe.fp32
        assert card.recipe.sha256 == sha256_of(tmp_path / "mine.json")
        write_recipe(tmp_path / "foreign.json", Recipe(("trunk/nowhere",), "other", ""))
        with pytest.raises(BadInput, match="trunk/nowhere"):
            machine.build("foreign", recipe=tmp_path / "foreign.json")

    @pytest.mark.parametrize("version", ["8.6.0", "10.4.0", "11.1.0"])
    def test_int8_from_pictures(self, machine, tmp_path, version):
        machine.have(version)
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / PICTURE.name).write_bytes(PICTURE.read_bytes())
        card = read_engine_card(machine.build(precision="int8", calibration=tmp_path / "pictures"))
        assert card.calibration is not None
        assert card.calibration.images == 1
        flops = card.layers.convolution_flops
        assert flops["int8"] > 0.5 * sum(flops.values())
        assert flops["int8"] + flops["fp16"] > 0.9 * sum(flops.values())

    def test_limits_reach_the_builder(self, machine, tmp_path):
        timing = tmp_path / "mine.timing"
        machine.build(workspace=512, timing_cache=timing, plugins_in_plan=True, version_compatible=True)
        assert machine.trt.config.pools == {"WORKSPACE": 512 << 20}
        assert machine.trt.config.plugins_to_serialize == [str(machine.library)]
        assert timing.is_file()

    def test_the_timing_cache_is_kept_by_version_and_gpu(self, machine, tmp_path):
        machine.build()
        machine.device = V100
        machine.build("other")
        names = sorted(path.name for path in (tmp_path / "cache" / "engines").glob("*.timing"))
        assert names == ["tensorrt-10.4.0-NVIDIA-H200.timing", "tensorrt-10.4.0-Tesla-V100-SXM2-16GB.timing"]


class TestCache:
    def test_the_same_inputs_are_not_built_again(self, machine):
        messages = []
        first = machine.build("first")
        second = machine.build("second", progress=messages.append)
        assert machine.builds == 1
        assert any("in the cache" in line for line in messages)
        assert (first / "model.plan").read_bytes() == (second / "model.plan").read_bytes()
        messages.clear()
        machine.build("second", progress=messages.append)
        assert any("there already" in line for line in messages)
        assert machine.builds == 1

    def test_whatever_decides_makes_another_engine(self, machine, tmp_path, mini_folder, monkeypatch):
        keys = [read_engine_card(machine.build()).key]

        def key(**options):
            keys.append(read_engine_card(machine.build(**options)).key)

        key(workspace=64)
        key(precision="fp32")
        key(stages=True)
        write_recipe(tmp_path / "recipe.json", Recipe((), "mini_faster", ""))
        key(recipe=tmp_path / "recipe.json")
        machine.library.write_bytes(b"other plugins")
        key()
        machine.device = V100
        key()
        machine.have("10.5.0")
        key()
        monkeypatch.setattr("pssdet.engines.cache.code_hash", lambda starts: "changed")
        key()
        assert len(set(keys)) == len(keys) == 9
        assert machine.builds == len(keys)


class TestOpening:
    def refused(self, folder):
        with pytest.raises(BadInput) as caught:
            open_engine(folder)
        return str(caught.value)

    def test_where_it_was_built(self, machine):
        open_engine(machine.build()).session.close()
        assert machine.session.opened[-1] == (machine.library, False)

    def test_with_the_preprocessing_kernel_that_lies_beside_the_plugins(self, machine, monkeypatch):
        found = []
        monkeypatch.setattr(
            "pssdet.plugins.bindings.preprocess.find_preprocess_kernel",
            lambda plugins: found.append(plugins) or "kernel",
        )
        open_engine(machine.build()).session.close()
        assert (found[-1], machine.session.kernels[-1]) == (machine.library, "kernel")

    def test_another_gpu_and_another_tensorrt(self, machine):
        machine.device = V100
        machine.have("8.6.1")
        folder = machine.build()
        machine.device = H200
        machine.have("10.4.0")
        text = self.refused(folder)
        assert (
            "built for sm_70 / TensorRT 8.6.1, this is sm_90 / 10.4.0: rebuild with python engines/build.py"
            in text
        )
        assert "--model mini_faster --backend tensorrt --fp16" in text

    def test_the_way_out_is_the_whole_command(self, machine):
        machine.device = V100
        shapes = {"opt_shapes": ("1x64x64", "2x96x64")}
        folder = machine.build(stages=True, timing_cache=machine.library.parent / "two words", **shapes)
        machine.device = H200
        text = self.refused(folder)
        assert "--fp16 --opt-shapes 1x64x64 --opt-shapes 2x96x64 --timing-cache '" in text
        assert text.endswith("/two words' --stages")

    @pytest.mark.parametrize(
        ("built", "here", "fits"),
        [("10.4.0", "10.9.0", True), ("10.9.0", "10.4.0", False), ("10.4.0", "11.1.0", False)],
    )
    def test_version_compatible_engines(self, machine, built, here, fits):
        machine.have(built)
        folder = machine.build(version_compatible=True)
        machine.have(here)
        if fits:
            open_engine(folder).session.close()
            assert machine.session.opened[-1] == (machine.library, True)
        else:
            assert f"TensorRT {built}, this is sm_90 / {here}" in self.refused(folder)

    @pytest.mark.parametrize(("here", "fits"), [(Gpu("A10", (8, 6), "12.4"), True), (V100, False)])
    def test_hardware_compatible_engines(self, machine, here, fits):
        folder = machine.build(hardware_compatible="ampere_plus")
        machine.device = here
        if fits:
            open_engine(folder).session.close()
        else:
            assert "this is sm_70" in self.refused(folder)

    def test_other_plugins(self, machine):
        folder = machine.build()
        machine.library.write_bytes(b"other")
        assert "was built with another libpssdet_plugins.so" in self.refused(folder)

    def test_no_plugins(self, machine, monkeypatch):
        folder = machine.build()
        machine.library.unlink()
        with pytest.raises(EnvironmentMissing, match=r"PSSDET_PLUGINS names .*not a file"):
            open_engine(folder)

    def test_plugins_in_the_plan_need_no_library(self, machine):
        folder = machine.build(plugins_in_plan=True, version_compatible=True)
        machine.library.unlink()
        open_engine(folder).session.close()
        assert machine.session.opened[-1] == (None, True)

    def test_hashes_come_before_everything(self, machine):
        folder = machine.build()
        machine.device = None
        (folder / "model.plan").unlink()
        (folder / "model.plan").write_bytes(b"altered")
        assert "sha256" in self.refused(folder)

    def test_a_card_without_its_gpu(self, machine):
        folder = machine.build()
        card = msgspec.structs.replace(read_engine_card(folder), gpu=None)
        (folder / ENGINE_CARD).unlink()
        (folder / ENGINE_CARD).write_bytes(encode(card))
        assert "does not say where" in self.refused(folder)


class TestChoice:
    @pytest.mark.parametrize("lacking", ["GPU", "tensorrt", "cuda", "plugins"])
    def test_auto_takes_tensorrt_only_with_all_of_it(self, machine, monkeypatch, lacking):
        assert choose_backend("auto", "fp16").name == "tensorrt"
        if lacking == "GPU":
            machine.device = None
        elif lacking == "plugins":
            machine.library.unlink()
        else:
            monkeypatch.setattr(tensorrt_gpu, "_installed", lambda name: not name.startswith(lacking))
        assert choose_backend("auto", "fp16").name == "onnxruntime"
        expected = {
            "GPU": "no NVIDIA GPU",
            "tensorrt": "package tensorrt",
            "cuda": "cuda-bindings",
            "plugins": "PSSDET_PLUGINS",
        }
        with pytest.raises(EnvironmentMissing, match=f"{expected[lacking]}.*docs/tensorrt.md"):
            choose_backend("tensorrt", "fp16")

    def test_everything_missing_is_one_message(self, monkeypatch):
        monkeypatch.setattr(tensorrt_gpu, "cuda_device_count", lambda: 0)
        monkeypatch.setattr(tensorrt_gpu, "_installed", lambda name: False)
        monkeypatch.setenv("PSSDET_PLUGINS", "/nowhere.so")
        text = backend_named("tensorrt").missing()
        for part in (
            "no NVIDIA GPU",
            "tensorrt is not installed",
            "cuda-bindings is not installed",
            "/nowhere.so",
        ):
            assert part in text

    def test_what_is_installed_is_found_without_importing_it(self, monkeypatch):
        assert tensorrt_gpu._installed("numpy")
        assert not tensorrt_gpu._installed("no_such_package.bindings")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        assert not tensorrt_gpu._installed("numpy")


def test_cards_of_earlier_versions_are_read(mini_folder):
    """What a card of this version has more than one of the version before."""
    content = json.loads((mini_folder / "onnxruntime-fp32" / ENGINE_CARD).read_text())
    for name in ("calibration", "gpu", "plugins", "recipe", "profiles", "layers", "options", "tapped", "key"):
        del content[name]
    card = msgspec.json.decode(json.dumps(content), type=EngineCard)
    assert card == read_engine_card(mini_folder / "onnxruntime-fp32")
