"""Top-1 and top-5 are counted right, over the pictures that the list names and no others."""

import json
from pathlib import Path

import numpy as np
import pytest
from classifier_parts import NARROW, NARROW_ENTRY
from fake_engine import write_picture

from pssdet.errors import BadInput, GateFailed
from pssdet.validation import top_k
from pssdet.validation.top_k import Labelled, count_hits, measure, read_list


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    sizes = [(90, 60), (60, 90), (64, 64), (200, 70), (48, 48), (120, 121)]
    return [write_picture(folder / f"{i}.png", *size, level=40 * i, seed=i) for i, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def orders(pictures):
    """The classes of each picture, best first, as Paddle has them."""
    from pssdet.images import load
    from pssdet.models.network.layers import Classifier
    from pssdet.models.network.reference_run import parameter_shapes, run_classifier, with_parameters
    from pssdet.models.parameters import seeded_parameters
    from pssdet.models.preprocess import crop_centre

    model = Classifier(NARROW)
    with_parameters(model, seeded_parameters(parameter_shapes(model)))
    images = [crop_centre(load(path), NARROW_ENTRY.preprocessing) for path in pictures]
    return np.argsort(-run_classifier(model, np.stack(images))["logits"], axis=1)


class TestCounts:
    def test_best_and_best_five(self):
        logits = np.tile(np.arange(10, dtype=np.float32), (4, 1))
        assert count_hits(logits, [9, 5, 4, 3]) == (1, 2)

    def test_among_equals_the_lower_class_comes_first(self):
        assert count_hits(np.zeros((2, 10), np.float32), [0, 5]) == (1, 1)

    def test_fewer_classes_than_five(self):
        assert count_hits(np.zeros((1, 3), np.float32), [2]) == (0, 1)


class TestMeasure:
    @pytest.mark.parametrize("batch", [1, 4, 100])
    def test_as_many_as_paddle_gets_right(self, classifier_folder, pictures, orders, batch):
        ranks = [0, 0, 4, 0, 5, 9]  # the place of the label among the picture's classes
        listed = [
            Labelled(path, int(order[rank])) for path, order, rank in zip(pictures, orders, ranks, strict=True)
        ]
        advances = []
        result = measure(classifier_folder, listed, batch, advances.append)
        assert (result.pictures, result.top1, result.top5) == (6, 3, 4)
        assert result.weights.kind == "seeded"
        assert sum(advances) == 6

    def test_a_damaged_picture_is_named(self, classifier_folder, tmp_path):
        (tmp_path / "letter.jpg").write_text("Dear reader")
        with pytest.raises(BadInput, match=r"letter\.jpg"):
            measure(classifier_folder, [Labelled(tmp_path / "letter.jpg", 0)], 1)
        write_picture(tmp_path / "thread.png", 60_000, 1)
        with pytest.raises(BadInput, match=r"thread\.png: .*too long and narrow"):
            measure(classifier_folder, [Labelled(tmp_path / "thread.png", 0)], 1)

    def test_what_is_no_number(self, classifier_folder, pictures, monkeypatch):
        monkeypatch.setattr(top_k.OnnxRuntimeSession, "run", lambda *_: {"logits": np.full((1, 10), np.nan)})
        with pytest.raises(GateFailed, match="not finite"):
            measure(classifier_folder, [Labelled(pictures[0], 0)], 1)

    def test_an_altered_model(self, classifier_folder, pictures, tmp_path):
        (tmp_path / "model.json").write_bytes((classifier_folder / "model.json").read_bytes())
        (tmp_path / "model.onnx").write_bytes((classifier_folder / "model.onnx").read_bytes()[:-1] + b"x")
        with pytest.raises(BadInput, match="sha256"):
            measure(tmp_path, [Labelled(pictures[0], 0)], 1)

    def test_no_batch(self, classifier_folder, pictures):
        with pytest.raises(BadInput, match="choose 1 or more"):
            measure(classifier_folder, [Labelled(pictures[0], 0)], 0)


class TestList:
    def read(self, folder, text):
        for name in ("a b.jpg", "val/c.jpg"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        (folder / "list.txt").write_text(text)
        return read_list(folder / "list.txt", folder, 10)

    def test_as_paddleclas_has_it(self, tmp_path):
        found = self.read(tmp_path, "val/c.jpg 9\n\na b.jpg\t0\r\n")
        assert found == [Labelled(tmp_path / "val/c.jpg", 9), Labelled(tmp_path / "a b.jpg", 0)]

    @pytest.mark.parametrize(
        "line", ["a b.jpg", "a b.jpg 10", "a b.jpg -1", "a b.jpg 1.0", "7", f"x {'9' * 5000}"]
    )
    def test_other_lines_are_named(self, tmp_path, line):
        with pytest.raises(BadInput, match=r"list\.txt, line 2: .*from 0 to 9"):
            self.read(tmp_path, f"val/c.jpg 1\n{line}\n")

    def test_files_that_do_not_exist_are_told_before_the_run(self, tmp_path):
        with pytest.raises(BadInput, match=r"2 of 3 pictures do not exist, .*/b\.jpg first"):
            self.read(tmp_path, "val/c.jpg 1\nb.jpg 1\nd.jpg 1\n")

    def test_a_list_of_nothing(self, tmp_path):
        with pytest.raises(BadInput, match="names no pictures"):
            self.read(tmp_path, " \n\n")
        with pytest.raises(BadInput, match="nowhere"):
            read_list(tmp_path / "nowhere", tmp_path, 10)
        (tmp_path / "x").write_bytes(b"\xff 1\n")
        with pytest.raises(BadInput, match="UTF-8"):
            read_list(tmp_path / "x", tmp_path, 10)


def test_the_command(classifier_folder, pictures, orders, tmp_path, capsys):
    from pssdet.commands.top1 import top1

    listing = Path(tmp_path / "list.txt")
    listing.write_text(
        "".join(f"{path.name} {order[0]}\n" for path, order in zip(pictures, orders, strict=True))
    )
    top1(images=pictures[0].parent, listing=listing, model=classifier_folder)
    out = capsys.readouterr().out
    assert out.startswith("top-1 100.00 % (6 of 6 pictures)\ntop-5 100.00 % (6 of 6 pictures)\n")
    assert "seeded random values; the accuracy says nothing" in out
    assert "published" not in out
    top1(images=pictures[0].parent, listing=listing, model=classifier_folder, json=True)
    assert json.loads(capsys.readouterr().out) | {"weights": 0} == {
        "model": "narrow",
        "weights": 0,
        "pictures": 6,
        "top1": 6,
        "top5": 6,
    }
