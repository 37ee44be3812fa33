"""The Python of the READMEs runs as it stands, and has the names that users' programs have from it."""

import ast
import io
import json
import re
import shutil
from contextlib import redirect_stdout

import pytest
from golden_files import GOLDEN, ROOT

CODE = {
    name: re.findall(
        r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    for name in ("README.md", "README.zh-CN.md")
}
METHODS = {"load", "above", "to_json", "to_paddle_rows", "to_coco_results"}


@pytest.mark.parametrize("readme", CODE)
def test_its_code_runs(readme, tmp_path, monkeypatch):
    (code,) = CODE[readme]
    # Whatever engine it names: this one is stored.
    shutil.copytree(GOLDEN / "engine", tmp_path / "artifacts" / "mini_faster" / "openvino-fp32")
    for name, picture in (("street.jpg", "wide.png"), ("harbour.jpg", "tall.png")):
        shutil.copyfile(GOLDEN / "pictures" / picture, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names = {}
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, readme, "exec"), names)
    assert len(printed.getvalue().splitlines()) == 2
    assert names["rows"].shape[1] == 6
    assert set(names["results"][0]) == {"image_id", "category_id", "bbox", "score"}


@pytest.mark.parametrize("readme", CODE)
def test_many_pictures_at_once(readme):
    from pssdet.engines.backend import Threading
    from pssdet.runtime.detector import Detector

    text = (ROOT / readme).read_text(encoding="utf-8")
    (imports,) = re.findall(r"`(from \S+ import Threading)`", text)
    (load,) = re.findall(r"`(Detector\.load\(folder, .*\))`", text)
    names = {"Detector": Detector, "folder": GOLDEN / "engine"}
    exec(f"{imports}\ndetector = {load}", names)
    assert names["Threading"] is Threading
    with names["detector"] as detector:
        assert len(detector([GOLDEN / "pictures" / "wide.png"])) == 1


@pytest.mark.parametrize("readme", CODE)
def test_its_names(readme):
    (code,) = CODE[readme]
    tree = ast.parse(code)
    imports = [
        (node.module, each.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    ]
    assert imports == [("pssdet.runtime.detector", "Detector")]
    assert {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} == METHODS


def test_names_of_a_detector_and_its_detections():
    from pssdet.runtime.detector import Detector

    with Detector.load(GOLDEN / "engine", max_batch=2, padding="own") as detector:
        (found,) = detector([(GOLDEN / "pictures" / "wide.png").read_bytes()])
    sure = found.above(0.4)
    assert len(sure) == sum(
        each["score"] > 0.4 for each in json.loads((GOLDEN / "detections.json").read_text())["wide.png"]
    )
    assert (sure.boxes.shape, sure.scores.shape, sure.labels.shape) == (
        (len(sure), 4),
        (len(sure),),
        (len(sure),),
    )
    assert (sure.names, sure.width, sure.height) == (("circle", "square", "star"), 120, 72)
    assert sure.to_paddle_rows().shape == (len(sure), 6)
    entries = sure.to_coco_results(image_id=1, category_ids=range(1, 9))
    assert [entry["category_id"] for entry in entries] == [label + 1 for label in sure.labels]
