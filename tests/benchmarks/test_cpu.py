"""The benchmark of the CPU: order of the rounds, medians and ratios, profiles, goals, the floor, the page."""

import msgspec
import numpy as np
import onnx
import pytest

from benchmarks.cpu_speed import workers
from benchmarks.cpu_speed.candidates import CANDIDATES, PADDLE, inputs_of, largest_size
from benchmarks.cpu_speed.page import page
from benchmarks.cpu_speed.peak_memory import Peak
from benchmarks.cpu_speed.profile import CONVOLUTION, DEFORMABLE, OTHER, PRODUCT, LayerTime, Profile, profile_of
from benchmarks.cpu_speed.results import Result, judge, ratio_name, summarise
from benchmarks.documents import document
from benchmarks.no_dcn import network_alone, without_dcn
from pssdet.models.zoo import PUBLISHED, find

ROW4 = "faster_rcnn_enhance_3x_coco"
SECONDS = {
    "paddle": 1.4,
    "paddle_eager": 3.6,
    "onnxruntime_plain": 0.48,
    "openvino_plain": 0.44,
    "ours_fp32": 0.45,
    "ours_bf16": 0.3,
    "ours_int8": 0.25,
    "floor": 0.4,
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(workers, "sleep", lambda _: None)


def rounds(count, seconds=SECONDS):
    return workers.interleaved(list(seconds), count, seconds.__getitem__)


def result(batch=None, model=ROW4, **fields):
    given = {
        "machine": {},
        "model": model,
        "name": "row",
        "size": (640, 640),
        "seeded": True,
        "accuracy": "not judged",
        "median_s": {},
        "batches": (batch,) if batch else (),
        "profiles": {},
        "peak_bytes": {},
        "missing": {},
    }
    return Result(**{**given, **fields})


class TestRounds:
    def test_every_candidate_runs_once_a_round_and_each_round_begins_with_another(self):
        names = ["a", "b", "c"]
        orders = [workers.order_of(names, number) for number in range(4)]
        assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]

    def test_paddle_runs_in_every_third_round_only(self):
        ran = []
        times = workers.interleaved(CANDIDATES, 7, lambda name: ran.append(name) or 1.0)
        for name in CANDIDATES:
            expected = [0, 3, 6] if name in PADDLE else list(range(7))
            assert list(times[name]) == expected
            assert ran.count(name) == len(expected)


class TestFigures:
    def test_medians_are_seconds_a_picture(self):
        batch = summarise(4, {"floor": {0: 4.0, 1: 8.0, 2: 40.0}}, 0.0)
        assert batch.median_s == {"floor": 2.0}
        assert batch.min_s == {"floor": 1.0}
        assert batch.rounds == {"floor": 3}

    def test_ratios_compare_times_of_one_round(self):
        """A machine that is slow in one round is slow for both."""
        times = {"ours_fp32": {0: 2.0, 1: 20.0, 2: 3.0}, "floor": {0: 1.0, 1: 10.0, 2: 1.0}}
        ratio = summarise(1, times, 0.0).ratios[ratio_name("ours_fp32", "floor")]
        assert (ratio.low, ratio.median, ratio.high) == (2.0, 2.0, 2.5)

    def test_a_ratio_takes_the_rounds_in_which_both_ran(self):
        times = {"paddle": {0: 10.0, 3: 20.0}, "ours_fp32": {0: 1.0, 1: 9.0, 2: 9.0, 3: 2.0}}
        assert summarise(1, times, 0.0).ratios[ratio_name("paddle", "ours_fp32")].median == 10.0

    def test_the_faster_plain_one_counts(self):
        for faster in ("onnxruntime_plain", "openvino_plain"):
            seconds = SECONDS | {faster: 0.1}
            ratios = summarise(1, rounds(2, seconds), 0.0).ratios
            assert ratios["ours_fp32 / the faster plain one"].median == pytest.approx(4.5)

    def test_what_was_not_measured_has_no_ratio(self):
        batch = summarise(1, {"ours_fp32": {0: 1.0}, "ours_int8": {}}, 0.0)
        assert (batch.ratios, set(batch.median_s)) == ({}, {"ours_fp32"})


LAYERS = [
    LayerTime("a", "Convolution", "brgconv", 5.0),
    LayerTime("b", "DeformableConvolution", "jit", 3.0),
    LayerTime("c", "FullyConnected", "brgemm", 0.5),
    LayerTime("d", "FullyConnectedQuantizedLegacy", "brgemm", 0.5),
    LayerTime("e", "Reorder", "reorder", 0.3),
    LayerTime("f", "TopK", "jit", 0.5),
    LayerTime("g", "Reorder", "reorder", 0.2),
]


def test_a_profile_has_the_shares_of_each_kind():
    found = profile_of(LAYERS)
    assert found.seconds == 10.0
    assert found.shares == pytest.approx({CONVOLUTION: 0.5, DEFORMABLE: 0.3, PRODUCT: 0.1, OTHER: 0.1})
    assert found.others == pytest.approx({"Reorder": 0.05, "TopK": 0.05})


