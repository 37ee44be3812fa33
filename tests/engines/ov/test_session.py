"""The session on a CPU: shapes come and go, threads share it, and it gives each batch its own results."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from pssdet.engines.backend import Pipelined
from pssdet.engines.ov import compiled_models, conversion
from pssdet.engines.ov import session as session_module
from pssdet.engines.ov.conversion import save_ir, to_openvino
from pssdet.engines.ov.session import OWN, OpenVinoSession, Threading
from pssdet.errors import BadInput
from pssdet.models.card import read_model_card
from pssdet.models.preprocess import sample_of_shape
from pssdet.runtime.overlap import run_ahead

pytest.importorskip("openvino")

SHAPES = [(1, 96, 128), (1, 128, 96), (2, 96, 96), (1, 64, 64), (1, 96, 160), (3, 64, 96)]


@pytest.fixture(scope="module")
def ir(mini_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("ir") / "model.xml"
    save_ir(to_openvino(onnx.load(mini_folder / "model.onnx"), ["c2", "proposal_scores"]), path, "f32")
    return path


@pytest.fixture
def batches(mini_folder):
    steps = read_model_card(mini_folder).preprocessing
    return [sample_of_shape(steps, *shape) for shape in SHAPES]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def session(ir):
    return OpenVinoSession(ir)


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_the_first_shapes_have_models_of_their_own_and_the_others_share_one(session, batches):
    for batch in batches:
        session.run(batch)
    assert list(session._compiled) == [batch["image"].shape for batch in batches[:OWN]] + [None]


def test_the_shared_model_can_be_asked_for_first_and_takes_no_place(session, batches):
    assert all(each.get_partial_shape().is_dynamic for each in session.compiled(None).inputs)
    for batch in batches:
        session.run(batch)
    assert list(session._compiled) == [None] + [batch["image"].shape for batch in batches[:OWN]]


def test_a_shared_model_gives_the_same_values_but_for_rounding(ir, session, batches):
    in_order = [session.run(batch) for batch in batches]
    other = OpenVinoSession(ir)
    reversed_order = [other.run(batch) for batch in batches[::-1]][::-1]
    for first, second in zip(in_order, reversed_order, strict=True):
        np.testing.assert_array_equal(first["count"], second["count"])
        np.testing.assert_allclose(first["scores"], second["scores"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(first["boxes"], second["boxes"], rtol=0, atol=1e-3)
    assert equal(session.run(batches[-1]), in_order[-1])


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
    assert (session.depth, wider.depth) == (2, 4)
    assert equal(wider.run(batches[0]), session.run(batches[0]))


@pytest.mark.parametrize(
    ("threading", "pinned"), [({}, True), ({"streams": 2}, False), ({"threads": 1}, False)]
)
def test_threads_are_pinned_only_where_one_stream_has_all_cores(ir, batches, threading, pinned):
    compiled = OpenVinoSession(ir, threading=Threading(**threading)).compiled(batches[0]["image"].shape)
    assert compiled.get_property("ENABLE_CPU_PINNING") is pinned


def test_a_closed_session_runs_nothing(session, batches):
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(batches[0])


def from_cache(ir, shape, monkeypatch):
    """Whether a session that opens the IR for the shape finds it compiled."""
    made = []
    compile_it = OpenVinoSession._newly_compiled
    monkeypatch.setattr(
        OpenVinoSession, "_newly_compiled", lambda self, shape: made.append(shape) or compile_it(self, shape)
    )
    OpenVinoSession(ir, cached=True).compiled(shape)
    monkeypatch.setattr(OpenVinoSession, "_newly_compiled", compile_it)
    return not made


@pytest.fixture
def kept(tmp_path):
    """The files of compiled models, when called."""
    return lambda: list((tmp_path / "cache").rglob("*.compiled"))


def test_opening_again_finds_the_compiled_model(ir, batches, monkeypatch):
    shape = batches[0]["image"].shape
    assert [from_cache(ir, shape, monkeypatch) for _ in range(2)] == [False, True]
    assert equal(OpenVinoSession(ir, cached=True).run(batches[0]), OpenVinoSession(ir).run(batches[0]))


def test_only_if_that_is_wanted(session, batches, kept):
    session.run(batches[0])
    assert not kept()


@pytest.mark.parametrize("place", [0.001, 0.3, 0.999])
def test_a_damaged_one_is_compiled_again(ir, batches, kept, monkeypatch, place):
    shape = batches[0]["image"].shape
    from_cache(ir, shape, monkeypatch)
    (file,) = kept()
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)
    assert [from_cache(ir, shape, monkeypatch) for _ in range(2)] == [False, True]


def test_another_one_under_its_name_is_not_taken(ir, batches, kept, monkeypatch):
    shapes = [each["image"].shape for each in batches[:2]]
    for shape in shapes:
        from_cache(ir, shape, monkeypatch)
    one, other = kept()
    shutil.copyfile(one, other)
    assert sorted(from_cache(ir, shape, monkeypatch) for shape in shapes) == [False, True]


@pytest.mark.parametrize("cache", ["a file", "/proc/nowhere"])
def test_it_goes_without_a_folder_for_them(ir, batches, tmp_path, monkeypatch, cache):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / cache))
    assert "boxes" in OpenVinoSession(ir, cached=True).run(batches[0])


def test_not_that_of_a_model_with_other_nodes_in_float32(ir, batches, tmp_path, monkeypatch):
    """They differ in nothing but the marks of layers."""
    other = tmp_path / "model.xml"
    shutil.copyfile(ir.with_suffix(".bin"), other.with_suffix(".bin"))
    shutil.copyfile(ir, other)
    conversion._hold_to_float32(other, ["trunk/Conv_0"])
    shape = batches[0]["image"].shape
    assert [from_cache(each, shape, monkeypatch) for each in (ir, other)] == [False, False]


def test_the_disk_does_not_fill(ir, batches, kept, monkeypatch):
    monkeypatch.setattr(compiled_models, "CACHED_BYTES", 1)
    for each in batches[:2]:
        from_cache(ir, each["image"].shape, monkeypatch)
    assert len(kept()) == 1


@pytest.fixture
def slow(mini_folder, session):
    """A batch that is still computed when the next lines of a test run; it was compiled for already."""
    batch = sample_of_shape(read_model_card(mini_folder).preprocessing, 4, 384, 512)
    session.run(batch)
    return batch


def test_nothing_runs_once_a_stream_is_left(session, slow, monkeypatch):
    requests = []
    submit = session.submit
    monkeypatch.setattr(session, "submit", lambda inputs: requests.append(submit(inputs)) or requests[-1])
    results = run_ahead(session, ((None, slow) for _ in range(5)))
    next(results)
    results.close()
    assert len(requests) == session.depth
    assert all(request.infer.wait_for(0) for request in requests)
    session.run(slow)


def test_closing_waits_for_what_was_submitted(session, slow):
    expected = session.run(slow)
    requests = [session.submit(slow) for _ in range(2)]
    assert not requests[-1].infer.wait_for(0)
    session.close()
    assert all(request.infer.wait_for(0) for request in requests)
    assert all(equal(session.collect(request), expected) for request in requests)
    session.close()


def test_only_batches_under_way_are_kept(session, batches):
    request = session.submit(batches[0])
    assert session._running == {request}
    session.collect(request)
    assert not session._running


def test_a_run_that_fails_is_kept_no_longer(session, batches):
    request = session.submit(batches[0])
    request.infer.wait()

    class Failing:
        def wait(self):
            raise RuntimeError("out of memory")

    broken = session_module._Request(request.compiled, Failing(), request.inputs)
    session._running.add(broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        session.collect(broken)
    assert session._running == {request}


@pytest.mark.parametrize("content", ["<net", "<net name='x' version='11'><layers/><edges/></net>"])
def test_an_ir_that_openvino_cannot_read_is_said_in_one_line(ir, tmp_path, content):
    path = tmp_path / "model.xml"
    path.write_text(content)
    shutil.copyfile(ir.with_suffix(".bin"), path.with_suffix(".bin"))
    with pytest.raises(BadInput, match=r"cannot read .*model\.xml \(.+\); build the engine again") as refusal:
        OpenVinoSession(path)
    assert "\n" not in str(refusal.value)
