"""``model.json`` and ``engine.json`` of the bundled detectors, ``report.json`` and ``pssdet zoo --json``."""

import pytest
import sample_reports
from golden_files import assert_golden, normalised, pssdet

MODELS = {"mini_faster": "mini_folder", "mini_cascade": "mini_cascade_folder"}


@pytest.fixture(params=MODELS)
def model(request):
    """Its name, and the folder where it was exported and its engines were built."""
    return request.param, request.getfixturevalue(MODELS[request.param])


def test_of_the_exported_model(model):
    name, folder = model
    assert_golden(f"cards/{name}.model.json", normalised((folder / "model.json").read_bytes()))


@pytest.mark.parametrize("engine", ["paddle-fp32", "onnxruntime-fp32", "onnxruntime-fp16"])
def test_of_its_engines(model, engine):
    import onnxruntime

    name, folder = model
    if engine == "onnxruntime-fp16" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("with CUDA half precision is not emulated, and the card says so")
    assert_golden(
        f"cards/{name}.{engine}.engine.json", normalised((folder / engine / "engine.json").read_bytes())
    )


def test_of_an_int8_engine(mini_folder, tmp_path):
    from pssdet.engines.backend import PrecisionOptions
    from pssdet.engines.build_engine import build_engine
    from pssdet.engines.registry import choose_backend
    from pssdet.validation.scenes.dataset import write_dataset

    write_dataset(tmp_path / "scenes", "train", 4)
    options = PrecisionOptions(calibration=tmp_path / "scenes")
    build_engine(
        mini_folder, choose_backend("onnxruntime", "int8"), "int8", tmp_path / "engine", options=options
    )
    card = normalised((tmp_path / "engine" / "engine.json").read_bytes(), tmp_path)
    assert_golden("cards/mini_faster.onnxruntime-int8.engine.json", card)


@pytest.mark.parametrize("name", ["passing_report", "two_models_report"])
def test_of_a_report(name, tmp_path):
    from pssdet.validation.parity_report.render import write_report

    report = getattr(sample_reports, name)()
    write_report(report, tmp_path / "report")
    text = (tmp_path / "report" / "report.json").read_text(encoding="utf-8")
    # OpenCV's versions write different JPEG files.
    pictures = [each.picture for pair in report.comparisons for each in pair.disagreements]
    for picture in pictures:
        text = text.replace(picture, "<jpeg>")
    assert_golden(f"reports/{name}.report.json", text)


def test_of_the_zoo(tmp_path):
    done = pssdet("zoo", "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert_golden("zoo.json", done.stdout)
