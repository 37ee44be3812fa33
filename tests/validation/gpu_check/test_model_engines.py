"""The steps about whole detectors: their parts, and on stubs of TensorRT with ONNX Runtime in its place."""

import json
from types import SimpleNamespace

import fake_trt_build
import numpy as np
import onnx
import pytest

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.errors import EnvironmentMissing
from pssdet.validation.gpu_check import engines, model_engines
from pssdet.validation.gpu_check.bundle import Bundle
from pssdet.validation.gpu_check.model_engines import (
    KINDS,
    ModelCase,
    kind_of,
    layer_shares,
    map_difference,
    matched,
)
from pssdet.validation.gpu_check.plan import Given


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("trunk/Conv_1 + trunk/Relu_2", "trunk"),
        ("trunk/DeformConv_31", "deformable convolutions"),
        ("propose/GenerateProposals_0", "proposals"),
        ("PWN(propose/Sigmoid_3)", "proposals"),
        ("stage2/MultilevelRoiAlign_0", "RoIAlign"),
        ("stage1/decode/Exp_4", "decoding"),
        ("head/1/MatMul_0", "head"),
        ("finish/MulticlassNms_58", "NMS"),
        ("__myl_MulAddExp_myl3_1 [ONNX Layer: finish/Mul_7][ONNX Layer: finish/Exp_8]", "decoding"),
        ("Reformatting CopyNode for Input Tensor 0 to trunk/Conv_1", "reformats"),
        ("Signal[3]", "other"),
    ],
)
def test_each_layer_belongs_somewhere(layer, kind):
    assert kind_of(layer) == kind
    assert kind in KINDS


def test_shares_sum_to_one():
    found = layer_shares(
        {"trunk/Conv_0": 30.0, "trunk/Conv_1": 30.0, "finish/MulticlassNms_5": 20.0, "Signal": 20.0}
    )
    assert found == {"NMS": 0.2, "trunk": 0.6, "other": 0.2}


def outputs(*pictures):
    """Each picture: rows (label, score, x1, y1, x2, y2)."""
    slots = 5
    found = {
        "boxes": np.zeros((len(pictures), slots, 4), np.float32),
        "scores": np.zeros((len(pictures), slots), np.float32),
        "labels": np.full((len(pictures), slots), -1, np.int32),
        "count": np.array([len(rows) for rows in pictures], np.int32),
    }
    for index, rows in enumerate(pictures):
        for number, (label, score, *box) in enumerate(rows):
            found["labels"][index, number], found["scores"][index, number] = label, score
            found["boxes"][index, number] = box
    return found


CAT = (3, 0.9, 10, 10, 50, 50)
DOG = (4, 0.6, 60, 10, 90, 90)
FAINT = (3, 0.2, 0, 0, 5, 5)


def test_the_same_detections_are_all_found():
    reference = outputs([CAT, DOG, FAINT], [])
    figures = matched(reference, reference)
    assert (figures["detections"], figures["matched"], figures["share"], figures["extra"]) == (2, 2, 1.0, 0)
    assert figures["score"] == 0.0


def test_a_box_that_moved_too_far_is_lost_and_extra():
    moved, near = (3, 0.9, 14, 10, 54, 50), (3, 0.9, 11, 10, 51, 50)  # IoU 36 / 44, 39 / 41
    figures = matched(outputs([DOG], [CAT]), outputs([DOG], [moved]))
    assert (figures["matched"], figures["share"], figures["extra"]) == (1, 0.5, 1)
    assert matched(outputs([CAT]), outputs([near]))["share"] == 1.0


def test_another_label_is_no_partner():
    assert matched(outputs([CAT]), outputs([(4, *CAT[1:])]))["matched"] == 0


def test_a_partner_may_have_fallen_below_the_score():
    figures = matched(outputs([(3, 0.31, *CAT[2:])]), outputs([(3, 0.28, *CAT[2:])]))
    assert (figures["matched"], figures["extra"]) == (1, 0)
    assert abs(figures["score"] - 0.03) < 1e-6


def test_a_partner_serves_once():
    figures = matched(outputs([CAT, (3, 0.8, *CAT[2:])]), outputs([CAT]))
    assert (figures["detections"], figures["matched"]) == (2, 1)


def test_a_touch_does_not_count_as_overlap():
    figures = matched(outputs([(3, 0.9, 0, 0, 0, 0)]), outputs([(3, 0.9, 0, 0, 0, 0)]))
    assert figures["matched"] == 0  # no area, no overlap


