import numpy as np
import pytest
from fake_cuda import Error
from fake_tensorrt import PROFILE, FakePlan, expected, install
from session_batches import SHAPES, batch, check

from pssdet.engines.trt.runtime.session import TensorRTSession
from pssdet.errors import BadInput, EnvironmentMissing


class TestRun:
    def test_outputs_of_one_batch(self, open_session):
        inputs = batch(pictures=2)
        check(open_session().run(inputs), inputs)

    def test_many_batches_of_many_shapes(self, cuda, open_session):
        session = open_session()
        for seed in range(60):
            inputs = batch(seed, *SHAPES[seed * seed % 7 % 4])
            check(session.run(inputs), inputs)
        assert cuda.faults == []

    def test_outputs_are_the_callers_own(self, open_session):
        session = open_session()
        first, inputs = session.run(batch(1)), batch(1)
        for seed in range(2, 5):
            session.run(batch(seed))
        check(first, inputs)
        assert first["boxes"].flags.writeable

    def test_inputs_of_any_memory_layout(self, open_session):
        inputs = batch(pictures=2)
        inputs["image"] = np.asfortranarray(inputs["image"])
        check(open_session().run(inputs), inputs)

    def test_a_missing_input(self, open_session):
        with pytest.raises(BadInput, match="needs the inputs image_size, image; image_size is missing"):
            open_session().run({"image": batch()["image"]})

    def test_another_type(self, open_session):
        with pytest.raises(BadInput, match="image is float64; the engine takes float32"):
            open_session().run({**batch(), "image": np.zeros((1, 3, 8, 8))})

    def test_a_shape_that_no_profile_takes(self, cuda, open_session):
        session = open_session()
        with pytest.raises(
            BadInput, match=r"takes no image \[1, 3, 8, 17\].*\[1..4, 3, 4..16, 4..16\].*--opt-shapes"
        ):
            session.run(batch(width=17))
        check(session.run(batch()), batch())


class TestProfiles:
    def test_each_shape_runs_on_its_profile(self, cuda, tensorrt, open_session):
        small = {"image": [[1, 3, 4, 4], [1, 3, 4, 4], [1, 3, 4, 4]], "image_size": [[1, 2]] * 3}
        session = open_session(FakePlan(profiles=[PROFILE, small]))
        for shape in [(1, 4, 4), (1, 8, 8), (1, 4, 4)]:
            check(session.run(batch(3, *shape)), batch(3, *shape))
        assert sorted(each.active_optimization_profile for each in tensorrt.contexts) == [0, 1]


class TestGraphs:
    def test_first_run_as_it_is_then_recorded(self, cuda, open_session):
        session = open_session()
        for seed in range(5):
            check(session.run(batch(seed)), batch(seed))
        assert (cuda.calls["cudaStreamBeginCapture"], cuda.calls["cudaGraphLaunch"]) == (1, 4)
        assert session.graph_fallback is None

    def test_one_for_each_shape_and_set_of_buffers(self, cuda, open_session):
        session, shapes = open_session(), [SHAPES[0], SHAPES[2]]
        for _ in range(4):
            requests = [(session.submit(batch(seed, *shape)), seed, shape) for seed, shape in enumerate(shapes)]
            for request, seed, shape in requests:
                check(session.collect(request), batch(seed, *shape))
        assert cuda.live["executable graph"] == 2
        first, second = session.submit(batch(5, *shapes[1])), session.submit(batch(6, *shapes[0]))
        check(session.collect(second), batch(6, *shapes[0]))
        check(session.collect(first), batch(5, *shapes[1]))
        assert cuda.live["executable graph"] == 4
        assert cuda.faults == []

    def test_not_wanted(self, cuda, open_session):
        session = open_session(cuda_graphs=False)
        for seed in range(4):
            check(session.run(batch(seed)), batch(seed))
        assert cuda.calls["cudaStreamBeginCapture"] == 0
        assert session.graph_fallback is None

    @pytest.mark.parametrize("capture", ["fails", "is broken in silence"])
    def test_an_engine_that_cannot_be_recorded(self, cuda, open_session, capture):
        session = open_session(FakePlan(capture=capture))
        for seed in range(6):
            check(session.run(batch(seed, *SHAPES[seed % 2])), batch(seed, *SHAPES[seed % 2]))
        assert "cannot be recorded as a CUDA graph" in session.graph_fallback
        assert cuda.calls["cudaStreamBeginCapture"] == 1, "it is not tried again"
        assert "graph" not in cuda.live
        assert cuda.faults == []

    def test_the_reason_is_kept(self, open_session):
        session = open_session(FakePlan(capture="fails"))
        session.run(batch())
        session.run(batch())
        assert "a plugin waits for the device" in session.graph_fallback

    def test_the_shapes_used_last_are_kept(self, cuda, tensorrt, open_session):
        session = open_session(graphs_kept=2)
        # Largest first, so that no buffer grows later.
        for shape in [SHAPES[3], SHAPES[3], SHAPES[0], SHAPES[0], SHAPES[3], SHAPES[1], SHAPES[1], SHAPES[3]]:
            check(session.run(batch(1, *shape)), batch(1, *shape))
        assert len(tensorrt.contexts) == 2
        assert cuda.live["executable graph"] == 2
        assert cuda.calls["cudaGraphExecDestroy"] == 1
        captures = cuda.calls["cudaStreamBeginCapture"]
        session.run(batch(1, *SHAPES[3]))
        assert cuda.calls["cudaStreamBeginCapture"] == captures, "the one used last was kept"
        session.run(batch(1, *SHAPES[0]))
        session.run(batch(1, *SHAPES[0]))
        assert cuda.calls["cudaStreamBeginCapture"] == captures + 1, "the other was not"
        assert cuda.faults == []

    def test_a_shape_is_not_forgotten_while_it_runs(self, cuda, open_session):
        session = open_session(graphs_kept=1)
        for round_ in range(3):
            requests = [session.submit(batch(round_, *shape)) for shape in SHAPES[:2]]
            for request, shape in zip(requests, SHAPES, strict=False):
                check(session.collect(request), batch(round_, *shape))
        assert cuda.faults == []

    def test_a_graph_ends_with_the_buffers_that_it_refers_to(self, cuda, open_session):
        session = open_session()
        for shape in [SHAPES[0], SHAPES[0], SHAPES[3], SHAPES[0], SHAPES[0]]:
            check(session.run(batch(1, *shape)), batch(1, *shape))
        assert (cuda.calls["cudaGraphExecDestroy"], cuda.live["executable graph"]) == (1, 1)
        assert cuda.faults == []

    def test_nothing_to_keep(self, tensorrt, tmp_path):
        with pytest.raises(BadInput, match="0 shapes cannot be kept"):
            TensorRTSession(tmp_path / "plan", plugins=None, graphs_kept=0)


