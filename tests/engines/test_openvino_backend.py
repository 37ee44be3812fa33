"""OpenVINO engines: the original numbers in float32, attested precisions, and CPUs that lack instructions."""

import json

import numpy as np
import pytest
from msgspec.structs import replace

from pssdet.engines.backend import PrecisionOptions
from pssdet.engines.backends import openvino_cpu
from pssdet.engines.build_engine import build_engine
from pssdet.engines.ov import conversion
from pssdet.engines.ov import executed as executed_module
from pssdet.engines.ov.session import OWN, OpenVinoSession
from pssdet.engines.precision.recipe import shipped_recipe
from pssdet.engines.registry import backend_named, choose_backend, open_engine, why_automatic
from pssdet.errors import BadInput, EnvironmentMissing, GateFailed
from pssdet.models.card import LayersRecord, read_engine_card
from pssdet.models.preprocess import sample_of_shape
from pssdet.validation.scenes.dataset import write_dataset

pytest.importorskip("openvino")
BACKEND = backend_named("openvino")

needs_bf16 = pytest.mark.skipif(BACKEND.missing_for("bf16") is not None, reason="this CPU has no bfloat16")
needs_vnni = pytest.mark.skipif(BACKEND.missing_for("int8") is not None, reason="this CPU has no VNNI")


reduced = pytest.mark.parametrize(
    "precision", [pytest.param("bf16", marks=needs_bf16), pytest.param("int8", marks=needs_vnni)]
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_dataset(folder, "train", 12)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / "cache"))


def build(model, precision, folder, **options):
    return build_engine(model, BACKEND, precision, folder, options=PrecisionOptions(**options))


def build_reduced(model, precision, folder, scenes):
    return build(model, precision, folder, **({"calibration": scenes} if precision == "int8" else {}))


def test_float32_is_attested_and_proved_stage_by_stage(mini_folder, tmp_path):
    card = build(mini_folder, "fp32", tmp_path / "engine")
    assert [file.name for file in card.files] == ["model.xml", "model.bin"]
    assert set(card.layers.convolution_flops) == set(card.layers.deformable_flops) == {"fp32"}
    assert [record.case for record in card.verification] == ["picture"] * 24 + ["picture, as used", "probe"]
    assert not card.emulated


@needs_bf16
def test_bfloat16_is_real_and_keeps_the_recipe_in_float32(mini_folder, tmp_path):
    card = build(mini_folder, "bf16", tmp_path / "engine")
    flops = card.layers.convolution_flops
    assert flops["bf16"] > 0.6 * sum(flops.values())
    assert set(card.layers.deformable_flops) == {"fp32"}
    assert {name for name in card.recipe.fp32 if "/Conv_" in name} <= set(card.layers.wide)
    assert not card.emulated


def recipe_with(node, folder):
    recipe = json.loads(shipped_recipe("mini_faster").read_text())
    recipe["fp32"].append(node)
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe))
    return path


@needs_bf16
@pytest.mark.parametrize("node", ["trunk/Conv_0", "trunk/Conv_34"])  # the second is part of a sum
def test_a_recipe_of_ones_own_is_held_too(mini_folder, tmp_path, node):
    card = build(mini_folder, "bf16", tmp_path / "engine", recipe=recipe_with(node, tmp_path))
    assert node in card.layers.wide


