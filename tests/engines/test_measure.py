"""Backends timed side by side: in turn, with pauses, and those that fail named with their reason."""

from types import SimpleNamespace

import pytest
from fake_engine import fake_card

from pssdet.engines import measure as module
from pssdet.engines.backend import DEFAULTS
from pssdet.errors import EnvironmentMissing, GateFailed


class Clock:
    """Seconds that pass by pauses and runs only; ``said`` is what happened, in order."""

    def __init__(self):
        self.now = 0.0
        self.said = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.said.append("pause")
        self.now += seconds


class Backend:
    """Its sessions take ``seconds`` a run, the first one 100 times that; ``fails`` says where it raises."""

    def __init__(self, name, clock, seconds=0.0, fails=None, error=None):
        self.name, self.clock, self.seconds, self.fails, self.error = name, clock, seconds, fails, error
        self.runs = 0
        self.closed = 0

    def reach(self, where):
        if where == self.fails:
            raise self.error

    def open(self, folder, card):
        self.reach("open")
        return self

    def run(self, inputs):
        self.reach("run")
        if self.runs:
            self.clock.said.append(self.name)
        self.clock.now += self.seconds * (1 if self.runs else 100)
        self.runs += 1

    def close(self):
        self.closed += 1


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "perf_counter", made)
    monkeypatch.setattr(module, "sleep", made.sleep)
    return made


@pytest.fixture
def timed(monkeypatch, tmp_path):
    def run(*backends):
        def build(model, backend, precision, target, *, options):
            backend.reach("build")
            return SimpleNamespace()

        monkeypatch.setattr(module, "read_model_card", lambda _: fake_card().model)
        monkeypatch.setattr(module, "candidates", lambda _: list(backends))
        monkeypatch.setattr(module, "build_engine", build)
        return module.measure(tmp_path, "fp32", DEFAULTS)

    return run


def test_each_round_begins_with_the_next_one_and_each_run_follows_a_pause(clock, timed, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 4)
    timed(*(Backend(name, clock, 0.01) for name in "abc"))
    assert clock.said[::2] == ["pause"] * 12
    assert "".join(clock.said[1::2]) == "abcbcacababc"


def test_medians_are_of_runs_without_pauses_and_without_the_first(clock, timed):
    slow, fast = Backend("slow", clock, 0.02), Backend("fast", clock, 0.01)
    measured = timed(slow, fast)
    assert measured.seconds == pytest.approx({"slow": 0.02, "fast": 0.01})
    assert list(measured.seconds) == ["slow", "fast"]
    assert measured.fastest == "fast"
    assert measured.failed == {}
    assert slow.closed == fast.closed == 1
    assert slow.runs == fast.runs == 1 + module.ROUNDS


def test_slow_engines_run_fewer_rounds(clock, timed):
    backend = Backend("slow", clock, 0.6 * module.SECONDS)
    assert timed(backend).seconds["slow"] == pytest.approx(0.6 * module.SECONDS)
    assert backend.runs == 1 + 2


@pytest.mark.parametrize("where", ["build", "open", "run"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (GateFailed("it differs"), "it differs"),
        (EnvironmentMissing("no GPU"), "no GPU"),
        (RuntimeError("out of memory\nin convolution.cpp"), "RuntimeError: out of memory"),
    ],
)
def test_one_that_fails_is_named_and_the_others_are_timed(clock, timed, where, error, reason):
    whole = Backend("whole", clock, 0.01)
    broken = Backend("broken", clock, fails=where, error=error)
    measured = timed(broken, whole)
    assert measured.failed == {"broken": reason}
    assert list(measured.seconds) == ["whole"]
    assert broken.closed == (where == "run")


def test_nothing_can_be_measured(clock, timed):
    measured = timed(Backend("broken", clock, fails="open", error=GateFailed("it differs")))
    assert measured == ({}, {"broken": "it differs"})
    assert measured.fastest is None
