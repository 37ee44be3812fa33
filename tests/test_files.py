"""Files appear whole or not at all, also when writing fails; arrays are read without trust."""

import os
import stat
import zipfile

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.files import prune, read_arrays, staged_file, staged_folder, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_move_in_when_the_block_succeeds(tmp_path):
    target = tmp_path / "a" / "b"
    with staged_folder(target) as stage:
        (stage / "x").write_text("1")
        assert not target.exists()
    assert names(target) == ["x"]
    assert names(tmp_path) == ["a"]


def test_nothing_is_left_when_it_raises(tmp_path):
    (tmp_path / "x").write_text("old")

    def fail():
        with staged_folder(tmp_path) as stage:
            (stage / "x").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_other_files_of_the_target_stay(tmp_path):
    (tmp_path / "other").write_text("kept")
    with staged_folder(tmp_path) as stage:
        (stage / "x").write_text("1")
    assert names(tmp_path) == ["other", "x"]


def test_a_folder_in_the_way_of_a_file_changes_nothing(tmp_path):
    (tmp_path / "model.onnx").mkdir()
    (tmp_path / "model.json").write_text("old")

    def write():
        with staged_folder(tmp_path) as stage:
            (stage / "model.json").write_text("new")
            (stage / "model.onnx").write_text("new")

    with pytest.raises(BadInput, match=r"model\.onnx is a folder"):
        write()
    assert (tmp_path / "model.json").read_text() == "old"
    assert names(tmp_path) == ["model.json", "model.onnx"]


def test_cards_move_last(tmp_path, monkeypatch):
    moved = []
    replace = type(tmp_path).replace
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda self, to: moved.append(self.name) or replace(self, to)
    )
    with staged_folder(tmp_path / "t") as stage:
        for name in ("a.json", "z.bin", "m.onnx"):
            (stage / name).write_text("")
    assert moved == ["m.onnx", "z.bin", "a.json"]


@pytest.mark.parametrize("target", ["/proc/nothing/here", "x" * 300])
def test_a_place_that_cannot_be_written_to(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="choose another"):
        write_atomically(type(tmp_path)(target) / "file", b"content")


def test_a_full_disk_is_said_to_be_one(tmp_path):
    with pytest.raises(BadInput, match="No space left"), staged_folder(tmp_path):
        raise OSError(28, "No space left on device")


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, b"content")
    assert os.read(reader, 100) == b"content"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_a_file_in_a_new_folder(tmp_path):
    with staged_file(tmp_path / "new" / "file") as stage:
        stage.write_text("1")
    assert (tmp_path / "new" / "file").read_text() == "1"


def test_prune_deletes_the_oldest_until_the_rest_fits(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / name
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))
    prune(tmp_path, 25)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "middle"}
    prune(tmp_path, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    prune(tmp_path / "missing", 5)


def text_in_a_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("boxes", "no array")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_bytes(b"rubbish"), "is no intact .npz file of plain arrays"),
        (lambda path: path.write_bytes(b""), "is no intact .npz file of plain arrays"),
        (lambda path: np.save(path.open("wb"), np.zeros(3)), "is no intact .npz file of plain arrays"),
        (lambda path: np.savez(path, boxes=np.array([{}])), "is no intact .npz file of plain arrays"),
        (lambda path: np.savez(path, other=np.zeros(3)), "has no array 'boxes'"),
        (text_in_a_zip, "has no array 'boxes'"),
        (lambda path: path.mkdir(), "cannot be read (Is a directory)"),
        (lambda _: None, "cannot be read (No such file or directory)"),
    ],
    ids=["rubbish", "empty", "one array", "objects", "other arrays", "text", "folder", "nothing"],
)
def test_what_holds_no_arrays_is_refused_in_our_own_words(tmp_path, write, said):
    path = tmp_path / "arrays.npz"
    write(path)
    with pytest.raises(BadInput) as refusal:
        read_arrays(path, ["boxes"])
    assert str(refusal.value) == f"{path} {said}"


def test_damaged_arrays_are_refused_or_read(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, boxes=np.arange(20.0))
    content = path.read_bytes()
    refused = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_arrays(path)
        except BadInput:
            refused += 1
    assert refused > len(content) / 2
