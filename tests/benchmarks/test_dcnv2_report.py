"""Goals, statistics and the report, from test data: no figure here was measured."""

import pytest

from benchmarks.gpu import environment
from benchmarks.gpu.dcnv2_report import failures, goals, render
from benchmarks.gpu.dcnv2_steps import layers_name, sets_needed, sums_name
from benchmarks.gpu.shapes import SIZES, Layer, Problem, layers, shapes
from benchmarks.gpu.suite import Results, slug
from benchmarks.gpu.timing import quantile

MAIN = SIZES[0]


def timing(median, sets=2, nodes=13, *, in_graph=True):
    counted = {"kernel": nodes * sets} if nodes else None
    spread = {"p10_us": median - 1, "p90_us": median + 1, "turns": [median, median]}
    return {"median_us": median, **spread, "runs": 200, "sets": sets, "in_graph": in_graph, "nodes": counted}


def row(layer="c5.1", form="fp16 NHWC", k=4608, errors=None, failures=()):
    errors = {"auto": 3e-4, "tile 0": 4e-4} if errors is None else errors
    return {
        "layer": layer,
        "batch": 2,
        "k": k,
        "format": form,
        "reach": "near",
        "limit": 2e-3,
        "errors": errors,
        "failures": list(failures),
    }


def full_run(gpu="NVIDIA H200", one=100.0, eight=400.0, rows=None):
    """Results of a whole run."""
    results = Results(path=None, identity={"gpu": gpu, "quick": False}, runs=[{"date": "never", "GPU": gpu}])

    def put(name, result):
        results.steps[name] = {"seconds": 1.0, "result": result}

    put("odd shapes", {"rows": [row("5x5", k=300)]})
    put(
        "correctness 640x640",
        {"rows": [row(), row("c3.0", "fp32 NCHW", 1152, {"auto": 1e-6})] if rows is None else rows},
    )
    put(
        "two streams",
        {"rows": [{"layers": "c3.0 and c3.1", "format": "fp16 NHWC", "runs": 32, "different": 0}]},
    )
    put("second opinion", {"rows": [{"layer": "c3.0", "difference": 2e-14, "limit": 1e-9}]})
    put("ceilings", {"tflop_per_second": 777.0, "tb_per_second": 4.25})
    for batch, ours in ((1, one), (8, eight)):
        times = {"fp16 NHWC": timing(ours), "fp16 NHWC, raw": timing(0.9 * ours)}
        times |= {
            "torchvision": timing(5 * ours, nodes=40, in_graph=batch == 8),
            "convolution": timing(0.8 * ours),
        }
        put(
            sums_name(50, MAIN, batch),
            {"times": times, "unavailable": {"tensorrt": "tensorrt cannot be imported"}},
        )
    tiles = {"auto": timing(5.0), "tile 0": timing(6.0), "tile 1": timing(4.0)}
    found = [{"layer": layer.name, "format": "fp16 NHWC", "times": tiles} for layer in shapes(50, MAIN, 1)]
    put(layers_name(MAIN, 1), {"rows": found})
    return results


def verdicts(results):
    return [goal.verdict for goal in goals(results)]


class TestGoals:
    def test_all_met_but_what_was_not_measured(self):
        assert verdicts(full_run()) == ["met"] * 4 + ["not measured"] * 2 + ["met"] * 5
        first = goals(full_run())[0]
        assert (first.number, first.measured) == (1, "400 us, 62% of the roofline")

    def test_the_slower_format_is_judged(self):
        results = full_run()
        results.steps[sums_name(50, MAIN, 8)]["result"]["times"]["fp16 NHWC, raw"] = timing(416.0)
        assert verdicts(results)[0] == "missed"

    @pytest.mark.parametrize(("one", "eight", "place"), [(121, 400, 1), (100, 416, 0), (50, 401, 10)])
    def test_limits(self, one, eight, place):
        found = verdicts(full_run(one=one, eight=eight))
        assert [number for number, verdict in enumerate(found) if verdict == "missed"] == [place]

    def test_baselines(self):
        results = full_run()
        for batch, name, time in (
            (1, "torchvision", 299.0),
            (8, "torchvision", 1599.0),
            (8, "convolution", 266.0),
        ):
            results.steps[sums_name(50, MAIN, batch)]["result"]["times"][name] = timing(time)
        results.steps[sums_name(50, MAIN, 1)]["result"]["times"]["tensorrt"] = timing(200.0)
        results.steps[sums_name(50, MAIN, 8)]["result"]["times"]["tensorrt"] = timing(1100.0)
        found = goals(results)
        assert [goal.verdict for goal in found[2:8]] == ["missed", "missed", "met", "missed", "met", "missed"]
        assert found[4].measured == "2.0 times"
        assert found[7].measured == "1.50 times"

    def test_speed_is_not_judged_on_another_gpu(self):
        found = verdicts(full_run(gpu="Tesla V100-SXM2-16GB", one=1000.0))
        assert found == ["not judged"] * 4 + ["not measured"] * 2 + ["not judged"] * 2 + [
            "met",
            "met",
            "not judged",
        ]

    def test_a_graph_with_anything_but_kernels(self):
        results = full_run()
        times = results.steps[sums_name(50, MAIN, 8)]["result"]["times"]
        times["fp16 NHWC"]["nodes"] = {"kernel": 26, "alloc": 2}
        assert verdicts(results)[8] == "missed"
        times["fp16 NHWC"]["nodes"] = {"kernel": 208}
        assert verdicts(results)[8] == "missed"
        times["fp16 NHWC"]["nodes"] = None
        assert verdicts(results)[8] == "not measured"

    def test_errors_of_the_deepest_product(self):
        assert verdicts(full_run(rows=[row(errors={"auto": 2.1e-3})]))[9] == "missed"
        assert verdicts(full_run(rows=[row(errors={"auto": 1e-4, "tile 0": None})]))[9] == "missed"
        assert verdicts(full_run(rows=[row(errors={"auto": None})]))[9] == "missed"
        assert verdicts(full_run(rows=[row(k=2304)]))[9] == "not measured"
        assert verdicts(full_run(rows=[row(form="fp32 NCHW")]))[9] == "not measured"

    def test_nothing_measured(self):
        nothing = Results(path=None, identity={"gpu": "NVIDIA H200", "quick": False})
        assert set(verdicts(nothing)) == {"not measured"}