class TestOneContextPerProfile:
    """TensorRT 8 with an engine that was not built for more: a context goes from shape to shape."""

    @pytest.fixture
    def tensorrt(self, monkeypatch, cuda):
        return install(monkeypatch, cuda, "8.6.0")

    def test_right_and_without_stale_graphs(self, cuda, tensorrt, open_session):
        small = {"image": [[1, 3, 4, 4], [1, 3, 4, 4], [1, 3, 4, 4]], "image_size": [[1, 2]] * 3}
        session = open_session(FakePlan(alone=True, profiles=[PROFILE, small]))
        for seed, index in enumerate([0, 0, 0, 1, 1, 1, 0, 2, 0, 0, 3, 3]):
            shape = [*SHAPES, (1, 4, 4)][index]
            check(session.run(batch(seed, *shape)), batch(seed, *shape))
        assert cuda.faults == []
        assert len(tensorrt.contexts) == 1
        session.run(batch(1, 1, 4, 4))
        assert len(tensorrt.contexts) == 2
        assert tensorrt.contexts_made <= 2 + 1, "one refusal is enough"

    def test_several_where_the_engine_was_built_for_them(self, cuda, tensorrt, open_session):
        session = open_session()
        for seed in range(8):
            check(session.run(batch(seed, *SHAPES[seed % 4])), batch(seed, *SHAPES[seed % 4]))
        assert len(tensorrt.contexts) == 4


