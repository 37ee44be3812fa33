"""The backend of docs/how-to/add-a-backend.md: the module on the page, a line in the registry, its options."""

from dataclasses import dataclass, fields

import pytest
from pages import blocks, module_of

from pssdet.commands.build import Options
from pssdet.engines import registry
from pssdet.engines.build_engine import build_engine, engine_folder
from pssdet.engines.registry import choose_backend, open_engine
from pssdet.errors import BadInput, GateFailed
from pssdet.models.card import read_engine_card
from pssdet.models.preprocess import PICTURE
from pssdet.runtime.detector import Detector


@pytest.fixture
def module(tmp_path, monkeypatch):
    (code,) = blocks("add-a-backend.md", "python")
    return module_of(code, "toy_backend", tmp_path, monkeypatch)


@pytest.fixture
def toy(module, monkeypatch):
    """The line in the registry."""
    monkeypatch.setitem(registry._MODULES, "toy", module.__name__)
    return choose_backend("toy", "fp32")


def test_it_builds_proves_and_detects(toy, mini_folder, tmp_path):
    folder = tmp_path / engine_folder(mini_folder, toy, "fp32").name
    card = build_engine(mini_folder, toy, "fp32", folder, options=toy.options(scale=1.0001))
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
        build_engine(mini_folder, toy, "fp32", tmp_path / "engine", options=toy.options(scale=0.5))
    assert not (tmp_path / "engine").exists()


def test_it_refuses_what_it_does_not_have(toy, mini_folder, tmp_path):
    with pytest.raises(BadInput, match="backend toy has no --recipe"):
        toy.accept(Options(recipe=PICTURE), "fp16")
    with pytest.raises(BadInput, match="backend toy does not offer fp16"):
        choose_backend("toy", "fp16")


def test_its_options_join_those_of_the_command_line(module):
    @dataclass(frozen=True)
    class More(module.ToyOptions, Options):
        pass

    names = [each.name for each in fields(More)]
    assert "scale" in names
    # Also where the toy was added for good.
    assert set(names) == {each.name for each in fields(Options)} | {"scale"}
    assert len(names) == len(set(names))
    assert More(scale=2.0).narrowed(module.ToyOptions, "toy") == module.ToyOptions(2.0)
    with pytest.raises(BadInput, match="backend onnxruntime has no --scale"):
        registry.backend_named("onnxruntime").accept(More(scale=2.0), "fp32")
