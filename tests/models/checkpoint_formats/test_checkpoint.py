"""Checkpoints: what loads, what is refused as damaged or as another file, and what fits a model."""

from __future__ import annotations

import collections
import gzip
import io
import pickle
import random
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from checkpoint_parts import (
    NAME_TABLE,
    PROTOCOLS,
    array_of,
    bytes_of,
    expect_same,
    file_of,
    parameters,
    peak_of,
    pickled,
    refusal,
    text_of,
)

from pssdet.errors import BadInput
from pssdet.models.checkpoint_formats.checkpoint import match_parameters, read_checkpoint


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_loads(tmp_path, protocol):
    content = {**parameters(), NAME_TABLE: {"fc.bias": "linear_0.b_0"}}
    found = read_checkpoint(file_of(tmp_path, pickle.dumps(content, protocol)))
    expect_same(found, parameters())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_module_names_of_numpy_1_load(tmp_path, protocol):
    arrays = parameters()
    content = pickle.dumps(arrays, protocol)
    if protocol < 4:  # a name ends with its line
        old = content.replace(b"numpy._core.", b"numpy.core.")
    else:  # a name has its length before it, a frame its own
        old = re.sub(
            rb"\x8c(.)numpy\._core\.", lambda m: b"\x8c%cnumpy.core." % (m[1][0] - 1), content, flags=re.S
        )
    assert old != content or np.__version__ < "2"
    expect_same(read_checkpoint(file_of(tmp_path, old)), arrays)


def test_files_saved_by_paddle_load(tmp_path):
    paddle = pytest.importorskip("paddle")
    layer = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.BatchNorm2D(8), paddle.nn.Linear(40, 50))
    expected = {name: value.numpy() for name, value in layer.state_dict().items()}
    path = tmp_path / "saved.pdparams"
    for protocol in (2, 3, 4):
        paddle.save(layer.state_dict(), str(path), protocol=protocol)
        expect_same(read_checkpoint(path), expected)
        # A tensor beside something else than tensors is saved as a tuple of its name and its value.
        paddle.save({**layer.state_dict(), "more": np.ones(3, "f4")}, str(path), protocol=protocol)
        assert b"tuple" in path.read_bytes()
        expect_same(read_checkpoint(path), {**expected, "more": np.ones(3, "f4")})


def test_ordered_dictionaries_load(tmp_path):
    arrays = parameters()
    expect_same(read_checkpoint(file_of(tmp_path, pickle.dumps(collections.OrderedDict(arrays), 2))), arrays)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_other_floats_are_converted(tmp_path, protocol, dtype):
    values = np.array([[1.5, -0.25, 3.0]], dtype)
    found = read_checkpoint(file_of(tmp_path, pickle.dumps({"a": values}, protocol)))
    expect_same(found, {"a": values.astype("f4")})


def test_names_may_share_an_array(tmp_path):
    shared = np.ones(5, "f4")
    found = read_checkpoint(file_of(tmp_path, pickle.dumps({"a": shared, "b": shared}, 4)))
    expect_same(found, {"a": shared, "b": shared})
    assert found["a"] is found["b"]


def test_hand_made_opcodes_load(tmp_path):
    """The control of the hostile files below, which are made of the same parts."""
    content = pickled(b"}", text_of("a"), array_of(b"K\x02\x85", bytes_of(b"\0\0\x80?" * 2)), b"s")
    expect_same(read_checkpoint(file_of(tmp_path, content)), {"a": np.ones(2, "f4")})


def test_a_huge_memo_index_takes_no_memory(tmp_path):
    content = pickled(b"}r\xff\xff\xff\x7f", text_of("a"), array_of(b"K\x01\x85", bytes_of(b"\0\0\x80?")), b"s")
    assert peak_of(lambda: read_checkpoint(file_of(tmp_path, content))) < 1 << 20


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_values_must_be_finite(tmp_path, value, dtype):
    message = refusal(
        tmp_path, pickle.dumps({"ok": np.ones(3, "f4"), "conv.bias": np.array([1, value], dtype)}, 4)
    )
    assert "conv.bias" in message
    assert "not finite" in message


def test_values_too_large_for_float32(tmp_path):
    assert "not finite" in refusal(tmp_path, pickle.dumps({"a": np.array([1e300])}, 4))


