"""The fuzzer on a few inputs of each format."""

import pytest
from fuzz.fuzz_checkpoints import FORMATS, _run


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_checkpoint_is_read_or_refused(name, tmp_path):
    tally = _run(name, FORMATS[name], 60, tmp_path / "input")
    assert tally.accepted + tally.refused == tally.inputs == 60
    assert tally.failures == []
    assert tally.refused


def test_any_other_error_is_a_failure(monkeypatch, tmp_path):
    def broken(path):
        raise KeyError(path.name)

    monkeypatch.setattr("fuzz.fuzz_checkpoints.read_checkpoint", broken)
    tally = _run("tar", FORMATS["tar"], 2, tmp_path / "input")
    assert [failure.partition(":")[0] for failure in tally.failures] == ["tar 0", "tar 1"]
