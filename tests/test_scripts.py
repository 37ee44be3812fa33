"""The commands as users run them: scripts from any folder, exit codes, one-line errors, no heavy --help."""

import importlib
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pssdet import console
from pssdet.commands.app import _COMMANDS

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = (
    "export/to_onnx.py",
    "engines/build.py",
    "runtime/detect.py",
    "validation/report.py",
    "validation/stage_parity.py",
    "plugins/tools/compile_check.py",
    "validation/top1.py",
)
HEAVY = ("paddle", "onnx", "onnxruntime", "cv2", "numpy", "tensorrt")


def run(script, *arguments, folder):
    """One run without a network: its exit code, stdout and stderr."""
    environment = os.environ | {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    environment |= {"PSSDET_CACHE": str(folder / "cache")}
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def assert_one_line_error(code, expected, err, *words):
    assert code == expected, err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_quick_and_says_what_the_command_does(script, tmp_path):
    code, out, err = run(script, "--help", folder=tmp_path)
    assert (code, err) == (0, "")
    assert "Usage" in out
    assert "--" in out


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_imports_nothing_heavy(script, tmp_path):
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['x', '--help']\n"
        f"try: runpy.run_path({str(ROOT / script)!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "command", ["export", "build", "detect", "report", "scenes", "stages", "top1", "gpu-check", "zoo"]
)
def test_the_console_script_has_the_same_commands(command, tmp_path):
    program = [sys.executable, "-c", "from pssdet.commands.app import main; main()", command, "--help"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0
    assert f"pssdet {command}" in done.stdout
    module = importlib.import_module(_COMMANDS[command][0].partition(":")[0])
    summary = getattr(module, command.replace("-", "_")).__doc__.partition("\n")[0]
    assert summary in " ".join(done.stdout.split())


def test_zoo_as_json(tmp_path):
    code, out, _ = run("models/list_zoo.py", "--json", folder=tmp_path)
    assert code == 0
    zoo = json.loads(out)
    models = {model["name"]: model for model in zoo["models"]}
    assert models["faster_rcnn_enhance_3x_coco"]["published"]["box_ap"] == 41.5
    assert [model["row"] for model in models.values() if model["published"]] == [1, 2, 3, 4]
    assert models["cascade_rcnn_dcn_r50_vd_fpn_gen_server_side"]["published"] is None
    assert models["cascade_rcnn_dcn_r50_vd_fpn_gen_server_side"]["labels"] == 676
    assert models["mini_faster"]["labels"][0] == "warm circle"
    assert [(model["name"], model["top1"]) for model in zoo["classifiers"]] == [("resnet50_vd_ssld", 82.39)]


def test_zoo_shows_what_has_no_published_figures_apart(tmp_path):
    code, out, _ = run("models/list_zoo.py", folder=tmp_path)
    assert code == 0
    published, _, others = out.partition("No published AP/FPS")
    for name in ("cascade_rcnn_dcn_r50_vd_fpn_gen_server_side", "mini_faster"):
        assert name not in published
        assert name in others
    assert "published top-1 82.39 %" in others


class TestBadInput:
    def test_unknown_option(self, tmp_path):
        code, _, err = run("export/to_onnx.py", "--wieghts", "x", folder=tmp_path)
        assert_one_line_error(code, 2, err, "--wieghts", "--help")

    @pytest.mark.parametrize("script", ["export/to_onnx.py", "engines/build.py"])
    def test_wrong_model_name(self, script, tmp_path):
        code, _, err = run(script, "--model", "faster_rcnn_enhance_3x", folder=tmp_path)
        assert_one_line_error(code, 2, err, "did you mean faster_rcnn_enhance_3x_coco")

    def test_no_network_for_the_published_checkpoint(self, tmp_path):
        code, _, err = run("export/to_onnx.py", "--model", "faster_rcnn_enhance_3x_coco", folder=tmp_path)
        assert_one_line_error(code, 3, err, "--weights FILE")
        assert not (tmp_path / "artifacts").exists()

    @pytest.mark.parametrize(("model", "count"), [("resnet50_vd_ssld", 1000), ("mini_faster", 8)])
    def test_a_wrong_number_of_names(self, tmp_path, model, count):
        (tmp_path / "names.txt").write_text("a\nb\n")
        arguments = ("--model", model, "--weights", "none", "--labels", "names.txt")
        code, _, err = run("export/to_onnx.py", *arguments, folder=tmp_path)
        assert_one_line_error(code, 2, err, "names.txt", "2 line", f"give {count} names")

    def test_missing_checkpoint(self, tmp_path):
        code, _, err = run("export/to_onnx.py", "--weights", "nowhere.pdparams", folder=tmp_path)
        assert_one_line_error(code, 2, err, "nowhere.pdparams")

    def test_checkpoint_with_a_payload(self, tmp_path):
        class Payload:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path}/executed",)

        (tmp_path / "evil.pdparams").write_bytes(pickle.dumps({"backbone": Payload()}))
        code, _, err = run(
            "export/to_onnx.py", "--weights", "evil.pdparams", "--output", "out", folder=tmp_path
        )
        assert_one_line_error(code, 2, err, "evil.pdparams", "system")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pdparams"]

    def test_unwritable_output(self, tmp_path):
        (tmp_path / "occupied").write_text("a file")
        arguments = ("--weights", "none", "--output", tmp_path / "occupied")
        code, _, err = run("export/to_onnx.py", *arguments, folder=tmp_path)
        assert_one_line_error(code, 2, err, "occupied", "choose another")
        code, _, err = run(
            "export/to_onnx.py", "--weights", "none", "--output", "/proc/nothing", folder=tmp_path
        )
        assert_one_line_error(code, 2, err, "cannot write")

    def test_precision_that_no_backend_offers(self, tmp_path):
        code, _, err = run("engines/build.py", "--backend", "paddle", "--int8", folder=tmp_path)
        assert_one_line_error(code, 2, err, "int8", "fp32")
        code, _, err = run("engines/build.py", "--backend", "paddle", "--fp16", folder=tmp_path)
        assert_one_line_error(code, 2, err, "fp16", "fp32")
        code, _, err = run("engines/build.py", "--int8", "--fp16", folder=tmp_path)
        assert_one_line_error(code, 2, err, "exclude")

    def test_options_of_another_backend(self, tmp_path):
        shapes = ("--opt-shapes", "1x64x64", "--opt-shapes", "8x64x64", "--stages")
        code, _, err = run("engines/build.py", "--backend", "onnxruntime", *shapes, folder=tmp_path)
        assert_one_line_error(code, 2, err, "onnxruntime has no --opt-shapes, --stages")
        code, _, err = run("engines/build.py", "--hardware-compatible", "everything", folder=tmp_path)
        assert_one_line_error(code, 2, err, "ampere_plus")

    def test_unknown_backend(self, tmp_path):
        code, _, err = run("engines/build.py", "--backend", "tensorflow", folder=tmp_path)
        assert_one_line_error(code, 2, err, "onnxruntime")

    def test_tensorrt_without_a_gpu(self, tmp_path):
        code, _, err = run("engines/build.py", "--backend", "tensorrt", folder=tmp_path)
        assert_one_line_error(code, 3, err, "TensorRT", "--backend onnxruntime")


