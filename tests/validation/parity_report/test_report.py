"""The report as a whole: sound engines pass, planted faults do not, broken engines cost only themselves."""

import json
import re

import msgspec
import pytest
import subprocess_work
from altered_engines import (
    altered,
    find_nothing,
    give_nan,
    looser_nms,
    lower_scores,
    plant_in_offsets,
    swap_channels,
)

from benchmarks.ablation import swap_pair, zero_offsets
from pssdet.commands.app import app_of, execute
from pssdet.errors import BadInput
from pssdet.models.card import ENGINE_CARD, FileRecord, encode, read_engine_card
from pssdet.validation import evaluate as evaluation
from pssdet.validation.assemble import assemble
from pssdet.validation.parity_report.render import write_report
from pssdet.validation.parity_report.schema import Report


@pytest.fixture(scope="module")
def sound(mini_folder):
    return mini_folder / "onnxruntime-fp32"


def compare(sound, candidates, scenes):
    report = assemble([sound, *candidates], *scenes, lambda _: None, replicas=200)
    return report, {comparison.candidate: comparison for comparison in report.comparisons}


@pytest.fixture(scope="module")
def full_report(mini_folder, scenes):
    engines = [mini_folder / name for name in ("onnxruntime-fp32", "paddle-fp32", "onnxruntime-fp16")]
    return assemble(engines, *scenes, lambda _: None, replicas=200)


class TestSoundEngines:
    def test_paddle_is_the_reference_wherever_it_stands(self, full_report):
        assert {comparison.reference for comparison in full_report.comparisons} == {"paddle-fp32"}

    def test_float32_passes_and_half_does_not_fail(self, full_report):
        verdicts = {comparison.candidate: comparison.verdict for comparison in full_report.comparisons}
        assert verdicts["onnxruntime-fp32"] == "PASS"
        assert verdicts["onnxruntime-fp16"] != "FAIL"

    def test_the_detector_is_worth_comparing(self, full_report):
        for engine in full_report.engines:
            assert engine.stats["AP"] > 0.5
            assert engine.detections > full_report.identity.images

    def test_half_differs_a_little(self, full_report):
        agreement = {c.candidate: c.agreement for c in full_report.comparisons}
        assert agreement["onnxruntime-fp32"].score_drift["max"] < 1e-3
        assert 0 < agreement["onnxruntime-fp16"].score_drift["p99"] < 0.02
        assert agreement["onnxruntime-fp16"].matched_share > 0.95

    def test_speed_says_what_it_includes_and_emulation_has_none(self, full_report):
        speed = {engine.name: engine.speed for engine in full_report.engines}
        assert speed["onnxruntime-fp16"] is None
        assert speed["onnxruntime-fp32"].images_per_second > 0
        assert "preprocessing" in speed["onnxruntime-fp32"].includes

    def test_published_figures_are_not_taken_for_measured_ones(self, full_report):
        assert [row.row for row in full_report.published] == [1, 2, 3, 4]
        assert all(row.measured_ap is None and row.measured_fps is None for row in full_report.published)

    def test_two_runs_give_the_same_figures(self, mini_folder, scenes, full_report):
        engines = [mini_folder / name for name in ("paddle-fp32", "onnxruntime-fp16")]
        again = assemble(engines, *scenes, lambda _: None, replicas=200)
        first = next(c for c in full_report.comparisons if c.candidate == "onnxruntime-fp16")
        assert again.comparisons[0] == first

    def test_written_and_read_again(self, full_report, tmp_path):
        write_report(full_report, tmp_path)
        assert msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report) == full_report
        assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]


