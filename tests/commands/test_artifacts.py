"""Engines that commands build because they are missing."""

import pytest

from pssdet.commands import artifacts
from pssdet.engines.registry import choose_backend, why_automatic


@pytest.fixture
def reasons(monkeypatch, tmp_path):
    """The reasons that builds were given."""
    given = []
    monkeypatch.setattr(artifacts, "model_folder", lambda *_: tmp_path)
    monkeypatch.setattr(artifacts, "build_engine", lambda *words: given.append(words[6]))
    return given


def test_the_card_says_why_auto_took_a_backend(reasons):
    artifacts.engine_of("mini_faster", "auto", "fp32", lambda _: None)
    assert reasons == [why_automatic(choose_backend("auto", "fp32"), "fp32")]
    assert reasons[0].startswith("the first of tensorrt, openvino, onnxruntime, paddle that runs fp32 here")


def test_one_that_was_named_needs_no_reason(reasons):
    artifacts.engine_of("mini_faster", "onnxruntime", "fp32", lambda _: None)
    assert reasons == [""]
