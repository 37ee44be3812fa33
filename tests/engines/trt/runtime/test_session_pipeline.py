"""Several batches on their way through one session, and several threads."""

import threading

import numpy as np
import pytest
from fake_cuda import FakeCuda
from fake_tensorrt import FakePlan, install
from session_batches import SHAPES, batch, check

from pssdet.engines.backend import Pipelined
from pssdet.engines.trt.runtime.session import TensorRTSession


class TestPipeline:
    def test_a_detector_takes_it_for_one(self, open_session):
        assert isinstance(open_session(), Pipelined)

    def test_in_any_order(self, open_session):
        session = open_session()
        first, second = session.submit(batch(1)), session.submit(batch(2))
        check(session.collect(second), batch(2))
        check(session.collect(first), batch(1))

    def test_more_than_two_at_once(self, open_session):
        session = open_session()
        requests = [session.submit(batch(seed, *SHAPES[seed % 4])) for seed in range(9)]
        for seed, request in reversed(list(enumerate(requests))):
            check(session.collect(request), batch(seed, *SHAPES[seed % 4]))

    def test_inputs_may_change_after_submitting(self, open_session):
        session, inputs = open_session(), batch(1)
        request = session.submit(inputs)
        inputs["image"][:] = 0
        check(session.collect(request), batch(1))

    def test_submitting_waits_for_nothing(self, cuda, open_session):
        session = open_session()
        for seed in range(3):
            session.run(batch(seed))
        before = cuda.calls["cudaEventSynchronize"] + cuda.calls["cudaStreamSynchronize"]
        session.submit(batch(8))
        session.submit(batch(9))
        assert cuda.calls["cudaEventSynchronize"] + cuda.calls["cudaStreamSynchronize"] == before

    def test_copies_beside_computation(self, cuda, open_session):
        session = open_session()
        session.submit(batch(1))
        used = [stream for stream in cuda.streams.values() if stream.work]
        assert len(used) == 3, "upload, computation and download are on streams of their own"

    def test_a_request_is_collected_once_and_where_it_was_given(self, open_session):
        session, other = open_session(), open_session()
        request = session.submit(batch())
        with pytest.raises(ValueError, match="another session"):
            other.collect(request)
        session.collect(request)
        with pytest.raises(ValueError, match="collected before"):
            session.collect(request)

    @pytest.mark.parametrize("seed", range(12))
    def test_whatever_the_gpu_does_first(self, monkeypatch, tmp_path, seed):
        cuda = FakeCuda(seed)
        install(monkeypatch, cuda)
        random = np.random.default_rng(seed)
        with TensorRTSession(FakePlan().write(tmp_path / "plan"), plugins=None, graphs_kept=2) as session:
            waiting = []
            for number in range(80):
                shape = SHAPES[random.integers(4)]
                waiting.append((session.submit(batch(number, *shape)), number, shape))
                while len(waiting) > random.integers(1, 4):
                    request, submitted, shape = waiting.pop(random.integers(len(waiting)))
                    check(session.collect(request), batch(submitted, *shape))
        assert cuda.live == {}
        assert cuda.faults == []


class TestThreads:
    @pytest.mark.parametrize("seed", range(3))
    def test_several_at_once(self, monkeypatch, tmp_path, seed):
        cuda = FakeCuda(seed, devices=2)
        install(monkeypatch, cuda)
        errors = []
        with TensorRTSession(FakePlan().write(tmp_path / "plan"), plugins=None, graphs_kept=2) as session:

            def work(number):
                try:
                    # A thread may have chosen another device, and keeps it.
                    cuda.cudaSetDevice(number % 2)
                    for turn in range(60):
                        inputs = batch(100 * number + turn, *SHAPES[(turn // 3 + number) % 4])
                        check(session.run(inputs), inputs)
                    assert cuda.cudaGetDevice()[1] == number % 2
                except BaseException as error:  # noqa: BLE001
                    errors.append(error)

            threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
        assert errors == []
        assert cuda.live == {}
        assert cuda.faults == []

    def test_closing_while_others_run(self, monkeypatch, tmp_path):
        cuda = FakeCuda(5)
        install(monkeypatch, cuda)
        session = TensorRTSession(FakePlan().write(tmp_path / "plan"), plugins=None)
        ends = []

        def work(number):
            try:
                while True:
                    inputs = batch(number, *SHAPES[number])
                    check(session.run(inputs), inputs)
            except BaseException as error:  # noqa: BLE001
                ends.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        threading.Event().wait(0.2)
        session.close()
        for thread in threads:
            thread.join(60)
        assert [(type(end), str(end)) for end in ends] == [(ValueError, "the session is closed")] * 3
        assert cuda.live == {}
        assert cuda.faults == []