class TestPlantedFaults:
    def test_nothing_found_is_a_fail(self, sound, scenes, tmp_path):
        _, comparisons = compare(sound, [altered(sound, tmp_path / "faulty", find_nothing)], scenes)
        assert comparisons["faulty"].verdict == "FAIL"
        assert comparisons["faulty"].first_broken_stage == "detections"
        assert comparisons["faulty"].agreement.matched_share == 0
        assert "no detections at all" in comparisons["faulty"].reason

    def test_swapped_channels_are_a_fail_and_show_from_the_first_stage_on(self, sound, scenes, tmp_path):
        _, comparisons = compare(sound, [altered(sound, tmp_path / "faulty", swap_channels)], scenes)
        faulty = comparisons["faulty"]
        assert faulty.verdict == "FAIL"
        assert faulty.delta_ap < -0.1
        assert faulty.first_broken_stage == "c2"
        assert faulty.disagreements

    @pytest.mark.parametrize("plant", [zero_offsets, swap_pair])
    def test_a_broken_deformable_convolution_is_a_fail(self, sound, scenes, tmp_path, plant):
        """c3 is the first stage with deformable convolutions."""
        _, comparisons = compare(sound, [altered(sound, tmp_path / "faulty", plant_in_offsets(plant))], scenes)
        faulty = comparisons["faulty"]
        assert faulty.verdict == "FAIL"
        assert faulty.delta_ap < 0
        assert faulty.first_broken_stage == "c3"

    def test_looser_nms_is_a_fail_by_the_detections_that_it_adds(self, sound, scenes, tmp_path):
        _, comparisons = compare(sound, [altered(sound, tmp_path / "faulty", looser_nms)], scenes)
        faulty = comparisons["faulty"]
        assert faulty.verdict == "FAIL"
        assert "added" in faulty.reason
        assert faulty.agreement.unmatched_candidate > 0
        assert faulty.first_broken_stage == "detections"

    def test_lower_scores_are_a_fail_though_ap_ignores_them(self, sound, scenes, tmp_path):
        _, comparisons = compare(sound, [altered(sound, tmp_path / "faulty", lower_scores)], scenes)
        faulty = comparisons["faulty"]
        assert faulty.delta_ap == pytest.approx(0, abs=1e-6)
        assert faulty.verdict == "FAIL"
        assert "scores" in faulty.reason
        assert faulty.agreement.score_shift == pytest.approx(-0.02 * 0.9, abs=0.006)
        assert faulty.first_broken_stage == "detections"


class TestBrokenEngines:
    def test_nan_fails_with_its_reason_and_the_others_stand(self, sound, scenes, tmp_path, mini_folder):
        nan = altered(sound, tmp_path / "nan", give_nan)
        report, comparisons = compare(sound, [nan, mini_folder / "onnxruntime-fp16"], scenes)
        assert comparisons["nan"].verdict == "FAIL"
        assert "not finite" in comparisons["nan"].reason
        assert comparisons["nan"].agreement is None
        assert comparisons["onnxruntime-fp16"].verdict != "FAIL"
        write_report(report, tmp_path / "out")
        assert "not finite" in (tmp_path / "out" / "report.html").read_text()

    def test_an_engine_that_takes_its_process_down(self, sound, monkeypatch):
        monkeypatch.setattr(evaluation, "_run_here", subprocess_work.crash)
        run = evaluation.run_engine(sound, [])
        assert run.failure == "the engine crashed its process"
        assert run.speed is None

    def test_a_crash_costs_that_engine_only(self, sound, scenes, tmp_path, monkeypatch):
        monkeypatch.setattr(evaluation, "_run_here", subprocess_work.crash_if_doomed)
        doomed = altered(sound, tmp_path / "doomed", find_nothing)
        report, comparisons = compare(sound, [doomed], scenes)
        assert comparisons["doomed"].verdict == "FAIL"
        assert comparisons["doomed"].reason == "the engine crashed its process"
        assert report.engines[0].stats["AP"] > 0.5

    def test_a_reference_that_finds_nothing_is_to_blame_itself(self, sound, scenes, tmp_path):
        silent = altered(sound, tmp_path / "silent", find_nothing)
        report = assemble([silent, sound], *scenes, lambda _: None, replicas=200)
        assert report.comparisons[0].verdict == "FAIL"
        assert "the reference silent gave no detections" in report.comparisons[0].reason

    def test_stages_that_cannot_be_compared_do_not_cost_the_report(self, sound, scenes, tmp_path):
        def drop_a_tap(graph):
            for node in graph.node:
                for names in (node.input, node.output):
                    names[:] = ["renamed" if name == "c2" else name for name in names]

        _, comparisons = compare(sound, [altered(sound, tmp_path / "untapped", drop_a_tap)], scenes)
        assert comparisons["untapped"].verdict == "PASS"
        assert comparisons["untapped"].first_broken_stage.startswith("not compared: ")

    def test_files_that_are_no_model(self, sound, scenes, tmp_path):
        folder = tmp_path / "garbage"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"no model")
        files = (FileRecord.of(folder / "model.onnx"),)
        card = msgspec.structs.replace(read_engine_card(sound), files=files, probe=None)
        (folder / ENGINE_CARD).write_bytes(encode(card))
        _, comparisons = compare(sound, [folder], scenes)
        assert comparisons["garbage"].verdict == "FAIL"
        assert comparisons["garbage"].reason