@needs_bf16
def test_what_openvino_cannot_compile_is_a_failed_gate(mini_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pssdet.engines.ov.held.completed", lambda _, float32: float32)
    with pytest.raises(GateFailed, match="OpenVINO cannot compile the model"):
        build(mini_folder, "bf16", tmp_path / "engine", recipe=recipe_with("trunk/Conv_34", tmp_path))


@needs_bf16
def test_roi_align_in_float32_reads_maps_in_the_layout_of_its_fast_kernel(mini_folder, tmp_path):
    build(mini_folder, "bf16", tmp_path / "engine")
    session = OpenVinoSession(tmp_path / "engine" / openvino_cpu.IR)
    layers = session.compiled((1, 3, 256, 256)).get_runtime_model().get_ops()
    said = [{name: value.astype(str) for name, value in layer.get_rt_info().items()} for layer in layers]
    aligns = [each for each in said if each["layerType"] == "ROIAlign"]
    assert len(aligns) == 4
    assert {(each["runtimePrecision"], each["outputLayouts"]) for each in aligns} == {("f32", "acdb")}


@needs_bf16
def test_the_head_can_be_held(mini_folder, tmp_path):
    """Products whose biases OpenVINO would take in; the recipe of half precision names them."""
    card = build(mini_folder, "bf16", tmp_path / "engine", recipe=shipped_recipe("mini_faster"))
    assert "head/1/MatMul_1" in card.recipe.fp32


@needs_bf16
def test_a_node_that_openvino_does_not_hold_is_a_failed_gate(mini_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "keep_products_apart", lambda *_: None)
    with pytest.raises(GateFailed, match=r"does not keep .*head/1/MatMul_1"):
        build(mini_folder, "bf16", tmp_path / "engine", recipe=shipped_recipe("mini_faster"))
    assert not (tmp_path / "engine").exists()


@needs_bf16
@pytest.mark.parametrize("forgotten", ["Gather", "Divide", "Subtract"])
def test_boxes_that_are_rounded_are_a_failed_gate(mini_folder, tmp_path, monkeypatch, forgotten):
    """OpenVINO replaces these by layers that are not held, and coordinates lose all but 8 bits.

    The third only in the model that shapes share.
    """
    if forgotten == "Gather":
        monkeypatch.delitem(conversion.RULES, "Gather")
    else:
        rule = {"Divide": "write_as_product", "Subtract": "write_as_sum"}[forgotten]
        monkeypatch.setattr(conversion, rule, lambda _: None)
    with pytest.raises(GateFailed, match=r"does not keep .*(roi_align_|Multiply_)"):
        build(mini_folder, "bf16", tmp_path / "engine")


@needs_vnni
def test_int8_has_integer_kernels(mini_folder, tmp_path, scenes):
    card = build(mini_folder, "int8", tmp_path / "engine", calibration=scenes)
    flops = card.layers.convolution_flops
    assert flops["int8"] > 0.75 * sum(flops.values())
    assert card.calibration.images == 12


@needs_vnni
def test_int8_does_not_depend_on_the_sizes_that_came_before(mini_folder, tmp_path, scenes):
    card = build(mini_folder, "int8", tmp_path / "engine", calibration=scenes)
    sizes = [(1, 96, 128), (1, 128, 96), (1, 160, 160), (1, 64, 64), (1, 192, 256)]
    inputs = [sample_of_shape(card.model.preprocessing, *size) for size in sizes]
    first, last = (open_engine(tmp_path / "engine").session for _ in range(2))
    alone = first.run(inputs[-1])
    after_others = [last.run(each) for each in inputs][-1]
    assert alone["count"].sum() > 0
    assert all(np.array_equal(alone[name], after_others[name]) for name in alone)


def test_a_full_disk_is_said_in_one_line(mini_folder, tmp_path, monkeypatch):
    import openvino

    def failing(*_, **__):
        raise RuntimeError("Exception from src/core/serialize.cpp:1:\nbasic_ios::clear: iostream error")

    monkeypatch.setattr(openvino, "save_model", failing)
    with pytest.raises(BadInput, match=r"cannot write the engine \(basic_ios.*space left") as refusal:
        build(mini_folder, "fp32", tmp_path / "engine")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "engine").exists()


@reduced
def test_too_few_operations_in_the_precision_are_a_failed_gate(
    mini_folder, tmp_path, monkeypatch, scenes, precision
):
    monkeypatch.setitem(executed_module.REQUIRED_SHARE, precision, 1.01)
    with pytest.raises(GateFailed, match=f"{precision} was asked for"):
        build_reduced(mini_folder, precision, tmp_path / "engine", scenes)
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("version", ["2025.4.1", "2026.3.0", "2027.0.0", "2027.0.0.dev20270101"])
def test_another_openvino_is_said_in_one_line(version, monkeypatch):
    monkeypatch.setattr(openvino_cpu.metadata, "version", lambda _: version)
    with pytest.raises(EnvironmentMissing) as refusal:
        choose_backend("openvino", "fp32")
    assert str(refusal.value) == (
        f"engines are not proved with OpenVINO {version}; pip install 'openvino>=2026.4,<2027'"
    )


@pytest.mark.parametrize("version", ["2026.4.0", "2026.4.0rc1", "2026.10", None])
def test_the_openvino_that_is_asked_for(version, monkeypatch):
    def found(name):
        if version is None:  # a build of one's own
            raise openvino_cpu.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(openvino_cpu.metadata, "version", found)
    assert BACKEND.missing() is None


def test_no_openvino(monkeypatch):
    monkeypatch.setattr(openvino_cpu.importlib.util, "find_spec", lambda _: None)
    assert BACKEND.missing() == "OpenVINO is not installed; pip install 'openvino>=2026.4,<2027'"


