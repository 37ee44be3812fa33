"""The export command: which export it calls, and with which names."""

import pytest

from pssdet.commands import export as to_onnx
from pssdet.errors import GateFailed
from pssdet.export import pipeline
from pssdet.models.zoo import ZooEntry, find_any


@pytest.fixture
def asked(monkeypatch):
    """What the exports were asked for; none of them runs."""
    asked = []

    def stop(entry, weights, folder, progress):
        which = "detector" if isinstance(entry, ZooEntry) else "classifier"
        asked.append((which, entry, weights, str(folder)))
        raise GateFailed("not run")

    monkeypatch.setattr(pipeline, "export_model", stop)
    return asked


@pytest.mark.parametrize(
    ("model", "which", "count"),
    [
        ("cascade_rcnn_dcn_r101_vd_fpn_gen_server_side", "detector", 676),
        ("mini_faster", "detector", 8),
        ("resnet50_vd_ssld", "classifier", 1000),
    ],
)
def test_names_of_a_users_own(asked, tmp_path, model, which, count):
    (tmp_path / "names.txt").write_text("".join(f"thing {index}\n" for index in range(count)))
    with pytest.raises(GateFailed, match="not run"):
        to_onnx.export(model=model, weights="x", labels=tmp_path / "names.txt")
    with pytest.raises(GateFailed, match="not run"):
        to_onnx.export(model=model, output=tmp_path)
    (first, second) = asked
    assert (first[0], first[2], first[3]) == (which, "x", f"artifacts/{model}")
    assert (second[0], second[1], second[3]) == (which, find_any(model), str(tmp_path))
    assert first[1].name == model
    assert first[1].labels == tuple(f"thing {index}" for index in range(count))
    assert second[1].labels[0] != "thing 0"