class TestDataSet:
    def test_pictures_that_cannot_be_used_are_counted(self, sound, scenes, tmp_path):
        annotations, folder = scenes
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "000003.jpg").unlink()
        (tmp_path / "000005.jpg").write_bytes(b"\xff\xd8\xff but not a picture")
        content = bytearray((tmp_path / "000007.jpg").read_bytes())
        middle = len(content) // 2
        content[middle : middle + 400] = bytes(400)  # decoders go on with grey
        (tmp_path / "000007.jpg").write_bytes(content)
        (tmp_path / "000009.jpg").write_bytes((tmp_path / "000008.jpg").read_bytes())
        report = assemble([sound], annotations, tmp_path, lambda _: None)
        assert report.identity.images == len(json.loads(annotations.read_bytes())["images"]) - 4
        assert len(report.warnings) == 4
        assert any("000007.jpg" in warning and "damaged" in warning for warning in report.warnings)
        assert any(
            "000009.jpg" in warning and "the annotation file says" in warning for warning in report.warnings
        )
        assert any("000003.jpg" in warning for warning in report.warnings)
        assert any("000005.jpg" in warning and "damaged" in warning for warning in report.warnings)

    def test_no_engines(self, scenes):
        with pytest.raises(BadInput, match="no engines"):
            assemble([], *scenes, lambda _: None)


class TestCommand:
    @pytest.fixture
    def command(self, monkeypatch, tmp_path, capsys):
        from pssdet.commands.report import report

        monkeypatch.chdir(tmp_path)

        def run(*arguments):
            code = execute(app_of(report), [str(argument) for argument in arguments])
            return code, *capsys.readouterr()

        return run

    def test_a_failed_comparison_is_exit_code_1(self, command, sound, scenes, tmp_path):
        faulty = altered(sound, tmp_path / "faulty", find_nothing)
        annotations, images = scenes
        arguments = ("--engines", sound, faulty, "--annotations", annotations, "--images", images, "--json")
        code, out, err = command(*arguments)
        assert code == 1
        assert "faulty" in err
        assert json.loads(out)["comparisons"][0]["verdict"] == "FAIL"
        assert (tmp_path / "artifacts" / "report" / "report.html").exists()

    def test_one_engine_alone_has_an_ap_and_no_verdict(self, command, sound, scenes):
        annotations, images = scenes
        code, out, _ = command("--engines", sound, "--annotations", annotations, "--images", images)
        assert code == 0
        assert re.search(
            r"mini_faster/onnxruntime-fp32: AP [5-9]\d\.\d{3} on \d+ images, compared with nothing", out
        )
        assert "Nothing was compared" in out
        assert "verdict" not in out

    def test_one_broken_engine_alone_gives_its_reason(self, command, sound, scenes, tmp_path):
        annotations, images = scenes
        nan = altered(sound, tmp_path / "nan", give_nan)
        code, _, err = command("--engines", nan, "--annotations", annotations, "--images", images)
        assert code == 1
        assert "nan: " in err
        assert "not finite" in err

    def test_annotations_without_images(self, command, scenes):
        code, _, err = command("--annotations", scenes[0])
        assert code == 2
        assert "go together" in err

    def test_annotations_that_are_none(self, command, sound, scenes, tmp_path):
        (tmp_path / "wrong.json").write_text("{}")
        code, _, err = command("--engines", sound, "--annotations", "wrong.json", "--images", scenes[1])
        assert code == 2
        assert "wrong.json" in err
