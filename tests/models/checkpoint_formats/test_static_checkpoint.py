"""Checkpoints of one file per variable: archives, folders, inference models; honest, damaged and hostile."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import tarfile

import numpy as np
import pytest
from checkpoint_parts import (
    array_of,
    bytes_of,
    expect_same,
    file_of,
    folder_of,
    inference_model,
    message,
    peak_of,
    pickled,
    program_of,
    refusal,
    static_variables,
    structured_variables,
    tar_of,
    tensor_of,
    text_of,
    variable_of,
)

from pssdet.console import ERR
from pssdet.errors import BadInput
from pssdet.models.checkpoint_formats.checkpoint import match_parameters, read_checkpoint
from pssdet.models.parameters import load_parameters, reload_parameters

VALUES = static_variables()
EXPECTED = structured_variables()
FILES = {name: tensor_of(array) for name, array in VALUES.items()}
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def folder_refusal(folder):
    with pytest.raises(BadInput) as caught:
        read_checkpoint(folder)
    text = str(caught.value)
    assert text.startswith(str(folder))
    assert "\n" not in text
    return text.removeprefix(str(folder))


def read_noting(path):
    """The parameters, and how many variables the note on stderr says were ignored."""
    with ERR.capture() as noted:
        found = read_checkpoint(path)
    return found, sum(map(int, re.findall("([0-9]+) optimiser variables ignored", noted.get())))


def expect_checkpoint(path, ignored=2):
    found, noted = read_noting(path)
    expect_same(found, EXPECTED)
    assert noted == ignored


def member_of(name, kind=tarfile.REGTYPE, content=b"", **more):
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content)
    for key, value in more.items():
        setattr(member, key, value)
    return member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


# What loads


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("folder", ["", "./", "model/", "./a/b/", "x" * 150 + "/"])
def test_archives(tmp_path, form, folder):
    if form == tarfile.USTAR_FORMAT and len(folder) > 100:
        folder = folder[:90] + "/"
    content = tar_of(FILES, folder, form)
    expect_checkpoint(file_of(tmp_path, content))
    expect_checkpoint(file_of(tmp_path, gzip.compress(content)))


def test_an_archive_made_of_a_folder(tmp_path):
    folder = folder_of(tmp_path / "model", FILES)
    for mode in ("w", "w:gz"):
        with tarfile.open(tmp_path / "model.tar", mode) as archive:
            archive.add(folder, "model")
        found, ignored = read_noting(tmp_path / "model.tar")
        assert ignored == 2
        for name, value in EXPECTED.items():
            np.testing.assert_array_equal(found[name], value)


def test_old_archives_without_a_magic(tmp_path):
    header = bytearray(member_of("fc6_w", content=FILES["fc6_w"]))
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    found = read_checkpoint(file_of(tmp_path, bytes(header) + bytes(1024)))
    assert list(found) == ["bbox_head.head.fc6.weight"]


def test_folders_and_inference_models(tmp_path):
    parameters = {
        name: array for name, array in VALUES.items() if "velocity" not in name and "learning" not in name
    }
    expect_checkpoint(folder_of(tmp_path / "a", FILES))
    expect_checkpoint(folder_of(tmp_path / "b", {**FILES, "__model__": b"", "infer_cfg.yml": b"mode: x"}))
    model = inference_model(parameters)
    expect_checkpoint(folder_of(tmp_path / "c", {**model, "infer_cfg.yml": b""}), ignored=0)
    expect_checkpoint(file_of(tmp_path, tar_of(model)), ignored=0)


@pytest.mark.parametrize("protocol", [2, 4])
def test_static_pickles(tmp_path, protocol):
    """What is left out need not be of floats."""
    content = pickle.dumps({"@LR_DECAY_COUNTER@": np.array([9]), **VALUES}, protocol)
    expect_checkpoint(file_of(tmp_path, content), ignored=3)


def test_names_of_files_say_nothing(tmp_path):
    for name in ("x.pdparams", "x.tar", "x"):
        path = tmp_path / name
        path.write_bytes(tar_of(FILES))
        expect_checkpoint(path)
        path.write_bytes(pickle.dumps(VALUES))
        expect_checkpoint(path)


def test_optimiser_variables_are_not_read(tmp_path):
    expect_checkpoint(
        folder_of(tmp_path / "a", {**FILES, "learning_rate_0": b"", "fc6_w_velocity_0": b"x"}), ignored=3
    )


def test_parameters_of_a_folder_are_the_same_later(tmp_path, capsys):
    folder = folder_of(tmp_path / "model", FILES)
    shapes = {name: array.shape for name, array in EXPECTED.items()}
    found, record = load_parameters(str(folder), shapes)
    expect_same(found, EXPECTED)
    assert "2 optimiser variables ignored" in capsys.readouterr().err
    expect_same(reload_parameters(record, shapes), EXPECTED)
    (folder / "fc6_w").write_bytes(tensor_of(VALUES["fc6_w"] + 1))
    with pytest.raises(BadInput, match="another checkpoint"):
        reload_parameters(record, shapes)


# What does not fit


def test_missing_and_left_over_parameters_are_named(tmp_path):
    found = read_checkpoint(file_of(tmp_path, tar_of(FILES)))
    expected = {"bbox_head.head.fc6.weight": (3, 5), "bbox_head.head.fc6.bias": (5,)}
    with pytest.raises(BadInput) as caught:
        match_parameters(found, expected, "x.tar")
    for words in ("1 missing (bbox_head.head.fc6.bias)", "2 left over (backbone.conv1.conv1_1.norm._mean"):
        assert words in str(caught.value)


def test_unknown_names(tmp_path):
    files = {**FILES, "alien": b""}
    assert "1 unknown variables (alien)" in refusal(tmp_path, tar_of(files))
    assert "1 unknown variables (alien)" in folder_refusal(folder_of(tmp_path / "a", files))
    assert "1 unknown variables (alien)" in refusal(
        tmp_path, pickle.dumps({**VALUES, "alien": np.ones(1, "f4")})
    )
    assert "1 unknown variables (alien)" in folder_refusal(
        folder_of(tmp_path / "b", inference_model({"alien": np.ones(1, "f4")}))
    )


def test_only_optimiser_variables(tmp_path):
    assert "no parameters (1 optimiser" in refusal(tmp_path, tar_of({"learning_rate_0": b""}))


def test_damaged_variables_are_named(tmp_path):
    content = FILES["fc6_w"]
    for damaged, words in (
        (content[:-1], "fc6_w with 59 bytes, its shape (3, 5) needs 60"),
        (content + b"\0", "fc6_w with 1 bytes after its end"),
        (b"", "fc6_w, which ends too early"),
        (b"\1" + content[1:], "fc6_w, a tensor of version 1"),
    ):
        assert words in refusal(tmp_path, tar_of({**FILES, "fc6_w": damaged}))
        assert words in folder_refusal(folder_of(tmp_path / "model", {**FILES, "fc6_w": damaged}))


def test_a_single_variable(tmp_path):
    assert "is a single variable" in refusal(tmp_path, FILES["fc6_w"])


# Archives


def test_truncation_of_an_archive_at_every_byte(tmp_path):
    whole = tar_of({"fc6_w": FILES["fc6_w"]})
    end = whole.rindex(FILES["fc6_w"][-4:]) + 4
    end += -end % 512
    read_checkpoint(file_of(tmp_path, whole[: end + 512]))
    for length in range(1, end + 512):
        refusal(tmp_path, whole[:length])


def test_truncation_of_a_compressed_archive(tmp_path):
    whole = gzip.compress(tar_of({"fc6_w": FILES["fc6_w"]}))
    for length in range(2, len(whole)):
        assert "gzip" in refusal(tmp_path, whole[:length])
    assert "1 bytes after its gzip stream" in refusal(tmp_path, whole + b"\0")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (member_of("/etc/fc6_w"), "leads out"),
        (member_of("../fc6_w"), "leads out"),
        (member_of("a/../../fc6_w"), "leads out"),
        (member_of("../", tarfile.DIRTYPE), "leads out"),
        (member_of("fc6_w") + member_of("fc6_w"), "fc6_w twice"),
        (member_of("a/fc6_w") + member_of("b/fc6_w"), "fc6_w twice"),
        (member_of("a/fc6_w") + member_of("b/fc7_w"), "several folders"),
        (member_of("fc6_w", tarfile.SYMTYPE, linkname="/etc/passwd"), "fc6_w is a link"),
        (member_of("fc6_w", tarfile.LNKTYPE, linkname="fc7_w"), "fc6_w is a link"),
        (member_of("fc6_w", tarfile.CHRTYPE), "fc6_w is a special file"),
        (member_of("fc6_w", tarfile.FIFOTYPE), "fc6_w is a special file"),
        (member_of("fc6_w", tarfile.CONTTYPE), "fc6_w is a special file"),
        (member_of("fc6_w", tarfile.GNUTYPE_SPARSE), "fc6_w is a sparse file"),
        (member_of("fc6_w", b"Z"), "fc6_w is a special file"),
        (member_of("fc6\n_w"), "no short printable text"),
        (member_of("x" * 600), "no short printable text"),
        (member_of("@LongLink", b"L", bytes(70000)), "endless name"),
        (member_of("x", b"x", b"30 GNU.sparse.realsize=999999\n") + member_of("fc6_w"), "sparse"),
        (member_of("x", b"x", b"12 size=-99\n") + member_of("fc6_w"), "sparse"),
        (member_of("x", b"x", b"17 path=../fc6_w\n") + member_of("fc6_w"), "leads out"),
        (member_of("x", b"x", b"99 path=a\n") + member_of("fc6_w"), "extended header"),
        (member_of("x", b"x", b"1 path=a\n") + member_of("fc6_w"), "extended header"),
        (member_of("x", b"x", b"path=a\n") + member_of("fc6_w"), "extended header"),
        (member_of("fc6_w", size=10000), "ends too early"),
        (member_of("fc6_w", size=1 << 60), "ends too early"),
        (member_of("fc6_w", size=-512), "is damaged"),
    ],
)
def test_hostile_archives(tmp_path, members, words):
    assert words in refusal(tmp_path, members + bytes(1024))
    assert words in refusal(tmp_path, gzip.compress(members + bytes(1024)))


def test_archives_of_very_many_members(tmp_path):
    names = [f"fc6_w_velocity_{i}" for i in range(5001)]
    assert "more than 5000 files" in refusal(tmp_path, b"".join(map(member_of, names)) + bytes(1024))
    assert "15000 headers" in refusal(tmp_path, member_of("a/", tarfile.DIRTYPE) * 15001)


def test_what_follows_an_archive(tmp_path):
    assert "after its end" in refusal(tmp_path, tar_of(FILES) + tar_of(FILES))


def test_damaged_headers(tmp_path):
    content = bytearray(tar_of(FILES))
    content[0] ^= 1
    assert "is damaged (the header at byte 0)" in refusal(tmp_path, bytes(content))


def test_gzip_bombs_take_little_memory(tmp_path):
    bomb = gzip.compress(bytes(64 << 20))
    assert len(bomb) < 1 << 17
    path = file_of(tmp_path, bomb)

    def read():
        with pytest.raises(BadInput, match="less than 1/8"):
            read_checkpoint(path)

    assert peak_of(read) < 8 << 20
    nested = gzip.compress(gzip.compress(b"x"))
    assert "no tar archive" in refusal(tmp_path, nested)


# Folders


def test_hostile_folders(tmp_path):
    folder = folder_of(tmp_path / "model", FILES)
    (folder / "fc7_w").symlink_to("/etc/passwd")
    assert "fc7_w, which is not a regular file" in folder_refusal(folder)
    (folder / "fc7_w").unlink()
    os.mkfifo(folder / "fc7_w")
    assert "fc7_w, which is not a regular file" in folder_refusal(folder)
    with pytest.raises(BadInput, match="not a regular file"):
        load_parameters(str(folder), {})
    (folder / "fc7_w").unlink()
    (folder / "fc7_w").mkdir()
    assert "fc7_w, which is not a regular file" in folder_refusal(folder)
    (folder / "fc7_w").rmdir()
    with (folder / "fc7_w").open("wb") as stream:
        stream.truncate((4 << 30) + 1)  # a hole
    assert "4 GiB" in folder_refusal(folder)


def test_folders_of_something_else(tmp_path):
    assert "is a folder without files" in folder_refusal(tmp_path)
    own = folder_of(tmp_path / "a", {"x.pdparams": b"", "log": b""})
    assert "holds x.pdparams, a checkpoint of its own" in folder_refusal(own)
    dygraph = {"model.pdmodel": b"", "model.pdiparams": b""}
    assert "is an inference model; give the training checkpoint" in folder_refusal(
        folder_of(tmp_path / "b", dygraph)
    )
    assert "unknown variables (README.md)" in folder_refusal(folder_of(tmp_path / "c", {"README.md": b""}))
    assert "no short printable text" in folder_refusal(folder_of(tmp_path / "d", {"a\nb": b""}))


# Inference models


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"", "without variables"),
        (program_of(), "without variables"),
        (program_of(variable_of("fc6_w", stored=False)), "without variables"),
        (program_of(variable_of("feed", kind=9)), "without variables"),
        (program_of(variable_of("fc6_w"), variable_of("fc7_w")), "fc7_w in __params__, which ends too early"),
        (program_of(variable_of("fc6\n_w")), "no short printable text"),
        (program_of(message(3, b"\x08\x01" * 33)), "more than 32 fields"),
        (program_of(variable_of("fc6_w"))[:-3], "__model__, which"),
        (message(1, b"\x08\x01" * 20001), "more than 20000 fields"),
        (b"\xff" * 20, "__model__, which is damaged"),
    ],
)
def test_hostile_programs(tmp_path, program, words):
    files = {"__model__": program, "__params__": FILES["fc6_w"]}
    assert words in folder_refusal(folder_of(tmp_path / "model", files))


def test_combined_values_that_go_on(tmp_path):
    files = {"__model__": program_of(variable_of("fc6_w")), "__params__": FILES["fc6_w"] + b"\0"}
    assert "__params__ with 1 bytes after its end" in folder_refusal(folder_of(tmp_path / "model", files))


# Pickles


def test_other_objects_among_static_names(tmp_path):
    parameter = text_of("fc6_w") + array_of(b"K\x01\x85", bytes_of(b"\0\0\x80?")) + b"s"
    content = pickled(b"}", parameter, text_of("learning_rate_0"), b"K\x05s")
    assert read_noting(file_of(tmp_path, content))[1] == 1
    assert "fc6_b, which is not an array" in refusal(
        tmp_path, pickled(b"}", parameter, text_of("fc6_b"), b"K\x05s")
    )


def test_an_archive_in_memory_is_not_copied(tmp_path):
    values = np.ones((1000, 1000), "f4")
    stream = io.BytesIO(tar_of({"fc6_w": tensor_of(values)}))
    path = file_of(tmp_path, stream.getvalue())
    assert peak_of(lambda: read_checkpoint(path)) < 2.5 * values.nbytes