class TestGoals:
    def verdicts(self, found):
        return {each.goal.figure: each.excess <= 0 for each in judge(found)}

    def test_speed(self):
        found = self.verdicts(result(summarise(1, rounds(3), 0.0)))
        assert found == {
            "ours_fp32 / floor": True,
            "ours_fp32 / the faster plain one": False,
            "ours_fp32 / ours_bf16": True,
            "ours_fp32 / ours_int8": True,
            "paddle / ours_fp32": False,
            "paddle_eager / ours_fp32": True,
        }

    def test_only_batch_1_is_judged_and_only_where_a_goal_was_set(self):
        assert judge(result(summarise(4, rounds(3), 0.0))) == []
        assert judge(result(summarise(1, rounds(3), 0.0), model="mini_faster")) == []

    @pytest.mark.parametrize(("fp32", "int8", "met"), [(0.04, 0.08, True), (0.041, 0.081, False)])
    def test_the_rest_of_the_time(self, fp32, int8, met):
        profiles = {
            name: Profile(1.0, {OTHER: share}, {}) for name, share in (("ours_fp32", fp32), ("ours_int8", int8))
        }
        assert set(self.verdicts(result(profiles=profiles)).values()) == {met}

    def test_the_larger_peak_counts(self):
        row3 = PUBLISHED[2][0].name
        peaks = {"ours_fp32": Peak(10**9, 3 * 10**9), "ours_int8": Peak(10**9, 10**9)}
        judged = judge(result(model=row3, peak_bytes=peaks))
        assert [(each.value, round(each.excess)) for each in judged] == [(3.0, 100), (1.0, -33)]

    def test_a_goal_of_at_least_is_missed_by_what_lacks(self):
        seconds = SECONDS | {"ours_int8": 0.45 / 1.2}
        judged = judge(result(summarise(1, rounds(1, seconds), 0.0)))
        (int8,) = [each for each in judged if each.goal.figure == "ours_fp32 / ours_int8"]
        assert int8.excess == pytest.approx(25.0)


def test_the_page_says_what_was_missed_and_what_not_to_trust():
    profile = profile_of(LAYERS)
    disturbed = result(
        summarise(1, rounds(4), 0.5),
        profiles={"ours_fp32": profile},
        peak_bytes={"ours_fp32": Peak(10**9, 2 * 10**9)},
        missing={"ours_int8": "no VNNI"},
    )
    text = document(*page([disturbed]))
    assert "| row | ours_fp32 / floor | at most 1.15 x | 1.12 [1.12, 1.12] x | met |" in text
    assert "| row | paddle / ours_fp32 | at least 7 x | 3.11 [3.11, 3.11] x | **missed** by 56 % |" in text
    assert "(0.450)" in text
    assert "not to be trusted" in text
    assert (
        "row: 4 rounds at batch 1, paddle 2, paddle_eager 2. Not judged. `ours_int8` was not measured" in text
    )
    assert "1,000 / 2,000 MB" in text
    quiet = document(*page([msgspec.structs.replace(disturbed, batches=(summarise(1, rounds(4), 0.01),))]))
    assert "(0.450)" not in quiet
    assert "not to be trusted" not in quiet


@pytest.mark.parametrize(
    ("row", "size"), [(1, (640, 640)), (2, (1024, 1504)), (3, (800, 1344)), (4, (640, 640))]
)
def test_the_inputs_have_the_largest_size(row, size):
    steps = next(entry for entry, _ in PUBLISHED if entry.row == row).preprocessing
    assert largest_size(steps) == size
    inputs = inputs_of(steps, 3)
    assert inputs["image"].shape == (3, 3, *size)
    np.testing.assert_array_equal(inputs["image_size"], [(steps.short_side, steps.long_side)] * 3)
    np.testing.assert_array_equal(inputs["image"][0], inputs["image"][2])
    assert (inputs["image"][0] != inputs["image"][1]).any()


class TestFloor:
    @pytest.fixture(scope="class")
    def twin(self, mini_folder):
        return network_alone(without_dcn(onnx.load(mini_folder / "model.onnx")))

    def test_it_has_trunk_and_heads_alone(self, twin):
        assert [tensor.name for tensor in twin.graph.input] == ["image", "roi_features"]
        levels = range(2, 2 + len(find("mini_faster").architecture.strides))
        assert {tensor.name for tensor in twin.graph.output} == {
            "class_logits_1",
            "box_deltas_1",
            *(f"rpn_{part}_p{level}" for part in ("score", "delta") for level in levels),
        }
        assert not [
            node for node in twin.graph.node if node.op_type in ("DeformConv", "Sigmoid") or node.domain
        ]

    def test_it_runs(self, twin):
        import onnxruntime

        session = onnxruntime.InferenceSession(twin.SerializeToString(), providers=["CPUExecutionProvider"])
        arch = find("mini_faster").architecture
        inputs = {
            "image": np.zeros((1, 3, 64, 96), np.float32),
            "roi_features": np.zeros((5, arch.fpn_channels, 7, 7), np.float32),
        }
        shapes = {
            tensor.name: value.shape
            for tensor, value in zip(session.get_outputs(), session.run(None, inputs), strict=True)
        }
        assert shapes["class_logits_1"] == (5, arch.num_classes + 1)
        assert shapes["rpn_score_p2"][2:] == (16, 24)

    def test_the_export_is_untouched(self, mini_folder):
        model = onnx.load(mini_folder / "model.onnx")
        before = model.SerializeToString()
        network_alone(model)
        assert model.SerializeToString() == before