@reduced
def test_the_model_that_shapes_share_computes_in_the_same(mini_folder, tmp_path, scenes, precision):
    card = build_reduced(mini_folder, precision, tmp_path / "engine", scenes)
    session = OpenVinoSession(tmp_path / "engine" / openvino_cpu.IR)
    shapes = [(1, 3, 64, 64 + 32 * number) for number in range(OWN + 1)]
    first, *_, fifth = (executed_module.executed(session.compiled(shape), {}) for shape in shapes)
    assert None in session._compiled
    held = [node for node in card.recipe.fp32 if node in first.nodes]
    assert len(held) > len(card.recipe.fp32) / 2
    assert {fifth.nodes.get(node) for node in held} == {first.nodes[node] for node in held} == {"fp32"}
    assert fifth.layers == first.layers


@reduced
def test_the_model_that_shapes_share_is_attested_too(mini_folder, tmp_path, monkeypatch, scenes, precision):
    executed = executed_module.executed

    def as_if_boxes_were_rounded(compiled, bias_of):
        found = executed(compiled, bias_of)
        shared = compiled.inputs[0].get_partial_shape().is_dynamic
        return found._replace(half=found.half | {"boxes"}) if shared else found

    monkeypatch.setattr(executed_module, "executed", as_if_boxes_were_rounded)
    with pytest.raises(GateFailed, match="does not keep boxes in float32"):
        build_reduced(mini_folder, precision, tmp_path / "engine", scenes)


@reduced
def test_a_reduced_engine_is_also_proved_as_it_is_used(mini_folder, tmp_path, scenes, precision):
    card = build_reduced(mini_folder, precision, tmp_path / "engine", scenes)
    assert [record.case for record in card.verification] == ["picture"] * 24 + ["picture, as used"]


@pytest.mark.parametrize(("precision", "word"), [("bf16", "bfloat16"), ("int8", "VNNI")])
def test_a_cpu_without_the_instructions_is_said_in_one_line(precision, word, monkeypatch):
    monkeypatch.setattr(openvino_cpu, "cpu_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(EnvironmentMissing, match=word) as refusal:
        choose_backend("openvino", precision)
    assert "\n" not in str(refusal.value)
    assert choose_backend("openvino", "fp32") is BACKEND


@pytest.mark.parametrize(
    ("rest", "flags", "lacking"),
    [
        ("bf16", {"avx512_vnni"}, "bfloat16"),
        ("bf16", {"avx512_vnni", "avx512_bf16"}, None),
        ("fp32", {"avx512_vnni"}, None),
        ("bf16", {"avx512_bf16"}, "VNNI"),
    ],
)
def test_an_int8_engine_needs_what_its_other_layers_compute_in(mini_folder, monkeypatch, rest, flags, lacking):
    monkeypatch.setattr(openvino_cpu, "cpu_flags", lambda: frozenset(flags))
    card = replace(
        read_engine_card(mini_folder / "onnxruntime-fp32"),
        precision="int8",
        layers=LayersRecord({"int8": 2, rest: 1}, {}, ()),
    )
    missing = BACKEND.missing_to_open(card)
    assert missing is None if lacking is None else lacking in missing


@needs_bf16
def test_an_engine_of_another_cpu_is_refused_when_opened(mini_folder, tmp_path, monkeypatch):
    build(mini_folder, "bf16", tmp_path / "engine")
    monkeypatch.setattr(openvino_cpu, "cpu_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(EnvironmentMissing, match="bfloat16"):
        open_engine(tmp_path / "engine")


@pytest.mark.parametrize("name", ["onnxruntime", "paddle", "tensorrt"])
def test_other_backends_refuse_bfloat16_and_name_this_one(name):
    with pytest.raises(BadInput, match="bf16 is offered by openvino"):
        choose_backend(name, "bf16")


def test_the_card_says_why_auto_took_it(mini_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(backend_named("tensorrt"), "missing", lambda: "no GPU")
    assert choose_backend("auto", "fp32") is BACKEND
    reason = why_automatic(BACKEND, "fp32")
    assert (
        reason
        == "the first of tensorrt, openvino, onnxruntime, paddle that runs fp32 here; not tensorrt: no GPU"
    )
    build_engine(mini_folder, BACKEND, "fp32", tmp_path / "engine", reason=reason)
    assert read_engine_card(tmp_path / "engine").reason == reason


def test_batches_are_independent(mini_folder, tmp_path):
    from pssdet.models.preprocess import sample_of_shape

    card = build(mini_folder, "fp32", tmp_path / "engine")
    session = open_engine(tmp_path / "engine").session
    two = sample_of_shape(card.model.preprocessing, 2, 192, 256)
    together = session.run(two)
    for index in (0, 1):
        alone = session.run({name: value[index : index + 1] for name, value in two.items()})
        assert alone["count"][0] == together["count"][index]
        np.testing.assert_allclose(alone["scores"][0], together["scores"][index], atol=1e-5)
        np.testing.assert_allclose(alone["boxes"][0], together["boxes"][index], atol=1e-2)
