import cv2
import msgspec
import numpy as np
import pytest
from fake_engine import LABELS, MAX, FakeSession, fake_engine, picture, score_of, write_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from pssdet.engines.in_threads import InThreads
from pssdet.engines.registry import OpenEngine
from pssdet.errors import BadInput, GateFailed
from pssdet.images import NamedPicture
from pssdet.models.numerics import DYGRAPH, STATIC
from pssdet.models.preprocess import prepare
from pssdet.models.reader import Preprocessing
from pssdet.runtime import detector as detector_module
from pssdet.runtime.detector import _READERS, Detector

# The fake engine's preprocessing pads these to 64x96, 96x64 and 64x64.
WIDE, TALL, SQUARE = (90, 60), (60, 90), (50, 50)


@pytest.fixture
def session():
    return FakeSession()


@pytest.fixture
def detector(session):
    return Detector(fake_engine(session))


def sizes_of(session):
    return [inputs["image"].shape for inputs in session.batches]


class Broken(FakeSession):
    """Changes one output of the fake engine."""

    def __init__(self, name, position, value):
        super().__init__()
        self._change = name, position, value

    def answer(self, inputs):
        outputs = super().answer(inputs)
        name, position, value = self._change
        outputs[name][position] = value
        return outputs


class TestOneImage:
    def test_detections(self, detector):
        image = picture(*WIDE)
        (found,) = detector([image])
        best = score_of(prepare(image, detector.card.model.preprocessing).image)
        np.testing.assert_allclose(found.scores, [best, best / 2], rtol=1e-6)
        np.testing.assert_array_equal(found.labels, [0, 2])
        np.testing.assert_array_equal(found.boxes, [[0, 0, 90, 60], [1, 2, 45, 30]])
        assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int32)
        assert (found.width, found.height, found.names) == (90, 60, LABELS)

    def test_inputs_of_the_engine(self, detector, session):
        detector([picture(180, 60)])
        (inputs,) = session.batches
        np.testing.assert_array_equal(inputs["image_size"], [[32, 96]])
        np.testing.assert_array_equal(inputs["original_size"], [[60, 180]])
        np.testing.assert_array_equal(inputs["scale_factor"], np.float32([[96 / 180, 96 / 180]]))
        assert inputs["image"].shape == (1, 3, 32, 96)

    def test_paths_bytes_and_arrays(self, detector, tmp_path):
        file = write_picture(tmp_path / "a.png", *WIDE)
        results = detector([file, str(file), file.read_bytes(), picture(*WIDE)])
        for found in results[1:]:
            np.testing.assert_array_equal(found.scores, results[0].scores)

    def test_nothing_found(self):
        (found,) = Detector(fake_engine(Broken("count", ..., 0)))([picture(*WIDE)])
        assert (len(found), found.boxes.shape, found.to_json()) == (0, (0, 4), [])

    def test_full_output(self):
        class Full(FakeSession):
            def answer(self, inputs):
                scores = np.linspace(0.1, 0.9, MAX, dtype=np.float32)[None]
                return {
                    "boxes": np.ones((1, MAX, 4), np.float32),
                    "scores": scores,
                    "labels": np.ones((1, MAX), np.int32),
                    "count": np.int32([MAX]),
                }

        (found,) = Detector(fake_engine(Full()))([picture(*WIDE)])
        assert len(found) == MAX
        assert (np.diff(found.scores) < 0).all()


class TestBatches:
    def test_equal_padded_sizes_run_together(self, session):
        shapes = [WIDE, TALL, WIDE, SQUARE, TALL]
        results = Detector(fake_engine(session), max_batch=8)([picture(*shape) for shape in shapes])
        assert [(found.width, found.height) for found in results] == shapes
        assert sizes_of(session) == [(2, 3, 64, 96), (2, 3, 96, 64), (1, 3, 64, 64)]

    def test_at_most_max_batch(self, session):
        detector = Detector(fake_engine(session), max_batch=3)
        detector([picture(*WIDE)] * 7)
        assert [shape[0] for shape in sizes_of(session)] == [3, 3, 1]

    @settings(max_examples=30, deadline=None)
    @given(choices=st.lists(st.integers(0, 2), min_size=1, max_size=25), max_batch=st.integers(1, 5))
    def test_order_and_independence_of_batch_mates(self, choices, max_batch):
        images = [picture(*(WIDE, TALL, SQUARE)[c], seed=seed) for seed, c in enumerate(choices)]
        together = Detector(fake_engine(), max_batch)(images)
        alone = Detector(fake_engine(), 1)
        assert len(together) == len(images)
        for image, found in zip(images, together, strict=True):
            np.testing.assert_array_equal(found.to_paddle_rows(), alone([image])[0].to_paddle_rows())

    def test_as_many_as_the_session_says_or_else_one(self):
        class Wide(InThreads):
            def __init__(self, session):
                super().__init__(session, batch=3)

        for wrap, sizes in ((Wide, [3, 3, 1]), (lambda session: session, [1] * 7)):
            session = FakeSession()
            with Detector(fake_engine(wrap(session))) as detector:
                detector([picture(*WIDE)] * 7)
            assert [shape[0] for shape in sizes_of(session)] == sizes

    @pytest.mark.parametrize("max_batch", [0, -1])
    def test_no_batch_at_all(self, max_batch):
        with pytest.raises(BadInput, match="1 or more"):
            Detector(fake_engine(), max_batch)


