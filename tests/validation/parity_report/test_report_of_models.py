"""Engines of several models in one report: each compared with the reference of its own model."""

import json

import altered_engines
import fake_engine
import msgspec
import pytest
from altered_engines import altered, find_nothing

from pssdet.commands import artifacts
from pssdet.commands.app import app_of, execute
from pssdet.engines.registry import backend_named
from pssdet.errors import BadInput
from pssdet.models import zoo
from pssdet.models.card import FileRecord, WeightsRecord, read_engine_card
from pssdet.models.labels import SHAPES
from pssdet.validation import assemble as assembly
from pssdet.validation.assemble import assemble
from pssdet.validation.evaluate import Evaluated
from pssdet.validation.parity_report.render import write_report
from pssdet.validation.parity_report.schema import EngineResult, Report, Speed

ALIAS = {"model": "mini_alias", "labels": SHAPES[::-1], "onnx": FileRecord("model.onnx", "7" * 64, 1)}
BACKWARDS = tuple(reversed(range(len(SHAPES))))


@pytest.fixture(scope="module")
def sound(mini_folder):
    return mini_folder / "onnxruntime-fp32"


@pytest.fixture(scope="module")
def alias(sound, tmp_path_factory):
    """As good as mini_faster, but another model by its card, with its labels in another order."""
    folder = tmp_path_factory.mktemp("alias") / "onnxruntime-fp32"
    return altered(sound, folder, altered_engines.reorder_labels(BACKWARDS), **ALIAS)


@pytest.fixture(scope="module")
def faulty(sound, tmp_path_factory):
    return altered(sound, tmp_path_factory.mktemp("faulty") / "faulty", find_nothing, **ALIAS)


@pytest.fixture(scope="module")
def report(mini_folder, sound, alias, faulty, scenes):
    """The models' engines mixed, the reference of one being the last."""
    return assemble([sound, alias, faulty, mini_folder / "paddle-fp32"], *scenes, lambda _: None, replicas=50)


class TestReport:
    def test_every_engine_is_compared_with_the_reference_of_its_own_model(self, report):
        pairs = [(pair.model, pair.candidate, pair.reference, pair.verdict) for pair in report.comparisons]
        assert pairs == [
            ("mini_faster", "onnxruntime-fp32", "paddle-fp32", "PASS"),
            ("mini_alias", "faulty", "onnxruntime-fp32", "FAIL"),
        ]

    def test_engines_stand_with_their_model_in_the_order_named(self, report):
        assert [(engine.model, engine.name) for engine in report.engines] == [
            ("mini_faster", "onnxruntime-fp32"),
            ("mini_faster", "paddle-fp32"),
            ("mini_alias", "onnxruntime-fp32"),
            ("mini_alias", "faulty"),
        ]

    def test_each_models_labels_are_its_own(self, report):
        faster, _, alias, _ = report.engines
        assert alias.stats == pytest.approx(faster.stats, abs=1e-9)
        assert alias.stats["AP"] > 0.5

    def test_the_identity_has_both(self, report, sound, alias):
        cards = [read_engine_card(folder).model for folder in (sound, alias)]
        found = [(each.model, each.weights_sha256, each.onnx_sha256) for each in report.identity.models]
        assert found == [(card.model, card.weights.sha256, card.onnx.sha256) for card in cards]

    def test_written_and_read_again(self, report, tmp_path):
        write_report(report, tmp_path)
        content = (tmp_path / "report.json").read_bytes()
        assert msgspec.json.decode(content, type=Report) == report
        assert json.loads(content)["schema"] == 2


class TestRefused:
    def test_two_exports_of_one_model(self, sound, scenes, tmp_path):
        other = altered(sound, tmp_path / "other", find_nothing, onnx=ALIAS["onnx"])
        with pytest.raises(BadInput, match="different exports of mini_faster"):
            assemble([sound, other], *scenes, lambda _: None)

    def test_engines_of_one_model_in_folders_of_one_name(self, sound, scenes, tmp_path):
        other = altered(sound, tmp_path / sound.name, find_nothing)
        with pytest.raises(BadInput, match="same folder name"):
            assemble([sound, other], *scenes, lambda _: None)

    def test_a_model_of_other_classes_is_named_before_anything_runs(self, sound, scenes, tmp_path, monkeypatch):
        monkeypatch.setattr(assembly, "evaluate", None)
        labels = ("moon", *SHAPES[1:])
        other = altered(sound, tmp_path / "other", find_nothing, **ALIAS | {"labels": labels})
        with pytest.raises(
            BadInput, match=r"mini_alias's classes: the file lacks 'moon'; mini_alias does not know"
        ):
            assemble([sound, other], *scenes, lambda _: None)


