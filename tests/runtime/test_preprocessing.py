import numpy as np
import pytest
from fake_engine import FakeSession, fake_card, fake_engine, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from pssdet.engines.registry import OpenEngine
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.models.preprocess import prepare
from pssdet.models.reader import Preprocessing
from pssdet.runtime import preprocessing as module
from pssdet.runtime.detector import Detector
from pssdet.runtime.preprocessing import choose_preprocessor, plan_picture

STEPS = Preprocessing(64, 96, interpolation="linear", resize="first")


class PictureSession(FakeSession):
    """Makes its input by the CPU's own steps, ``off`` by some grey levels, and takes its time."""

    takes_raw_images = True

    def __init__(self, steps=STEPS, off=0.0):
        super().__init__()
        self.steps = steps
        self.off = off
        self.made = 0

    def preprocess(self, pictures, *, fetch=True):
        if not fetch:
            return None
        self.made += 1
        return np.stack([self._make(each) for each in pictures.images])

    def run(self, inputs):
        images = np.stack([self._make(each) for each in inputs["image"].images])
        return super().run({**inputs, "image": images})

    def _make(self, each):
        made = prepare(each.pixels, self.steps).image
        image = np.zeros(each.shape, np.float32)
        image[:, : made.shape[1], : made.shape[2]] = made
        image[0, 0, 0] += np.float32(self.off / 255 / self.steps.std[0])
        return image


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The CPU takes twice as long as the GPU."""
    times = {"gain": 2.0}
    monkeypatch.setattr(module, "_gain", lambda *_: times["gain"])
    return times


class TestChoice:
    def test_an_engine_without_the_kernel(self):
        session = PictureSession()
        session.takes_raw_images = False
        for each in (FakeSession(), session):
            assert choose_preprocessor(each, STEPS)[:2] == ("cpu", "the engine takes no pictures")

    def test_as_good_and_faster(self):
        session = PictureSession()
        assert choose_preprocessor(session, STEPS).device == "gpu"
        assert session.made == 3

    @pytest.mark.parametrize(("off", "device"), [(1.0, "gpu"), (-1.0, "gpu"), (1.01, "cpu"), (np.nan, "cpu")])
    def test_one_grey_level_and_no_more(self, off, device):
        preprocessor = choose_preprocessor(PictureSession(off=off), STEPS)
        assert preprocessor.device == device
        if device == "cpu":
            assert "grey levels at 640x480 pixels" in preprocessor.reason

    def test_not_faster(self, clock):
        clock["gain"] = 0.9
        preprocessor = choose_preprocessor(PictureSession(), STEPS)
        assert preprocessor[:2] == ("cpu", "the GPU is not faster: 0.90 times the CPU's speed")

    def test_a_gpu_that_fails(self):
        class Failing(PictureSession):
            def preprocess(self, pictures, *, fetch=True):
                raise EnvironmentMissing("no memory")

        assert choose_preprocessor(Failing(), STEPS)[:2] == ("cpu", "no memory")

    def test_another_shape(self):
        class Cut(PictureSession):
            def preprocess(self, pictures, *, fetch=True):
                return super().preprocess(pictures)[..., 1:]

        assert choose_preprocessor(Cut(), STEPS)[:2] == ("cpu", "the GPU gives another shape")


def test_the_gain_is_measured(monkeypatch):
    monkeypatch.undo()

    class Slow(PictureSession):
        def preprocess(self, pictures, *, fetch=True):
            if not fetch:
                for _ in range(3):
                    prepare(pictures.images[0].pixels, STEPS)
            return super().preprocess(pictures, fetch=fetch)

    assert choose_preprocessor(PictureSession(), STEPS).device == "gpu"
    assert "the GPU is not faster: 0." in choose_preprocessor(Slow(), STEPS).reason


def outcome(function, *arguments):
    """What it gives, or with what words it refuses."""
    try:
        return function(*arguments), None
    except BadInput as error:
        return None, str(error)


class TestPlan:
    @settings(max_examples=200, deadline=None)
    @given(
        height=st.integers(1, 400),
        width=st.integers(1, 400),
        short=st.integers(1, 200),
        long=st.integers(1, 300),
        interpolation=st.sampled_from(["linear", "cubic"]),
        resize=st.sampled_from(["first", "last"]),
    )
    def test_sizes_are_those_of_the_cpu(self, height, width, short, long, interpolation, resize):
        steps = Preprocessing(short, long, interpolation=interpolation, resize=resize)
        pixels = np.zeros((height, width, 3), np.uint8)
        wanted, refusal = outcome(prepare, pixels, steps)
        planned, same_refusal = outcome(plan_picture, pixels, steps)
        assert same_refusal == refusal
        if refusal:
            return
        assert planned.image.shape == wanted.image.shape
        assert planned[1:] == wanted[1:]
        work = planned.image.steps
        assert (work.content, work.cubic, work.normalise_first) == (
            wanted.image_size,
            interpolation == "cubic",
            resize == "last",
        )


class TestDetector:
    @pytest.mark.parametrize("padding", ["own", "common"])
    def test_same_detections(self, padding):
        sizes = [(90, 60), (60, 90), (50, 50), (90, 60), (200, 30)]
        images = [picture(*size, seed=seed) for seed, size in enumerate(sizes)]
        engine = OpenEngine(fake_card(STEPS), PictureSession())
        on_gpu, on_cpu = Detector(engine, 2, padding), Detector(fake_engine(), 2, padding)
        assert (on_gpu.preprocessor.device, on_cpu.preprocessor.device) == ("gpu", "cpu")
        for left, right in zip(on_gpu(images), on_cpu(images), strict=True):
            assert left.to_json() == right.to_json()

    def test_errors_are_the_same(self):
        engine = OpenEngine(fake_card(STEPS), PictureSession())
        for image in (picture(1, 1), picture(9, 9)[..., 0]):
            with pytest.raises(BadInput, match=r"^image 0 of the list"):
                Detector(engine)([image])