class TestClose:
    def test_everything_is_given_back(self, cuda, tensorrt, open_session):
        session = open_session()
        for seed in range(20):
            session.run(batch(seed, *SHAPES[seed % 4]))
        session.submit(batch())
        assert cuda.live
        session.close()
        session.close()
        assert cuda.live == {}
        assert cuda.faults == []
        assert len(tensorrt.contexts) == 0
        assert len(tensorrt.engines) == 0
        assert len(tensorrt.runtimes) == 0

    def test_not_usable_afterwards(self, open_session):
        session = open_session()
        request = session.submit(batch())
        session.close()
        for use in (
            lambda: session.run(batch()),
            lambda: session.submit(batch()),
            lambda: session.collect(request),
        ):
            with pytest.raises(ValueError, match="the session is closed"):
                use()
        assert request.done, "a thread that waits for it must not wait for an event that is destroyed"

    def test_as_a_context_manager(self, cuda, open_session):
        with open_session() as session:
            session.run(batch())
        assert cuda.live == {}

    def test_not_before_the_work_of_a_lost_batch_is_over(self, cuda, open_session):
        session = open_session()
        request = session.submit(batch())
        cuda.fail("cudaEventSynchronize")
        with pytest.raises(EnvironmentMissing):
            session.collect(request)
        session.close()
        assert cuda.faults == []

    @pytest.mark.parametrize(
        "function", ["cudaMalloc", "cudaStreamCreateWithFlags", "cudaEventCreateWithFlags"]
    )
    @pytest.mark.parametrize("after", range(6))
    def test_after_a_failure_while_opening(self, cuda, tensorrt, tmp_path, function, after):
        cuda.fail(function, after=after)
        path = FakePlan().write(tmp_path / "plan")
        try:
            TensorRTSession(path, plugins=None).close()
        except EnvironmentMissing as error:
            assert function in str(error)  # noqa: PT017
        assert cuda.live == {}
        assert cuda.faults == []

    @pytest.mark.parametrize(
        "function",
        [
            "cudaMalloc",
            "cudaMallocHost",
            "cudaMemcpyAsync",
            "cudaEventRecord",
            "cudaStreamWaitEvent",
            "cudaEventSynchronize",
            "cudaGraphLaunch",
        ],
    )
    @pytest.mark.parametrize("after", range(3))
    def test_after_a_failure_while_running(self, cuda, open_session, function, after):
        session = open_session()
        cuda.fail(function, after=after)
        failed = 0
        for seed in range(8):
            inputs = batch(seed, *SHAPES[seed // 3])
            try:
                check(session.run(inputs), inputs)
            except EnvironmentMissing:
                failed += 1
        assert failed == 1, "one batch is lost, the others are right"
        session.close()
        assert cuda.live == {}
        assert cuda.faults == []

    def test_when_the_gpu_is_lost(self, cuda, open_session):
        session = open_session()
        session.run(batch())
        cuda.broken = Error.cudaErrorIllegalAddress
        with pytest.raises(EnvironmentMissing, match=r"cudaErrorIllegalAddress.*start it again"):
            session.run(batch())
        session.close()
        session.close()


def test_no_leak_over_ten_thousand_images(cuda, open_session):
    session = open_session(graphs_kept=3)
    first = None
    for number in range(2500):
        session.run(batch(number, *SHAPES[number % 4]) if number % 100 < 8 else batch(number, 4, 4, 4))
        if number == 300:
            first = dict(cuda.live), dict(cuda.high_water)
    assert (dict(cuda.live), dict(cuda.high_water)) == first
    session.close()
    assert cuda.live == {}
    assert cuda.faults == []


class TestOpening:
    def test_the_device_is_asked_first(self, cuda, tensorrt, tmp_path):
        cuda.devices = 0
        with pytest.raises(EnvironmentMissing, match="cudaErrorNoDevice"):
            TensorRTSession(FakePlan().write(tmp_path / "plan"), plugins=None)

    def test_a_plan_of_another_version(self, cuda, tensorrt, tmp_path):
        (tmp_path / "plan").write_bytes(b"of another version")
        with pytest.raises(
            BadInput, match=r"TensorRT 10\.4\.0 does not take .*magic number does not match; build"
        ):
            TensorRTSession(tmp_path / "plan", plugins=None)
        assert cuda.live == {}

    @pytest.mark.parametrize(("name", "kind"), [("image", "HALF"), ("labels", "INT64")])
    def test_types_that_no_model_of_ours_has(self, open_session, name, kind):
        with pytest.raises(BadInput, match=f"put {name} of the engine is DataType.{kind}"):
            open_session(FakePlan(types={name: kind}))

    def test_a_stage_of_a_reduced_precision(self, open_session):
        outputs = open_session(FakePlan(types={"boxes": "HALF"})).run(batch())
        wanted = expected(batch())["boxes"].astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(outputs["boxes"], wanted)
        assert outputs["boxes"].dtype == np.float32

    def test_outputs_that_the_card_promises(self, open_session):
        open_session(outputs={"boxes": "float32", "labels": "int32"}).run(batch())
        with pytest.raises(
            BadInput, match="boxes is float32 instead of int32, output count is missing instead of"
        ):
            open_session(outputs={"boxes": "int32", "count": "int32"})

    def test_an_output_whose_shape_depends_on_the_picture(self, open_session):
        with pytest.raises(BadInput, match="shape of output boxes depends on the picture"):
            open_session(FakePlan(output_rows=-1)).run(batch())

    def test_plugins_that_cannot_be_loaded(self, tensorrt, tmp_path):
        library = tmp_path / "libplugins.so"
        library.write_bytes(b"no library")
        with pytest.raises(EnvironmentMissing, match=r"libplugins\.so cannot be loaded .*make plugin"):
            TensorRTSession(FakePlan().write(tmp_path / "plan"), plugins=library)

    def test_code_of_the_plan_runs_only_if_allowed(self, tensorrt, open_session):
        open_session()
        assert [runtime.engine_host_code_allowed for runtime in tensorrt.runtimes] == [False]
        open_session(host_code=True)
        assert sorted(runtime.engine_host_code_allowed for runtime in tensorrt.runtimes) == [False, True]

    def test_tensorrt_is_missing(self, monkeypatch, tensorrt, tmp_path):
        import sys

        monkeypatch.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(EnvironmentMissing, match=r"tensorrt cannot be imported.*docs/tensorrt.md"):
            TensorRTSession(tmp_path / "plan", plugins=None)
