import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engine import FakeSession, fake_engine, write_picture

from pssdet.commands.app import app_of, execute
from pssdet.commands.detect import detect
from pssdet.engines.backend import Threading
from pssdet.engines.registry import open_engine
from pssdet.runtime import detector as detector_module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def session(monkeypatch, tmp_path):
    """Every command of the test runs with this session, in a folder of its own."""
    session = FakeSession()
    monkeypatch.setattr(detector_module, "open_engine", lambda folder, **_: fake_engine(session))
    monkeypatch.chdir(tmp_path)
    return session


@pytest.fixture
def command(session, capsys):
    """Runs the command; gives its exit code, stdout and stderr."""

    def run(*arguments, engine="some/engine"):
        options = ["--engine", engine] if engine else []
        code = execute(app_of(detect), [*options, *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def leftovers(folder="."):
    return sorted(path.name for path in Path(folder).rglob(".pssdet-partial-*"))


class TestResults:
    def test_lines(self, command, session):
        write_picture("street.png", 90, 60)
        code, out, err = command("street.png")
        assert (code, err) == (0, "")
        header, line = out.splitlines()
        assert header == "street.png  90x60  1 detection"
        name, score, *box = line.split()
        assert (name, box) == ("cat", ["0.0", "0.0", "90.0", "60.0"])
        assert 0.5 < float(score) < 1
        assert session.closed

    def test_lines_without_detections(self, command):
        write_picture("street.png", 90, 60)
        assert command("street.png", "--threshold", "1")[1] == "street.png  90x60  0 detections\n"

    def test_json_file(self, command):
        write_picture("photos/b.png", 90, 60)
        write_picture("photos/a.png", 50, 70)
        code, out, err = command("photos", "--threshold", "0.1", "--json", "new/found.json")
        assert (code, out) == (0, "")
        assert err == "wrote new/found.json: 2 pictures\n"
        first, second = json.loads(Path("new/found.json").read_text())
        assert (first["image"], first["width"], first["height"]) == ("photos/a.png", 50, 70)
        assert second["image"] == "photos/b.png"
        assert [list(entry) for entry in second["detections"]] == [["label", "name", "score", "box"]] * 2
        assert [entry["name"] for entry in second["detections"]] == ["cat", "bird"]
        assert second["detections"][0]["box"] == [0, 0, 90, 60]
        scores = [entry["score"] for entry in second["detections"]]
        assert scores == sorted(scores, reverse=True)
        assert not leftovers()

    @pytest.mark.parametrize("arguments", [["--json", "-"], ["--json=-"]])
    def test_json_on_stdout_and_nothing_else(self, command, arguments):
        write_picture("a.png", 90, 60)
        code, out, err = command("a.png", *arguments)
        assert (code, err) == (0, "")
        assert len(json.loads(out)[0]["detections"]) == 1
        assert not Path("-").exists()

    def test_file_names_that_are_not_text(self, command):
        name = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
        write_picture(name, 90, 60)
        code, out, _ = command(name)
        assert code == 0
        assert out.startswith("caf\\udce9 é.png  90x60")
        assert json.loads(command(name, "--json", "-")[1])[0]["image"] == name

    def test_saved_images(self, command):
        file = write_picture("photos/a.png", 320, 240)
        assert command("photos", "--save-images", "drawn")[0] == 0
        drawn = cv2.imread("drawn/a.jpg")
        assert drawn.shape == (240, 320, 3)
        assert np.abs(drawn.astype(int) - cv2.imread(str(file))).max() > 50
        assert names_in("drawn") == ["a.jpg"]

    def test_saved_images_of_equal_names(self, command):
        for name in ("x/a.png", "y/a.png", "y/a-2.png", "y/a.bmp"):
            write_picture(name, 90, 60)
        assert command("x", "y", "x", "--save-images", "drawn")[0] == 0
        assert names_in("drawn") == ["a-2.jpg", "a-3.jpg", "a-4.jpg", "a-5.jpg", "a.jpg"]

    def test_video(self, command):
        writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
        for level in (50, 100, 150):
            writer.write(np.full((64, 96, 3), level, np.uint8))
        writer.release()
        code, out, _ = command("clip.avi", "--json", "-", "--save-images", "drawn")
        assert code == 0
        assert [entry["image"] for entry in json.loads(out)] == [f"clip.avi#00000{index}" for index in range(3)]
        assert names_in("drawn") == [f"clip_00000{index}.jpg" for index in range(3)]

    def test_many_pictures_keep_their_order(self, command, session):
        for number in range(20):
            write_picture(f"photos/{number:02}.png", 90, 60, seed=number)
        _, out, _ = command("photos", "--json", "-")
        assert [entry["image"] for entry in json.loads(out)] == [
            f"photos/{number:02}.png" for number in range(20)
        ]
        assert len(session.batches) == 20

    @pytest.mark.parametrize(("count", "hint"), [(1, "latency"), (2, "throughput")])
    def test_throughput_counts_for_several_pictures(self, command, monkeypatch, count, hint):
        opened = []
        monkeypatch.setattr(
            detector_module, "open_engine", lambda _, threading: opened.append(threading) or fake_engine()
        )
        names = [write_picture(f"{number}.png", 90, 60) for number in range(count)]
        assert command(*names, "--threads", 3)[0] == 0
        assert opened == [Threading(threads=3, hint=hint)]

    def test_progress_bar_leaves_stdout_alone(self, command, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        for number in range(12):
            write_picture(f"photos/{number:02}.png", 90, 60)
        Path("photos/05.png").write_bytes(b"nothing")
        code, out, err = command("photos", "--json", "-")
        assert code == 2
        assert len(json.loads(out)) == 11
        assert "detecting" in err
        assert "photos/05.png is damaged" in err


class TestBadPictures:
    @pytest.fixture
    def mixed(self, session):
        write_picture("photos/a.png", 90, 60)
        Path("photos/b.jpg").write_bytes(b"nothing")
        write_picture("photos/c.png", 1, 1)
        write_picture("photos/d.png", 60, 90)

    def test_the_good_ones_are_written(self, command, mixed):
        code, out, err = command("photos", "--json", "found.json", "--save-images", "drawn")
        assert (code, out) == (2, "")
        assert [entry["image"] for entry in json.loads(Path("found.json").read_text())] == [
            "photos/a.png",
            "photos/d.png",
        ]
        assert names_in("drawn") == ["a.jpg", "d.jpg"]
        first, second, wrote, last = err.splitlines()
        assert wrote == "wrote found.json and drawn: 2 pictures"
        assert first.startswith("error: photos/b.jpg is damaged")
        assert second.startswith("error: photos/c.png: a picture of 1x1 pixels")
        assert last == "error: 2 picture(s) could not be used, as said above; the others have results"

    def test_all_bad(self, command, mixed):
        code, out, err = command("photos/b.jpg", "photos/b.jpg", "--json", "-")
        assert (code, json.loads(out)) == (2, [])
        last = err.splitlines()[-1]
        assert last == "error: 2 picture(s) could not be used, as said above; there are no results"

    def test_the_only_one_is_bad(self, command, mixed):
        code, out, err = command("photos/b.jpg", "--json", "-")
        assert (code, out) == (2, "")
        assert err.count("error: ") == 1


class TestBadArguments:
    @pytest.mark.parametrize("threshold", ["-0.1", "1.1", "nan", "inf", "much"])
    def test_threshold(self, command, threshold):
        write_picture("a.png", 90, 60)
        code, out, err = command("a.png", f"--threshold={threshold}")
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "no picture is named"),
            (["nowhere.jpg"], "no file or folder nowhere.jpg"),
            (["empty"], "holds no pictures"),
            (["a.png", "--json", "empty"], "is a folder"),
            (["a.png", "--json", "a.png"], "one of the input pictures"),
            (["a.png", "--json", "a.png/found.json"], "cannot write|is a file"),
            (["a.png", "--json", "--threshold", "0.2"], "--json needs a file"),
            (["a.png", "--save-images", "a.png"], "is a file"),
            (["photos", "--save-images", "photos"], "choose another folder"),
            (["photos/b.png", "--save-images", "photos/../photos"], "choose another folder"),
            (["a.png", "--json", "x" * 300], "cannot write"),
            (["a.png", "--no-such-option"], "--help shows the arguments"),
        ],
    )
    def test_one_line_and_exit_code_2(self, command, session, arguments, words):
        Path("empty").mkdir()
        before = write_picture("a.png", 90, 60).read_bytes()
        write_picture("photos/b.png", 90, 60)
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert re.search(words, err)
        assert err.count("\n") == 1
        assert Path("a.png").read_bytes() == before
        assert not session.batches
        assert not leftovers()

    def test_engine_missing(self, command, monkeypatch):
        monkeypatch.setattr(detector_module, "open_engine", open_engine)
        write_picture("a.png", 90, 60)
        code, _, err = command("a.png", engine="nowhere")
        assert code == 2
        assert "python engines/build.py" in err

    def test_without_an_engine_the_default_one_is_asked_for(self, command, monkeypatch):
        opened = []
        monkeypatch.setattr(
            detector_module, "open_engine", lambda folder, **_: opened.append(folder) or fake_engine()
        )
        monkeypatch.setattr("pssdet.commands.artifacts.default_engine", lambda progress: Path("the default"))
        write_picture("a.png", 90, 60)
        assert command("a.png", engine=None)[0] == 0
        assert opened == [Path("the default")]


def test_broken_engine_leaves_no_json(command, session, monkeypatch):
    write_picture("a.png", 90, 60)
    Path("found.json").write_text("old")
    answer = session.answer
    monkeypatch.setattr(session, "answer", lambda inputs: {**answer(inputs), "count": [500]})
    code, _, err = command("a.png", "--json", "found.json")
    assert code == 1
    assert "a.png: the engine gave a count of 500" in err
    assert Path("found.json").read_text() == "old"
    assert not leftovers()


@pytest.mark.parametrize("entry", [["runtime/detect.py"], ["-m", "pssdet.runtime.detect"]])
def test_help_is_light(entry):
    script = [sys.executable, "-X", "importtime", *entry, "--help"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=True)
    for option in ("--engine", "--threshold", "--json", "--save-images", "IMAGE|FOLDER|VIDEO"):
        assert option in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "cyclopts" in imported
    assert not imported & {"cv2", "numpy", "onnxruntime", "paddle"}
