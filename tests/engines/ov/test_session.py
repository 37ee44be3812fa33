"""The session on a CPU: shapes come and go, threads share it, and it gives each batch its own results."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from pssdet.engines.backend import Pipelined
from pssdet.engines.ov.conversion import save_ir, to_openvino
from pssdet.engines.ov.session import KEPT, OpenVinoSession, Threading
from pssdet.models.card import read_model_card
from pssdet.models.preprocess import sample_of_shape

pytest.importorskip("openvino")

SHAPES = [(1, 96, 128), (1, 128, 96), (2, 96, 96), (1, 64, 64), (1, 96, 160)]


@pytest.fixture(scope="module")
def ir(mini_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("ir") / "model.xml"
    save_ir(to_openvino(onnx.load(mini_folder / "model.onnx"), ["c2", "proposal_scores"]), path, "f32")
    return path


@pytest.fixture
def batches(mini_folder):
    steps = read_model_card(mini_folder).preprocessing
    return [sample_of_shape(steps, *shape) for shape in SHAPES]


@pytest.fixture
def session(ir, tmp_path, monkeypatch):
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path))
    return OpenVinoSession(ir)


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_as_many_shapes_are_kept_as_said_and_results_stay_equal(session, batches):
    assert len(SHAPES) > KEPT
    first = [session.run(batch) for batch in batches]
    assert len(session._compiled) == KEPT
    assert batches[0]["image"].shape not in session._compiled
    again = [session.run(batch) for batch in batches]
    assert all(equal(*both) for both in zip(first, again, strict=True))


def test_threads_get_their_own_results(session, batches):
    assert isinstance(session, Pipelined)
    expected = [session.run(batch) for batch in batches]
    numbers = [0, 2, 1, 0, 4, 3, 2, 0, 1, 4] * 3
    with ThreadPoolExecutor(4) as pool:
        obtained = list(pool.map(lambda number: session.run(batches[number]), numbers))
    assert all(equal(found, expected[number]) for found, number in zip(obtained, numbers, strict=True))


def test_results_do_not_change_with_the_next_batch(session, batches):
    first = session.submit(batches[0])
    mirrored = {
        name: value[..., ::-1].copy() if name == "image" else value for name, value in batches[0].items()
    }
    second = session.submit(mirrored)
    one = session.collect(first)
    kept = {name: value.copy() for name, value in one.items()}
    other = session.collect(second)
    assert equal(one, kept)
    assert not equal(one, other)


def test_stages_come_beside_the_outputs(ir, batches, tmp_path, monkeypatch):
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path))
    tapped = OpenVinoSession(ir, ["c2", "proposal_scores"]).run(batches[0])
    assert {"c2", "proposal_scores", "boxes"} <= tapped.keys()
    plain = OpenVinoSession(ir).run(batches[0])
    np.testing.assert_allclose(tapped["scores"], plain["scores"], atol=1e-5)


def test_streams_make_it_deeper_and_change_nothing(ir, session, batches):
    wider = OpenVinoSession(ir, threading=Threading(threads=2, streams=2))
    assert (session.depth, wider.depth) == (2, 3)
    np.testing.assert_allclose(wider.run(batches[0])["boxes"], session.run(batches[0])["boxes"], atol=1e-3)


def test_a_closed_session_runs_nothing(session, batches):
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(batches[0])


def test_opening_again_finds_the_compiled_model(ir, session, batches, tmp_path):
    session.run(batches[0])
    assert OpenVinoSession(ir).compiled(batches[0]["image"].shape).get_property("LOADED_FROM_CACHE")