def test_arrays_in_pieces_are_explained(tmp_path):
    pieces = {
        "a@@.0": np.ones(1, "f4"),
        "UnpackBigParamInfor@@": {"a": {"OriginShape": (1,), "slices": ["a@@.0"]}},
    }
    assert "protocol=4" in refusal(tmp_path, pickle.dumps(pieces, 2))


# Damaged and other files


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truncation_at_every_byte(tmp_path, protocol):
    content = pickle.dumps({"a": np.ones((2, 3), "f4"), NAME_TABLE: {"a": "b"}}, protocol)
    read_checkpoint(file_of(tmp_path, content))
    for length in range(1, len(content)):
        assert "ends too early" in refusal(tmp_path, content[:length])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_mutations(tmp_path, protocol):
    content = pickle.dumps(
        {"a": np.ones((2, 3), "f4"), "b": np.zeros(300, "f8"), NAME_TABLE: {"a": "b"}}, protocol
    )
    rng = random.Random(protocol)
    ends = content.index(bytes(100)), content.rindex(bytes(100)) + 100  # mutations of the zeros say little
    positions = [*range(ends[0] + 4), *range(ends[1] - 4, len(content))]
    read = refused = 0
    for _ in range(2000):
        mutated = bytearray(content)
        for _ in range(rng.choice((1, 1, 1, 3))):
            mutated[rng.choice(positions)] = rng.randrange(256)
        try:
            found = read_checkpoint(file_of(tmp_path, bytes(mutated)))
        except BadInput:
            refused += 1
            continue
        read += 1
        assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.values())
    assert read > 100
    assert refused > 100


def test_bytes_after_the_end(tmp_path):
    assert "damaged" in refusal(tmp_path, pickle.dumps(parameters(), 4) + b"\0")


def test_other_files_are_recognised(tmp_path):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    for content, words in (
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (gzip.compress(b"x"), "gzip"),
        (tar.getvalue(), "unknown variables (x)"),
        (b"\0" * 100, "not a Paddle checkpoint"),
        (pickle.dumps({}, 0), "not a Paddle checkpoint"),
        (b"\x80\x09}.", "protocol 9"),
    ):
        assert words in refusal(tmp_path, content)


def test_what_is_no_file(tmp_path):
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "missing", "does not exist"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / ("x" * 300), "cannot be read"),
    ):
        with pytest.raises(BadInput, match=words):
            read_checkpoint(path)


def test_files_that_are_too_large_are_not_read(tmp_path):
    path = tmp_path / "large.pdparams"
    with path.open("wb") as stream:
        stream.truncate((4 << 30) + 1)  # a hole
    with pytest.raises(BadInput, match="4 GiB"):
        read_checkpoint(path)


# Matching


def test_matching_parameters():
    found = {"b": np.ones(3, "f4"), "a": np.ones((2, 1), "f4")}
    matched = match_parameters(found, {"a": (2, 1), "b": (3,)}, "x")
    assert list(matched) == ["a", "b"]
    assert matched["a"] is found["a"]


def test_mismatches_are_listed_and_counted():
    expected = {f"missing{i}": (1,) for i in range(7)} | {"wrong": (2, 3), "right": (4,)}
    found = {f"extra{i}": np.ones(1) for i in range(6)} | {"wrong": np.ones((3, 2)), "right": np.ones(4)}
    with pytest.raises(BadInput) as caught:
        match_parameters(found, expected, "x.pdparams")
    message = str(caught.value)
    assert message.startswith("x.pdparams ")
    for words in (
        "7 missing",
        "missing4, ...",
        "6 left over",
        "extra4, ...",
        "1 of another shape",
        "(3, 2) instead of (2, 3)",
    ):
        assert words in message
    for words in ("missing5", "extra5", "right"):
        assert words not in message
    assert "\n" not in message


def test_each_mismatch_alone():
    for found, expected, words in (
        ({}, {"a": (1,)}, "1 missing"),
        ({"a": np.ones(1)}, {}, "1 left over"),
        ({"a": np.ones(1)}, {"a": ()}, r"1 of another shape \(a \(1,\) instead of \(\)\)"),
    ):
        with pytest.raises(BadInput, match=words):
            match_parameters(found, expected, "x")
