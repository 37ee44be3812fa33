"""A session that others may use from threads, though its own runs one batch after the other."""

import threading

import pytest

from pssdet.engines.backend import Pipelined, Threading
from pssdet.engines.in_threads import InThreads
from pssdet.errors import BadInput


class Session:
    """Answers when it is let; ``most`` is how many threads were in it at once."""

    def __init__(self):
        self.let = threading.Event()
        self.lock = threading.Lock()
        self.inside = self.most = self.closed = 0
        self.entered = threading.Semaphore(0)

    def run(self, inputs):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        assert self.let.wait(10)
        with self.lock:
            self.inside -= 1
        if inputs == "broken":
            raise BadInput("broken")
        return {"of": inputs}

    def close(self):
        assert not self.inside
        self.closed += 1


@pytest.mark.parametrize("streams", [1, 3])
def test_as_many_run_at_once_as_there_are_streams(streams):
    inner = Session()
    session = InThreads(inner, streams)
    requests = [session.submit(number) for number in range(6)]
    for _ in range(streams):
        assert inner.entered.acquire(timeout=10)
    inner.let.set()
    assert [session.collect(request) for request in requests] == [{"of": number} for number in range(6)]
    assert inner.most == streams
    assert (session.depth, session.batch) == (streams + 1, 1)
    assert isinstance(session, Pipelined)
    session.close()


def test_an_error_is_that_of_its_batch():
    inner = Session()
    inner.let.set()
    session = InThreads(inner)
    broken, whole = session.submit("broken"), session.submit("whole")
    with pytest.raises(BadInput, match="broken"):
        session.collect(broken)
    assert session.collect(whole) == session.run("whole")
    session.close()


def test_closing_waits_for_what_was_submitted_and_happens_once():
    inner = Session()
    session = InThreads(inner)
    request = session.submit("last")
    threading.Timer(0.05, inner.let.set).start()
    session.close()
    session.close()
    assert inner.closed == 1
    assert session.collect(request) == {"of": "last"}
    with pytest.raises(ValueError, match="the session is closed"):
        session.submit("more")


def test_streams_are_chosen_by_the_hint_unless_they_are_given(monkeypatch):
    monkeypatch.setattr("pssdet.engines.backend.usable_cores", lambda: 16)
    assert Threading().chosen_streams() == 1
    assert Threading(threads=8).chosen_streams() == 1
    assert Threading(hint="throughput").chosen_streams() == 4
    assert Threading(threads=3, hint="throughput").chosen_streams() == 3
    assert Threading(streams=7, hint="throughput").chosen_streams() == 7
    assert Threading(streams=7).chosen_streams() == 7