def test_the_first_pictures_are_enough():
    figures = matched(outputs([CAT], [DOG]), outputs([CAT]))
    assert (figures["detections"], figures["share"]) == (1, 1.0)


def test_nothing_to_find():
    figures = matched(outputs([FAINT]), outputs([CAT]))
    assert (figures["detections"], figures["share"], figures["extra"]) == (0, 1.0, 1)


class Session:
    """The small detector in ONNX Runtime in place of a plan; ``shift`` moves its boxes, ``scale`` its maps."""

    bundle = None
    shift, scale, fallback = 0.0, 1.0, None

    def __init__(self, plan, *, plugins, cuda_graphs=True):
        self.outputs = json.loads(plan.read_text())["outputs"]
        folder = plan.with_suffix(".model")
        folder.mkdir(exist_ok=True)
        onnx.save(self.bundle.model(), folder / "model.onnx")
        self.session = OnnxRuntimeSession(folder / "model.onnx", self.outputs, cuda=False)
        self.graph_fallback = self.fallback

    def run(self, inputs):
        outputs = self.session.run(inputs)
        maps = {
            name: values * np.float32(self.scale) for name, values in outputs.items() if name.startswith("c")
        }
        return {
            **outputs,
            **maps,
            "count": outputs["count"],
            "boxes": outputs["boxes"] + np.float32(self.shift),
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()


class Resident:
    fallback = None

    def __init__(self, cuda, plan, plugins, inputs, *, graphs):
        self.batch, self.graphs = len(inputs["image"]), graphs

    def times_us(self, iterations):
        if self.fallback and self.graphs:
            raise EnvironmentMissing(self.fallback)
        return [1000.0 * self.batch + number % 3 for number in range(iterations)]

    def layers_us(self, iterations):
        return {"trunk/Conv_1": 60.0, "trunk/DeformConv_2": 20.0, "finish/MulticlassNms_9": 20.0}

    def memory(self):
        return {"scratch": 1 << 20, "device": 3 << 20}

    def close(self):
        pass


class Device:
    name = "NVIDIA Stub 1"
    cuda = None


class TestSteps:
    @pytest.fixture
    def trt(self, request, monkeypatch, tmp_path):
        library = tmp_path / "libpssdet_plugins.so"
        library.write_bytes(b"plugins")
        monkeypatch.setenv("PSSDET_PLUGINS", str(library))
        monkeypatch.setattr(engines, "BareDevice", Device)
        monkeypatch.setattr(model_engines, "BareDevice", Device)
        monkeypatch.setattr(engines, "ResidentBatch", Resident)
        monkeypatch.setattr("pssdet.engines.trt.plan.builder.load_plugins", lambda trt, path: None)
        monkeypatch.setattr(model_engines, "ITERATIONS", 3)
        return fake_trt_build.install(monkeypatch, getattr(request, "param", "10.4.0"))

    @pytest.fixture
    def session(self, monkeypatch, bundles):
        made = type("OfBundle", (Session,), {"bundle": Bundle(bundles / "mini")})
        monkeypatch.setattr(model_engines, "TensorRTSession", made)
        return made

    @pytest.mark.parametrize("trt", ["8.6.0", "10.4.0", "11.1.0"], indirect=True)
    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_build_and_its_probe(self, trt, session, bundles, tmp_path, precision):
        given = Given(bundles, tmp_path, f"mini {precision}")
        built = model_engines.build(given)
        assert built.failures == []
        assert json.dumps(built.figures)
        share = built.figures["FP16 share of the convolutions' operations"]
        assert share >= 0.9 if precision == "fp16" else share == 0
        kept = len(Bundle(bundles / "mini").case.fp32)
        assert built.figures["float32 nodes"] == (kept if precision == "fp16" else "all")
        assert kept > 0
        found = model_engines.probe(given)
        assert found.failures == []
        assert json.dumps(found.figures)
        assert found.figures["matched"] == found.figures["detections"] > 0
        session.shift = 9.0
        assert "detections found" in model_engines.probe(given).failures[0]
        session.shift = np.nan
        assert model_engines.probe(given).failures[0] == "a detection is not finite"

    def test_a_detection_too_many(self, trt, session, bundles, tmp_path, monkeypatch):
        given = Given(bundles, tmp_path, "mini fp16")
        model_engines.build(given)
        run = session.run

        def one_more(self, inputs):
            found = {name: np.array(values) for name, values in run(self, inputs).items()}
            count = int(found["count"][0])
            for name in ("boxes", "scores", "labels"):
                found[name][0, count : count + 3] = found[name][0, 0]
            return {**found, "count": found["count"] + 3}

        monkeypatch.setattr(session, "run", one_more)
        assert model_engines.probe(given).failures == ["3 detections above score 0.3 that Paddle does not have"]

    def test_half_precision_that_is_none(self, trt, bundles, tmp_path):
        trt.ignores_half = True
        built = model_engines.build(Given(bundles, tmp_path, "mini fp16"))
        assert "FP16 was asked for" in built.failures[0]
        assert built.figures["FP16 share of the convolutions' operations"] == 0

    def test_scenes(self, trt, session, bundles, tmp_path):
        model_engines.build(Given(bundles, tmp_path, "mini fp16"))
        given = Given(bundles, tmp_path, "scenes fp16")
        found = model_engines.scenes(given)
        assert found.failures == []
        assert json.dumps(found.figures)
        assert found.figures["paddle"]["share"] == found.figures["onnxruntime"]["share"] == 1.0
        assert found.figures["onnxruntime"]["score"] == 0.0
        with np.load(tmp_path / "scenes-fp16.npz") as arrays:
            for name, values in Bundle(bundles / "scenes").expected("onnxruntime").items():
                np.testing.assert_array_equal(arrays[name], values)

    @pytest.mark.parametrize(("precision", "least"), [("fp32", "99%"), ("fp16", "95%")])
    def test_scenes_must_be_onnx_runtimes(self, trt, session, bundles, tmp_path, precision, least):
        model_engines.build(Given(bundles, tmp_path, f"mini {precision}"))
        session.shift = 9.0
        failures = model_engines.scenes(Given(bundles, tmp_path, f"scenes {precision}")).failures
        assert failures == [f"0.0% of ONNX Runtime's detections found, {least} must be"]

    @pytest.mark.parametrize(
        ("precision", "seeded", "least"), [("fp32", True, 0.99), ("fp16", False, 0.95), ("fp16", True, 0.0)]
    )
    def test_of_drawn_parameters_only_float32_is_judged(self, precision, seeded, least):
        card = SimpleNamespace(seeded=seeded, limits={"fp16": {"share": 0.95}})
        case = SimpleNamespace(precision=precision, bundle=SimpleNamespace(case=card))
        assert model_engines._least_share(case) == least

    def test_times_and_shares(self, trt, session, bundles, tmp_path, monkeypatch):
        session.bundle = Bundle(bundles / "row4")
        given = Given(bundles, tmp_path, "row4 fp16")
        model_engines.build(given)
        found = model_engines.times(given)
        assert found.failures == []
        assert json.dumps(found.figures)
        assert found.figures["N=2"]["median_us"] == 2001.0
        assert found.figures["N=1, shares"] == {"deformable convolutions": 0.2, "NMS": 0.2, "trunk": 0.6}
        assert 0 < found.figures["N=1, with copies"]["median_us"] <= found.figures["N=1, with copies"]["p99_us"]
        monkeypatch.setattr(Resident, "fallback", "a plugin waits")
        assert model_engines.times(given).failures == ["N=1: a plugin waits", "N=2: a plugin waits"]

    def test_stages(self, trt, session, bundles, tmp_path):
        session.bundle = Bundle(bundles / "row4")
        given = Given(bundles, tmp_path, "row4 fp16")
        model_engines.build(given)
        found = model_engines.stages(given)
        assert found.failures == []
        assert json.dumps(found.figures)
        assert max(found.figures["of the largest value"].values()) < 1e-4
        session.scale = 1.1
        failures = model_engines.stages(given).failures
        assert failures[0].startswith("c2 differs by 0.1 of its largest value, the limit is 0.02")

    def test_without_the_bundle(self, trt, tmp_path):
        with pytest.raises(EnvironmentMissing, match="gpu-check --pack"):
            model_engines.build(Given(tmp_path, tmp_path, "row4 fp16"))

    def test_profiles(self, bundles, tmp_path):
        alone, together = ModelCase.of(Given(bundles, tmp_path, "mini fp16")).profiles()
        assert (alone.min, alone.max) == ((1, 32, 32), (1, 256, 256))
        assert (together.min, together.max) == ((2, 32, 32), (2, 256, 256))
        row4 = ModelCase.of(Given(bundles, tmp_path, "row4 fp16")).profiles()[0]
        assert (row4.min, row4.opt) == ((1, 96, 128), (1, 192, 256))


def test_a_map_that_is_not_finite_differs():
    wanted = np.float32([1, -2])
    assert map_difference(np.float32([1, -2.5]), wanted) == 0.25
    assert map_difference(np.float32([1, np.nan]), wanted) > 1e6
    assert map_difference(np.float32([1, np.inf]), wanted) > 1e6
