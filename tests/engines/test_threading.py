"""How sessions on a CPU share the cores: the impossible is refused, the threads are those that were given."""

import pytest

from pssdet.engines import backend as backend_module
from pssdet.engines.backend import Threading
from pssdet.engines.backends import onnx_runtime
from pssdet.engines.registry import backend_named, open_engine
from pssdet.errors import BadInput

BOTH = frozenset({"threads", "streams"})


@pytest.fixture(autouse=True)
def cores(monkeypatch):
    for module in (backend_module, onnx_runtime):
        monkeypatch.setattr(module, "usable_cores", lambda: 4)


@pytest.mark.parametrize(
    ("threading", "offered", "message"),
    [
        (Threading(threads=-1), BOTH, "-1 threads are impossible; choose 1 or more"),
        (Threading(streams=-2), BOTH, "-2 streams are impossible; choose 1 or more"),
        (
            Threading(threads=2),
            frozenset(),
            "backend fake has no --threads; leave it out or take another engine",
        ),
        (
            Threading(threads=1, streams=2),
            frozenset({"threads"}),
            "backend fake has no --streams; leave it out or take another engine",
        ),
        (
            Threading(threads=1, streams=4),
            BOTH,
            (
                "each stream needs a thread: --streams 4 are too many for --threads 1;"
                " choose 1 or fewer, or more --threads"
            ),
        ),
        (
            Threading(streams=5),
            BOTH,
            (
                "each stream needs a thread: --streams 5 are too many for the 4 cores here;"
                " choose 4 or fewer, or more --threads"
            ),
        ),
        (Threading(threads="2"), BOTH, "'2' threads are impossible; choose 1 or more"),
        (Threading(streams=1.5), BOTH, "1.5 streams are impossible; choose 1 or more"),
        (Threading(threads=True), BOTH, "True threads are impossible; choose 1 or more"),
        (Threading(hint="speed"), BOTH, "no hint is called 'speed'; choose from latency, throughput"),
    ],
)
def test_refused_in_one_line(threading, offered, message):
    with pytest.raises(BadInput) as refusal:
        threading.check(offered, "fake")
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    "threading",
    [
        Threading(),
        Threading(hint="throughput"),
        Threading(threads=1, hint="throughput"),
        Threading(threads=8, streams=8),
        Threading(streams=4),
    ],
)
def test_taken(threading):
    threading.check(BOTH, "fake")
    assert threading.chosen_streams() <= (threading.threads or 4)


def test_automatic_suits_every_backend():
    Threading(hint="throughput").check(frozenset(), "fake")


def test_an_engine_is_not_opened_with_more_streams_than_threads(mini_folder):
    with pytest.raises(BadInput, match="--streams 4 are too many for --threads 1"):
        open_engine(mini_folder / "onnxruntime-fp32", threading=Threading(threads=1, streams=4))


@pytest.mark.parametrize("threading", [2, "throughput", None])
def test_what_is_no_threading(mini_folder, threading):
    with pytest.raises(BadInput, match=r"is no Threading; write Threading\(threads=2\)"):
        open_engine(mini_folder / "onnxruntime-fp32", threading=threading)


@pytest.mark.parametrize(
    ("threading", "threads"),
    [
        (Threading(), 0),
        (Threading(threads=1), 1),
        (Threading(threads=3), 3),
        (Threading(streams=4), 1),
        (Threading(threads=4, streams=3), 2),
        (Threading(threads=2, hint="throughput"), 1),
    ],
)
def test_streams_of_onnx_runtime_share_the_threads(monkeypatch, threading, threads):
    """Each stream runs in a thread of its own, beside one fewer than ONNX Runtime is told."""
    told = []

    class Session:
        def __init__(self, model, taps, *, cuda, threads):
            told.append(threads)

        def close(self):
            pass

    monkeypatch.setattr(onnx_runtime, "OnnxRuntimeSession", Session)
    monkeypatch.setattr(onnx_runtime, "_has_cuda", lambda: False)
    card = type("Card", (), {"precision": "fp32", "emulated": False})
    session = backend_named("onnxruntime").open(onnx_runtime.Path(), card, (), threading)
    session.close()
    assert told == [threads]
    if threading.threads:
        assert session.depth - 1 + told[0] - 1 == threading.threads