class TestReport:
    def test_the_figures_are_in_their_tables(self):
        text = render(full_run())
        assert "6 launches" not in text  # 2 + 2 + 1
        assert "5 launches compared with float64, 0 failures" in text
        assert "790 TFLOP/s and 4.3 TB/s (measured on such a card" in text
        assert "reached 777 TFLOP/s and a copy 4.25 TB/s" in text
        assert "| R50 640x640 N=8 | 248.5 | 400.0 | 62% | 360.0 | 69% | 550.1 | 2000.0 | - | 320.0 |" in text
        assert "- sums R50 640x640 N=8: tensorrt not measured (tensorrt cannot be imported)" in text
        assert "- sums R50 640x640 N=1: torchvision was launched piece by piece, not in a graph" in text
        assert "## Layers 640x640 N=1" in text
        assert "| c3.1 | fp16 NHWC | 2.4 | 48% | 5.0 | 6.0 | **4.0** | +25% |" in text
        assert (
            "| correctness 640x640 | fp16 NHWC | 2 | 4.0e-04 | 2e-03 | c5.1, N=2, near offsets, tile 0 |"
            in text
        )
        assert "0 of 32 results differ" in text
        assert "at most 2.0e-14 of the largest value" in text

    def test_tables_are_whole(self):
        for block in render(full_run()).split("\n\n"):
            widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
            assert len(widths) <= 1, block

    def test_failures_come_first(self):
        results = full_run(rows=[row(failures=["tile 0: two runs differ"] * 25)])
        text = render(results)
        assert "25 failures" in text
        assert "- correctness 640x640, c5.1, N=2, fp16 NHWC, near offsets: tile 0: two runs differ" in text
        assert "- and 5 more" in text
        assert len(failures(results)) == 25

    def test_an_unknown_gpu(self):
        text = render(full_run(gpu="NVIDIA Stub 1"))
        assert "Roofline: not computed" in text
        assert "| R50 640x640 N=8 | - | 400.0 | not computed |" in text

    def test_nothing_yet(self):
        assert "0 launches" in render(Results(path=None, identity={"gpu": "NVIDIA H200", "quick": True}))


def test_quantiles():
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile([5, 1, 9], 0.5) == 5
    assert [quantile(range(11), share) for share in (0, 0.1, 0.9, 1)] == [0, 1, 9, 10]
    assert quantile([7], 0.9) == 7


def test_enough_sets_that_the_cache_holds_none():
    class Device:
        l2_bytes = 60 << 20

    small = [Layer("a", Problem(1, 8, 8, 8, 8))]
    assert sets_needed(Device, small) == 32
    assert sets_needed(Device, layers(50, MAIN, 1)) == 5  # 58 MB each
    assert sets_needed(Device, layers(50, MAIN, 8)) == 2


def test_names_of_files():
    assert slug("NVIDIA H200") == "h200"
    assert slug("Tesla V100-SXM2-16GB") == "tesla_v100_sxm2_16gb"


class TestEnvironment:
    def test_figures_of_the_driver(self):
        answer = "580.159.03, 1980, 1980, 3201, 700.00, 41"
        found = environment.driver_figures(lambda _: answer)
        assert found["driver"] == "580.159.03"
        assert found["temperature, C"] == "41"
        assert set(environment.driver_figures(lambda _: "").values()) == {"not known"}

    def test_commit(self):
        answers = {"rev-parse": "abc", "status": " M plugins/x"}
        assert environment.commit(lambda command: answers[command[1]]) == "abc, with changes"
        assert environment.commit(lambda command: {"rev-parse": "abc", "status": ""}[command[1]]) == "abc"
        assert environment.commit(lambda _: "") == "not known"

    def test_a_missing_program_is_no_answer(self):
        assert environment.output_of(["no-such-program-here"]) == ""

    def test_the_hash_sees_names_and_contents(self, tmp_path):
        (tmp_path / "a.h").write_text("1")
        first = environment.hash_of(tmp_path)
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "a.pyc").write_text("1")
        assert environment.hash_of(tmp_path) == first
        (tmp_path / "a.h").rename(tmp_path / "b.h")
        assert environment.hash_of(tmp_path) != first
