import numpy as np
import pytest
from fake_cuda import FakeCuda
from fake_kernel import CopyKernel, copied
from fake_tensorrt import FakePlan, expected, install

from pssdet.engines.trt.runtime.session import TensorRTSession
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.preprocess import (
    PreprocessKernel,
    PreprocessSteps,
    RawImage,
    RawImages,
    find_preprocess_kernel,
)


def steps(height, width, padded):
    return PreprocessSteps(
        (height, width),
        (height, width),
        padded,
        1.0,
        cubic=False,
        normalise_first=False,
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )


def raw_images(*sizes, padded=(8, 8), seed=0):
    random = np.random.default_rng(seed)
    return RawImages(
        [RawImage(random.integers(0, 256, (*size, 3), dtype=np.uint8), steps(*size, padded)) for size in sizes]
    )


def batch(made, seed=0):
    sizes = np.random.default_rng(seed).integers(1, 99, (len(made.images), 2)).astype(np.float32)
    return {"image": made, "image_size": sizes}


def as_arrays(inputs):
    made = inputs["image"]
    return {**inputs, "image": np.stack([copied(each.pixels, each.steps.padded) for each in made.images])}


def check(outputs, inputs):
    for name, values in expected(as_arrays(inputs)).items():
        np.testing.assert_array_equal(outputs[name], values)


@pytest.fixture
def session(tensorrt, cuda, open_session):
    return open_session(kernel=CopyKernel(cuda))


class TestSession:
    def test_pictures_instead_of_an_array(self, cuda, session):
        inputs = batch(raw_images((5, 7), (8, 8), (3, 2)))
        check(session.run(inputs), inputs)
        assert cuda.faults == []

    def test_both_in_turn_and_with_graphs(self, cuda, session):
        for seed in range(6):
            inputs = batch(raw_images((5, 7), seed=seed), seed)
            check(session.run(inputs), inputs)
            arrays = as_arrays(inputs)
            np.testing.assert_array_equal(session.run(arrays)["boxes"], expected(arrays)["boxes"])
        assert cuda.live["executable graph"] == 1

    def test_larger_pictures_later(self, cuda, session):
        for size in [(2, 2), (8, 8), (4, 4)]:
            inputs = batch(raw_images(size, size))
            check(session.run(inputs), inputs)
        session.close()
        assert cuda.live == {}
        assert cuda.faults == []

    def test_pixels_may_change_after_submitting(self, session):
        inputs = batch(raw_images((8, 8)))
        request = session.submit(inputs)
        inputs["image"].images[0].pixels[:] = 0
        check(session.collect(request), batch(raw_images((8, 8))))

    def test_pixels_of_any_memory_layout(self, session):
        (image,) = raw_images((5, 7)).images
        turned = image._replace(pixels=np.asfortranarray(image.pixels))
        check(session.run(batch(RawImages([turned]))), batch(RawImages([image])))

    def test_what_the_kernel_makes(self, cuda, session):
        made = raw_images((5, 7), (8, 8))
        image = session.preprocess(made)
        assert session.preprocess(made, fetch=False) is None
        for seed in range(3):
            inputs = batch(raw_images((8, 8), seed=seed))
            check(session.run(inputs), inputs)
        np.testing.assert_array_equal(image, as_arrays({"image": made})["image"])
        assert cuda.faults == []

    def test_without_the_kernel(self, open_session):
        session = open_session()
        assert not session.takes_raw_images
        with pytest.raises(BadInput, match="image is pictures; this session was opened without the kernel"):
            session.run(batch(raw_images((8, 8))))
        with pytest.raises(ValueError, match="without the kernel"):
            session.preprocess(raw_images((8, 8)))
        session.run(as_arrays(batch(raw_images((8, 8)))))

    @pytest.mark.parametrize("seed", range(6))
    def test_whatever_the_gpu_does_first(self, monkeypatch, tmp_path, seed):
        cuda = FakeCuda(seed)
        install(monkeypatch, cuda)
        random = np.random.default_rng(seed)
        path = FakePlan().write(tmp_path / "plan")
        with TensorRTSession(path, plugins=None, graphs_kept=2, kernel=CopyKernel(cuda)) as session:
            waiting = []
            for number in range(60):
                count, padded = random.integers(1, 4), [(8, 8), (4, 16), (16, 16)][random.integers(3)]
                inputs = batch(raw_images(*[(4, 6)] * count, padded=padded, seed=number), number)
                given = inputs if random.integers(3) else as_arrays(inputs)
                waiting.append((session.submit(given), inputs))
                while len(waiting) > random.integers(1, 3):
                    request, submitted = waiting.pop(random.integers(len(waiting)))
                    check(session.collect(request), submitted)
        assert cuda.live == {}
        assert cuda.faults == []


class TestLibrary:
    def test_none_named_and_none_beside_the_plugins(self, monkeypatch, tmp_path):
        monkeypatch.delenv("PSSDET_KERNELS", raising=False)
        assert find_preprocess_kernel(None) is None
        assert find_preprocess_kernel(tmp_path / "libpssdet_plugins.so") is None

    def test_a_library_without_it(self, tmp_path):
        library = tmp_path / "libother.so"
        library.write_bytes(b"no library")
        with pytest.raises(EnvironmentMissing, match=r"libother\.so has no preprocessing kernel .*make plugin"):
            PreprocessKernel(library)

    def test_the_problem_as_the_library_takes_it(self):
        work = PreprocessSteps(
            (480, 640),
            (600, 800),
            (608, 800),
            1.25,
            cubic=True,
            normalise_first=True,
            mean=(1, 2, 3),
            std=(4, 5, 6),
        )
        problem = work.as_c()
        values = [getattr(problem, name) for name, *_ in problem._fields_]
        assert [*values[:10]] == [480, 640, 600, 800, 608, 800, 0.8, 0.8, 1, 1]
        assert [list(values[10]), list(values[11])] == [[1, 2, 3], [4, 5, 6]]
