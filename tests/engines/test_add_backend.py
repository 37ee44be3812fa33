"""A backend of one's own: this module, a line in the registry, and its options on the command line.

The toy runs the exported model in ONNX Runtime and multiplies its scores.
"""

import shutil
from dataclasses import dataclass, fields

import pytest

from pssdet.commands.build import Options
from pssdet.engines import registry
from pssdet.engines.backend import Backend, BuildOptions
from pssdet.engines.build_engine import build_engine, engine_folder
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.registry import choose_backend, open_engine
from pssdet.errors import BadInput, GateFailed
from pssdet.models.card import read_engine_card
from pssdet.models.sample import PICTURE
from pssdet.runtime.detector import Detector


@dataclass(frozen=True)
class ToyOptions(BuildOptions):
    scale: float = 1.0
    """Toy: what scores are multiplied by."""


class ToySession:
    def __init__(self, model, taps, scale):
        self._session = OnnxRuntimeSession(model, taps, cuda=False)
        self._scale = scale

    def run(self, inputs):
        outputs = self._session.run(inputs)
        return outputs | {"scores": outputs["scores"] * self._scale}

    def close(self):
        self._session.close()


class ToyBackend(Backend[ToyOptions]):
    name = "toy"
    files = ("toy.onnx", "scale.txt")
    options = ToyOptions

    def missing(self):
        return None

    def build(self, model, draft, folder, options, progress):
        shutil.copyfile(model / draft.model.onnx.name, folder / "toy.onnx")
        (folder / "scale.txt").write_text(str(options.scale))
        return draft

    def open(self, folder, card, taps=()):
        return ToySession(folder / "toy.onnx", taps, float((folder / "scale.txt").read_text()))


BACKEND = ToyBackend()


@pytest.fixture
def toy(monkeypatch):
    """The line in the registry."""
    monkeypatch.setitem(registry._MODULES, "toy", __name__)
    return choose_backend("toy", "fp32")


def test_it_builds_proves_and_detects(toy, mini_folder, tmp_path):
    folder = tmp_path / engine_folder(mini_folder, toy, "fp32").name
    card = build_engine(mini_folder, toy, "fp32", folder, options=ToyOptions(scale=1.0001))
    assert folder.name == "toy-fp32"
    assert card == read_engine_card(folder)
    assert (card.backend, card.options) == ("toy", {"scale": "1.0001"})
    assert {"p2", "proposals", "detections"} <= {record.stage for record in card.verification}
    with Detector.load(folder) as detector, Detector.load(mini_folder / "onnxruntime-fp32") as original:
        found, expected = detector([PICTURE])[0], original([PICTURE])[0]
    assert found.scores == pytest.approx(1.0001 * expected.scores)
    assert len(found) == len(expected) > 0


def test_its_stages_are_compared(toy, mini_folder, tmp_path):
    build_engine(mini_folder, toy, "fp32", tmp_path / "engine")
    opened = open_engine(tmp_path / "engine", stages=True)
    opened.session.close()
    assert opened.card.backend == "toy"


def test_what_is_wrong_is_not_written(toy, mini_folder, tmp_path):
    with pytest.raises(GateFailed, match="toy engine in fp32 differs"):
        build_engine(mini_folder, toy, "fp32", tmp_path / "engine", options=ToyOptions(scale=0.5))
    assert not (tmp_path / "engine").exists()


def test_it_refuses_what_it_does_not_have(toy, mini_folder, tmp_path):
    with pytest.raises(BadInput, match="backend toy has no --recipe"):
        toy.accept(Options(recipe=PICTURE), "fp16")
    with pytest.raises(BadInput, match="backend toy does not offer fp16"):
        choose_backend("toy", "fp16")


def test_its_options_join_those_of_the_command_line():
    @dataclass(frozen=True)
    class More(Options, ToyOptions):
        pass

    names = [each.name for each in fields(More)]
    assert "scale" in names
    assert len(names) == len(set(names)) == len(fields(Options)) + 1
    assert More(scale=2.0).narrowed(ToyOptions, "toy") == ToyOptions(2.0)
    with pytest.raises(BadInput, match="backend onnxruntime has no --scale"):
        registry.backend_named("onnxruntime").accept(More(scale=2.0), "fp32")