def test_the_command_says_of_which_model_the_engine_is_that_failed(report, monkeypatch, tmp_path, capsys):
    from pssdet.commands.report import report as command

    monkeypatch.setattr(assembly, "assemble", lambda *_, **__: report)
    options = {
        "--engines": "alias",
        "--annotations": "scenes.json",
        "--images": "scenes",
        "--output": tmp_path / "out",
    }
    code = execute(app_of(command), [str(word) for option in options.items() for word in option])
    out, err = capsys.readouterr()
    assert code == 1
    assert "the engines disagree: mini_alias/faulty: faulty gave no detections" in err
    assert "2 comparisons: 1 FAIL, 1 PASS (mini_faster: 1 PASS; mini_alias: 1 FAIL)" in " ".join(out.split())


def test_the_default_engines_are_those_of_every_bundled_model_that_run_here(monkeypatch):
    other = msgspec.structs.replace(
        zoo.find("mini_faster"), name="mini_other", checkpoint="bundled:other.pdparams"
    )
    published = zoo.find("faster_rcnn_enhance_3x_coco")
    monkeypatch.setattr(zoo, "ZOO", (published, zoo.find("mini_faster"), other))
    monkeypatch.setattr(artifacts, "engine_of", lambda model, *rest: (model, *rest[:2]))
    lacking = {"bf16": "no bfloat16 here", "fp32": None, "int8": None}
    monkeypatch.setattr(backend_named("openvino"), "missing_for", lacking.__getitem__)
    engines = [("paddle", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "fp16")]
    engines += [("openvino", "fp32"), ("openvino", "int8")]
    expected = [(model, *engine) for model in ("mini_faster", "mini_other") for engine in engines]
    left_out = ["not measured: openvino in bf16: no bfloat16 here"]
    assert artifacts.bundled_engines(lambda _: None) == (expected, left_out)


class TestPublished:
    @staticmethod
    def evaluated(model, backend, ap, *, emulated=False, failure="", **changes):
        """An engine of the zoo's own model, with the changes in its model's card."""
        entry, card = zoo.find(model), fake_engine.fake_card()
        parts = {part: getattr(entry, part) for part in ("architecture", "numerics", "preprocessing", "labels")}
        of_model = msgspec.structs.replace(card.model, model=model, **parts | changes)
        card = msgspec.structs.replace(card, backend=backend, emulated=emulated, model=of_model)
        stats = {} if failure else {"AP": ap}
        speed = None if failure or emulated else Speed(100 * ap, {}, "", "", 1)
        result = EngineResult(model, backend, backend, "fp32", emulated, stats, 1, speed, failure)
        return Evaluated(None, card, [], result, None)

    def rows(self, *evaluated, is_val2017=True):
        rows = assembly._published(evaluated, is_val2017=is_val2017)
        return {row.row: (row.measured_ap, row.measured_fps) for row in rows}

    def test_each_model_has_its_own_figures(self):
        first, fourth = "faster_rcnn_dcn_r50_vd_fpn_3x_server_side", "faster_rcnn_enhance_3x_coco"
        engines = [
            self.evaluated(fourth, "paddle", 0.41),
            self.evaluated(fourth, "onnxruntime", 0.42),
            self.evaluated(first, "paddle", 0.31),
            self.evaluated(first, "onnxruntime", 0.32, emulated=True),
            self.evaluated(first, "tensorrt", 0.0, failure="no GPU"),
        ]
        unmeasured = (None, None)
        assert self.rows(*engines) == {1: (0.31, 31.0), 2: unmeasured, 3: unmeasured, 4: (0.42, 42.0)}
        assert set(self.rows(*engines, is_val2017=False).values()) == {unmeasured}

    def test_paddles_figures_stand_for_the_model_where_no_other_engine_is_able(self):
        name = "faster_rcnn_enhance_3x_coco"
        paddle = self.evaluated(name, "paddle", 0.41)
        failed = self.evaluated(name, "onnxruntime", 0.0, failure="it hung")
        assert self.rows(paddle, failed)[4] == (0.41, 41.0)
        assert self.rows(failed, paddle)[4] == (0.41, 41.0)
        assert self.rows(failed)[4] == (None, None)

    def test_another_model_of_a_published_name_has_not_measured_it(self):
        first, fourth = (
            zoo.find("faster_rcnn_dcn_r50_vd_fpn_3x_server_side"),
            zoo.find("faster_rcnn_enhance_3x_coco"),
        )
        changes = [
            {"weights": WeightsRecord("seeded")},
            {"numerics": first.numerics},
            {"preprocessing": first.preprocessing},
            {"labels": fourth.labels[::-1]},
            {"architecture": msgspec.structs.replace(fourth.architecture, fpn_channels=128)},
        ]
        assert self.rows(self.evaluated(fourth.name, "onnxruntime", 0.42))[4] == (0.42, 42.0)
        for change in changes:
            assert self.rows(self.evaluated(fourth.name, "onnxruntime", 0.42, **change))[4] == (None, None)