def test_being_stopped_leaves_nothing(tmp_path):
    command = [sys.executable, str(ROOT / "export/to_onnx.py"), "--weights", "none", "--output", "out"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    while not any(tmp_path.iterdir()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert list(tmp_path.iterdir()) == []


def test_a_termination_that_got_lost_is_raised_by_the_next_step(monkeypatch):
    monkeypatch.setattr(console, "_terminated", [])
    with console.steps() as progress:
        progress("one")
        with pytest.raises(SystemExit):
            console.terminate()
        with pytest.raises(SystemExit) as stopped:
            progress("two")
    assert stopped.value.code == 143


@pytest.fixture(scope="module")
def engine(row4_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    code, out, err = run("engines/build.py", "--model", row4_folder, "--output", folder / "e", folder=folder)
    assert code == 0, err
    assert "fp32" in out
    return folder / "e"


class TestWithAClassifier:
    def test_commands_for_detectors_say_that_it_is_none(self, classifier_folder, tmp_path):
        from reference import DATA

        for script, arguments in (
            ("engines/build.py", ("--model", "resnet50_vd_ssld")),
            ("engines/build.py", ("--model", classifier_folder)),
            ("runtime/detect.py", ("--engine", classifier_folder, DATA / "rendered_scene.jpg")),
            ("validation/report.py", ("--engines", classifier_folder, "--scenes", "1")),
        ):
            code, _, err = run(script, *arguments, folder=tmp_path)
            assert_one_line_error(code, 2, err, "classifier, a detector is needed")

    def test_its_accuracy(self, classifier_folder, tmp_path):
        from fake_engine import write_picture

        write_picture(tmp_path / "val" / "a.png", 60, 70)
        (tmp_path / "list.txt").write_text("val/a.png 3\nval/a.png 3\n")
        arguments = ("--images", ".", "--list", "list.txt", "--model", classifier_folder)
        code, out, err = run("validation/top1.py", *arguments, folder=tmp_path)
        assert (code, err) == (0, "")
        assert "of 2 pictures" in out
        (tmp_path / "list.txt").write_text("val/a.png 3\nval/b.png 3\n")
        code, _, err = run("validation/top1.py", *arguments, folder=tmp_path)
        assert_one_line_error(code, 2, err, "1 of 2 pictures do not exist", "b.png")
        code, _, err = run("validation/top1.py", "--images", ".", "--list", "list.txt", folder=tmp_path)
        assert_one_line_error(
            code, 2, err, "artifacts/resnet50_vd_ssld", "export/to_onnx.py --model resnet50_vd_ssld"
        )


class TestWithAnEngine:
    def test_detections_of_the_original_program_from_the_jpeg_on(self, engine, tmp_path):
        import numpy as np
        from reference import DATA, load_case

        from pssdet.models.matching import match_detections

        picture = DATA / "rendered_scene.jpg"
        options = ("--threshold", "0", "--json", "out.json", "--save-images", "drawn")
        code, _, err = run("runtime/detect.py", "--engine", engine, picture, *options, folder=tmp_path)
        assert code == 0
        assert err == (
            "note: the engine has seeded random parameters; its boxes mean nothing\n"
            "wrote out.json and drawn: 1 picture\n"
        )
        (entry,) = json.loads((tmp_path / "out.json").read_text())
        assert (entry["width"], entry["height"]) == (853, 480)
        rows = np.array([[d["label"], d["score"], *d["box"]] for d in entry["detections"]])
        match = match_detections(rows, load_case("row4_photo_rendered_scene")["detections"], 1e-3, 0.1)
        assert match[:3] == (100, 100, 100)
        assert (np.diff(rows[:, 1]) <= 0).all()
        assert (tmp_path / "drawn" / "rendered_scene.jpg").stat().st_size > 10_000

    def test_text_file_named_jpg_among_good_pictures(self, engine, tmp_path):
        from reference import DATA

        (tmp_path / "letter.jpg").write_text("Dear reader")
        arguments = ("--engine", engine, "letter.jpg", DATA / "rendered_scene.jpg", "--json", "out.json")
        code, _, err = run("runtime/detect.py", *arguments, folder=tmp_path)
        assert code == 2
        assert "letter.jpg" in err
        assert len(json.loads((tmp_path / "out.json").read_text())) == 1

    def test_a_single_text_file_named_jpg(self, engine, tmp_path):
        (tmp_path / "letter.jpg").write_text("Dear reader")
        arguments = ("--engine", engine, "letter.jpg", "--json", "out.json")
        code, _, err = run("runtime/detect.py", *arguments, folder=tmp_path)
        assert_one_line_error(code, 2, err, "letter.jpg")
        assert [path.name for path in tmp_path.iterdir()] == ["letter.jpg"]

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (10_000, 10)])
    def test_pictures_of_impossible_sizes(self, engine, tmp_path, width, height):
        import cv2
        import numpy as np

        cv2.imwrite(str(tmp_path / "odd.png"), np.full((height, width, 3), 99, np.uint8))
        code, _, err = run("runtime/detect.py", "--engine", engine, "odd.png", folder=tmp_path)
        assert_one_line_error(code, 2, err, f"{width}x{height}")

    def test_a_small_file_that_unfolds_to_gigabytes(self, engine, tmp_path):
        import cv2
        import numpy as np

        cv2.imwrite(str(tmp_path / "bomb.png"), np.zeros((15_000, 15_000), np.uint8))
        # A small process in between: what Linux counts for a child begins with its parent's memory.
        program = (
            "import resource, subprocess, sys\n"
            "code = subprocess.run(sys.argv[1:], check=False).returncode\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
            "sys.exit(code)"
        )
        command = [sys.executable, str(ROOT / "runtime/detect.py"), "--engine", str(engine), "bomb.png"]
        done = subprocess.run(
            [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert_one_line_error(done.returncode, 2, done.stderr, "bomb.png", "million pixels")
        assert int(done.stdout.split()[-1]) < 600_000  # KiB; the picture alone would be 675 MB

    def test_json_to_standard_output_by_name(self, engine, tmp_path):
        from reference import DATA

        arguments = ("--engine", engine, DATA / "rendered_scene.jpg", "--json", "/dev/stdout")
        code, out, _ = run("runtime/detect.py", *arguments, folder=tmp_path)
        assert code == 0
        assert json.loads(out)[0]["width"] == 853
        assert Path("/dev/stdout").exists()

    def test_a_folder_whose_name_looks_like_markup(self, row4_folder, tmp_path):
        arguments = ("--model", row4_folder, "--output", "out[bold]y[/]")
        code, out, err = run("engines/build.py", *arguments, folder=tmp_path)
        assert code == 0, err
        assert "wrote out[bold]y[/]" in out

    def test_altered_engine(self, engine, tmp_path):
        from reference import DATA

        copy = tmp_path / "altered"
        copy.mkdir()
        for path in engine.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        altered = max(copy.iterdir(), key=lambda path: path.stat().st_size)
        altered.write_bytes(altered.read_bytes()[:-1] + b"x")
        code, _, err = run("runtime/detect.py", "--engine", copy, DATA / "rendered_scene.jpg", folder=tmp_path)
        assert_one_line_error(code, 2, err, "sha256")

    def test_an_engine_of_an_earlier_export_is_named(self, engine, row4_folder, tmp_path):
        from reference import DATA

        (tmp_path / "e").mkdir()
        for path in engine.iterdir():
            (tmp_path / "e" / path.name).write_bytes(path.read_bytes())
        card = (row4_folder / "model.json").read_text()
        (tmp_path / "model.json").write_text(card.replace('"person"', '"somebody"'))
        code, _, err = run("runtime/detect.py", "--engine", "e", DATA / "rendered_scene.jpg", folder=tmp_path)
        assert code == 0
        assert "built from an earlier export" in err

    def test_a_model_folder_is_no_engine(self, engine, row4_folder, tmp_path):
        from reference import DATA

        code, _, err = run(
            "runtime/detect.py", "--engine", row4_folder, DATA / "rendered_scene.jpg", folder=tmp_path
        )
        assert_one_line_error(code, 2, err, "exported model, an engine is needed")
        code, _, err = run("engines/build.py", "--model", engine, folder=tmp_path)
        assert_one_line_error(code, 2, err, "is an engine, an exported model is needed")

    def test_no_pictures(self, engine, tmp_path):
        code, _, err = run("runtime/detect.py", "--engine", engine, folder=tmp_path)
        assert_one_line_error(code, 2, err)