class TestCommonPadding:
    def common(self, session, max_batch=8):
        return Detector(fake_engine(session), max_batch, padding="common")

    def test_different_sizes_run_together(self, session):
        shapes = [WIDE, TALL, WIDE, SQUARE, TALL]
        results = self.common(session)([picture(*shape) for shape in shapes])
        assert [(found.width, found.height) for found in results] == shapes
        assert sizes_of(session) == [(5, 3, 96, 96)]

    def test_batches_are_filled_in_order_and_padded_to_their_own_largest(self, session):
        self.common(session, max_batch=2)([picture(*shape) for shape in (WIDE, SQUARE, WIDE, TALL, SQUARE)])
        assert sizes_of(session) == [(2, 3, 64, 96), (2, 3, 96, 96), (1, 3, 64, 64)]

    def test_only_the_image_grows(self, session):
        """What boxes are clipped to must stay the picture's own, whatever the batch is padded to."""
        pictures = [picture(*WIDE), picture(*TALL)]
        self.common(session)(pictures)
        (together,) = session.batches
        for index, each in enumerate(pictures):
            Detector(fake_engine(session))([each])
            alone = session.batches[-1]
            for name in ("image_size", "original_size", "scale_factor"):
                np.testing.assert_array_equal(together[name][index], alone[name][0])
            height, width = alone["image"].shape[2:]
            np.testing.assert_array_equal(together["image"][index, :, :height, :width], alone["image"][0])
            assert not together["image"][index, :, height:].any()
            assert not together["image"][index, :, :, width:].any()

    def test_order_of_a_stream(self, session):
        pictures = [NamedPicture(str(i), "", picture(*(WIDE, TALL)[i % 2], seed=i)) for i in range(20)]
        found = list(self.common(session, max_batch=3).stream(pictures))
        assert [named.name for named, _ in found] == [str(i) for i in range(20)]
        assert [(each.width, each.height) for _, each in found] == [(WIDE, TALL)[i % 2] for i in range(20)]
        assert [shape[0] for shape in sizes_of(session)] == [3, 3, 3, 3, 3, 3, 2]

    def test_no_such_padding(self):
        with pytest.raises(BadInput, match="'same'; choose own or common"):
            Detector(fake_engine(), padding="same")


class TestStream:
    def test_is_lazy_and_bounded(self, session):
        taken = []

        def endless():
            while True:
                taken.append(1)
                yield NamedPicture(f"picture {len(taken)}", "", picture(*WIDE))

        stream = Detector(fake_engine(session), max_batch=2).stream(endless())
        assert not taken
        for number in range(1, 30):
            named, found = next(stream)
            assert named.name == f"picture {number}"
            assert len(found) == 2
            assert len(taken) <= number + 4 * 2 + 2 * 2 + 2 + _READERS

    def test_results_come_as_soon_as_their_batch_is_done(self, session):
        pictures = [
            NamedPicture(str(i), "", picture(*shape)) for i, shape in enumerate([WIDE, WIDE, TALL, WIDE])
        ]
        stream = Detector(fake_engine(session), max_batch=2).stream(pictures)
        assert next(stream)[0].name == "0"
        assert [len(batch["image"]) for batch in session.batches[:1]] == [2]
        assert [named.name for named, _ in stream] == ["1", "2", "3"]

    def test_refused_pictures_are_left_out(self, detector, tmp_path):
        good, bad = write_picture(tmp_path / "good.png", *WIDE), tmp_path / "bad.jpg"
        bad.write_bytes(b"nothing")
        pictures = [NamedPicture(p.name, p.stem, p) for p in (bad, good, bad, good)]
        refused = []
        found = list(detector.stream(pictures, lambda name, error: refused.append((name, str(error)))))
        assert [named.name for named, _ in found] == ["good.png", "good.png"]
        assert [name for name, _ in refused] == ["bad.jpg", "bad.jpg"]
        assert all(text.startswith("bad.jpg is damaged") for _, text in refused)

    def test_nothing_to_look_at(self, detector):
        assert list(detector.stream([])) == []


@pytest.mark.parametrize("numerics", [DYGRAPH, STATIC])
def test_boxes_are_as_wide_as_the_cards_numerics_have_it(session, numerics):
    card, _ = fake_engine()
    card = msgspec.structs.replace(card, model=msgspec.structs.replace(card.model, numerics=numerics))
    (found,) = Detector(OpenEngine(card, session))([picture(*WIDE)])
    x1, y1, x2, y2 = found.boxes[0].tolist()
    offset = numerics.pixel_offset
    assert found.to_coco_results(1, (1, 2, 3))[0]["bbox"] == [x1, y1, x2 - x1 + offset, y2 - y1 + offset]


class TestBadInput:
    def test_no_images(self, detector):
        for nothing in ([], (), np.empty((0, 20, 20, 3), np.uint8)):
            with pytest.raises(BadInput, match="no images"):
                detector(nothing)

    @pytest.mark.parametrize("single", ["a.jpg", b"bytes", picture(*WIDE)], ids=["path", "bytes", "array"])
    def test_image_outside_a_list(self, detector, single):
        with pytest.raises(BadInput, match="into a list"):
            detector(single)

    def test_path_outside_a_list(self, detector, tmp_path):
        with pytest.raises(BadInput, match="into a list"):
            detector(tmp_path)

    def test_error_names_the_file(self, detector, tmp_path):
        with pytest.raises(BadInput, match=r"missing\.jpg cannot be read"):
            detector([write_picture(tmp_path / "a.png", *WIDE), tmp_path / "missing.jpg"])

    @pytest.mark.parametrize(
        "image", [picture(1, 1), picture(1, 1)[..., 0], cv2.imencode(".png", picture(1, 1))[1].tobytes()]
    )
    def test_error_names_the_place_in_the_list(self, detector, image):
        with pytest.raises(BadInput, match=r"^image 1 of the list"):
            detector([picture(*WIDE), image])

    def test_array_of_pictures(self, detector):
        assert len(detector(np.stack([picture(*WIDE)] * 3))) == 3


class TestBadEngine:
    @pytest.mark.parametrize(
        ("name", "position", "value", "words"),
        [
            ("scores", (1, 1), np.nan, "not finite"),
            ("boxes", (1, 0, 2), np.inf, "not finite"),
            ("labels", (1, 0), 3, "labels outside 0..2"),
            ("labels", (1, 0), -1, "labels outside 0..2"),
            ("count", 1, MAX + 1, "a count of 101"),
            ("count", 1, -1, "a count of -1"),
        ],
    )
    def test_outputs_that_are_no_detections(self, name, position, value, words, tmp_path):
        files = [write_picture(tmp_path / f"{stem}.png", *WIDE) for stem in "ab"]
        with pytest.raises(GateFailed, match=rf"b\.png: the engine gave .*{words}"):
            Detector(fake_engine(Broken(name, position, value)), max_batch=2)(files)

    @pytest.mark.parametrize("flaw", [{"std": (0.0, 1.0, 1.0)}, {"mean": (0.0, np.nan, 0.0)}])
    def test_network_input_that_would_not_be_finite(self, session, flaw):
        steps = Preprocessing(64, 96, interpolation="linear", resize="first", **flaw)
        with pytest.raises(GateFailed, match="not be finite"):
            Detector(fake_engine(session, steps))

    def test_a_broken_engine_is_no_refused_picture(self):
        stream = Detector(fake_engine(Broken("scores", 0, np.nan))).stream(
            [NamedPicture("a", "a", picture(*WIDE))], lambda *_: None
        )
        with pytest.raises(GateFailed):
            list(stream)


class TestLoad:
    def test_opens_the_folder_and_closes_the_session(self, monkeypatch, session, tmp_path):
        opened = []
        monkeypatch.setattr(
            detector_module, "open_engine", lambda folder, **_: opened.append(folder) or fake_engine(session)
        )
        with Detector.load(str(tmp_path), max_batch=2) as detector:
            assert detector.card.backend == "fake"
            assert not session.closed
        assert opened == [tmp_path]
        assert session.closed

    def test_closes_after_an_error(self, session):
        with pytest.raises(BadInput), Detector(fake_engine(session)) as detector:
            detector([])
        assert session.closed

    def test_folder_without_an_engine(self, tmp_path):
        with pytest.raises(BadInput, match=r"not a folder with engine\.json"):
            Detector.load(tmp_path)
