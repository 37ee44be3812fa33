"""Checkpoints: what loads, and that nothing hostile runs, grows or crashes."""

from __future__ import annotations

import collections
import gzip
import io
import pickle
import random
import re
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.models.checkpoint import match_parameters, read_checkpoint

_TABLE = "StructuredToParameterName@@"
_PROTOCOLS = (2, 3, 4, 5)
_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
_F4 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"


def _parameters() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "conv.weight": rng.normal(size=(2, 3, 1, 1)).astype("f4"),
        "fc.weight": np.asfortranarray(rng.normal(size=(3, 5)).astype("f4")),
        "fc.bias": rng.normal(size=300).astype("f4"),  # more bytes than a short text or bytes opcode holds
        "norm._mean": rng.normal(size=(4, 6)).astype("f4")[::2, ::3],
        "scale": np.array(1.5, "f4"),
    }


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "x.pdparams"
    path.write_bytes(content)
    return path


def _refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read_checkpoint(_file(folder, content))
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    return message.removeprefix(str(folder))


def _text(text: str) -> bytes:
    utf8 = text.encode()
    return b"X" + struct.pack("<I", len(utf8)) + utf8


def _pickled(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def _array(shape: bytes, data: bytes, dtype: bytes = _F4) -> bytes:
    """Opcodes of one array; the arguments are opcodes themselves."""
    return _RECONSTRUCT + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def _blob(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def _expect_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable
        assert found[name].shape == value.shape
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_every_protocol_loads(tmp_path, protocol):
    content = {**_parameters(), _TABLE: {"fc.bias": "linear_0.b_0"}}
    found = read_checkpoint(_file(tmp_path, pickle.dumps(content, protocol)))
    _expect_same(found, _parameters())


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_module_names_of_numpy_1_load(tmp_path, protocol):
    arrays = _parameters()
    content = pickle.dumps(arrays, protocol)
    if protocol < 4:  # a name ends with its line
        old = content.replace(b"numpy._core.", b"numpy.core.")
    else:  # a name has its length before it, a frame its own
        old = re.sub(rb"\x8c(.)numpy\._core\.", lambda m: b"\x8c%cnumpy.core." % (m[1][0] - 1), content, flags=re.S)
    assert old != content or np.__version__ < "2"
    _expect_same(read_checkpoint(_file(tmp_path, old)), arrays)


def test_files_saved_by_paddle_load(tmp_path):
    paddle = pytest.importorskip("paddle")
    layer = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.BatchNorm2D(8), paddle.nn.Linear(40, 50))
    expected = {name: value.numpy() for name, value in layer.state_dict().items()}
    path = tmp_path / "saved.pdparams"
    for protocol in (2, 3, 4):
        paddle.save(layer.state_dict(), str(path), protocol=protocol)
        _expect_same(read_checkpoint(path), expected)
        # A tensor beside something else than tensors is saved as a tuple of its name and its value.
        paddle.save({**layer.state_dict(), "more": np.ones(3, "f4")}, str(path), protocol=protocol)
        assert b"tuple" in path.read_bytes()
        _expect_same(read_checkpoint(path), {**expected, "more": np.ones(3, "f4")})


def test_ordered_dictionaries_load(tmp_path):
    arrays = _parameters()
    _expect_same(read_checkpoint(_file(tmp_path, pickle.dumps(collections.OrderedDict(arrays), 2))), arrays)


@pytest.mark.parametrize("protocol", _PROTOCOLS)
@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_other_floats_are_converted(tmp_path, protocol, dtype):
    values = np.array([[1.5, -0.25, 3.0]], dtype)
    found = read_checkpoint(_file(tmp_path, pickle.dumps({"a": values}, protocol)))
    _expect_same(found, {"a": values.astype("f4")})


def test_names_may_share_an_array(tmp_path):
    shared = np.ones(5, "f4")
    found = read_checkpoint(_file(tmp_path, pickle.dumps({"a": shared, "b": shared}, 4)))
    _expect_same(found, {"a": shared, "b": shared})


def test_hand_made_opcodes_load(tmp_path):
    """The control of the hostile files below, which are made of the same parts."""
    content = _pickled(b"}", _text("a"), _array(b"K\x02\x85", _blob(b"\0\0\x80?" * 2)), b"s")
    _expect_same(read_checkpoint(_file(tmp_path, content)), {"a": np.ones(2, "f4")})


def test_a_huge_memo_index_takes_no_memory(tmp_path):
    content = _pickled(b"}r\xff\xff\xff\x7f", _text("a"), _array(b"K\x01\x85", _blob(b"\0\0\x80?")), b"s")
    assert _peak(lambda: read_checkpoint(_file(tmp_path, content))) < 1 << 20


# Hostile files: code


class _Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_no_code_runs(tmp_path, protocol):
    marker = tmp_path / "marker"
    script = f"open({str(marker)!r}, 'w').close()"
    for payload in (
        _Runs(subprocess.call, [sys.executable, "-c", script]),
        _Runs(eval, f"open({str(marker)!r}, 'w').close()"),
        _Runs(exec, script),
        {"a": np.ones(2, "f4"), "b": _Runs(eval, script)},
    ):
        content = pickle.dumps(payload, protocol)
        pickle.loads(content)
        assert marker.exists(), "the payload would not have done anything"
        marker.unlink()
        message = _refusal(tmp_path, content)
        assert "asks for" in message or "EMPTY_LIST" in message
        assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core", "multiarray._reconstruct"),
        ("numpy.core.multiarray", "fromfile"),
        ("_codecs", "lookup"),
        ("collections", "defaultdict"),
    ],
)
def test_other_globals_are_named_and_refused(tmp_path, module, name):
    for asks in (f"c{module}\n{name}\n".encode(), _text(module) + _text(name) + b"\x93"):
        message = _refusal(tmp_path, _pickled(asks, b")R"))
        assert f"'{module}.{name}'" in message


def test_the_right_globals_in_the_wrong_place_are_refused(tmp_path):
    for call in (
        b"cnumpy\nndarray\n)R",
        b"cnumpy\nndarray\nM\xff\xff\x85R",
        b"cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R",
        b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R",
        b"cbuiltins\ntuple\nNR",
        b"ccollections\nOrderedDict\nN\x85R",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\nK\x00\x85C\x01btR",
        _F4 + b"N\x85b",
        b"}}b",
        b"NNR",
    ):
        assert (
            "unusual" in (message := _refusal(tmp_path, _pickled(call))) or "damaged" in message or "plain" in message
        )


@pytest.mark.parametrize("opcode", [b"i", b"o", b"\x81", b"\x92", b"\x82\x01", b"P1\n", b"Q", b"]", b"G" + b"0" * 8])
def test_other_opcodes_are_refused(tmp_path, opcode):
    assert "uses pickle's" in _refusal(tmp_path, _pickled(b"}", opcode))


# Hostile files: memory, time, nesting


def _peak(action) -> int:
    """Bytes that Python and NumPy allocated at most while the action ran."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_peak_counts_numpy():
    assert _peak(lambda: np.ones(1 << 20, "u1")) >= 1 << 20


_MIB = b"\0\0\x80?" * (1 << 18)


def _many_copies(count: int) -> bytes:
    """A dictionary of arrays that all take their bytes from one content in the memo."""
    first = _text("first") + _array(b"J\x00\x00\x04\x00\x85", _blob(_MIB) + b"q\x00")
    others = [_text(f"a{i}") + _array(b"J\x00\x00\x04\x00\x85", b"h\x00") for i in range(count)]
    return _pickled(b"}(", first, *others, b"u")


def _many_encoded_copies(count: int) -> bytes:
    text = b"c_codecs\nencode\nq\x01" + _text("\x7f" * (1 << 20)) + b"q\x00" + _text("latin1") + b"\x86R"
    encoded = b"h\x01h\x00" + _text("latin1") + b"\x86R"
    first = _text("first") + _array(b"J\x00\x00\x04\x00\x85", text)
    others = [_text(f"a{i}") + _array(b"J\x00\x00\x04\x00\x85", encoded) for i in range(count)]
    return _pickled(b"}(", first, *others, b"u")


def test_one_content_makes_one_array(tmp_path):
    """Without the budget of bytes, one MiB would become a hundred; the control has no copies."""
    for make in (_many_copies, _many_encoded_copies):
        assert len(read_checkpoint(_file(tmp_path, make(0)))) == 1
        content = make(100)
        peak = _peak(lambda content=content: _refusal(tmp_path, content))
        assert peak < 8 * len(content)
        assert "the same content" in _refusal(tmp_path, content)


def _flood(opcodes: bytes, before: bytes = b"") -> bytes:
    return _pickled(before, opcodes * (800_000 // len(opcodes)))


@pytest.mark.parametrize(
    "content",
    [
        _flood(b"}"),
        _flood(b"("),
        _flood(b"N"),
        _flood(b"C\x00"),
        _flood(b"K\x01\x94"),
        _flood(b"\x85", b"N"),
        _flood(b"h\x00h\x00h\x00\x87q\x00", b"Nq\x00"),  # a billion laughs
        _flood(b"h\x00h\x01h\x01\x86R", b"c_codecs\nencode\nq\x00" + _text("latin1") + b"q\x01"),
        _flood(b"h\x00h\x01R", b"ccollections\nOrderedDict\nq\x00)q\x01"),
        _flood(b"h\x00h\x01h\x01\x87R", b"cnumpy\ndtype\nq\x00" + _text("f4") + b"q\x01"),
        _pickled(b"(", b"N" * 190_000, b"t"),
        _pickled(b"}(", b"N" * 190_000, b"u"),
    ],
    ids=range(12),
)
def test_floods_end_early(tmp_path, content):
    # Some 250 bytes for each of 200,000 opcodes, and the file itself.
    assert _peak(lambda: _refusal(tmp_path, content)) < 3 * len(content) + (56 << 20)


def test_a_text_of_wide_characters_is_no_array(tmp_path):
    text = b"c_codecs\nencode\n" + _text("x" * (1 << 20) + "\U0001f600") + _text("latin1") + b"\x86R"
    content = _pickled(b"}", _text("a"), _array(b"J\x00\x00\x04\x00\x85", text), b"s")
    assert _peak(lambda: _refusal(tmp_path, content)) < 8 * len(content)
    assert "the bytes of an array" in _refusal(tmp_path, content)


@pytest.mark.parametrize("opcode", [b"B", b"X"])
@pytest.mark.parametrize("length", [100, 2**31, 2**32 - 1])
def test_lengths_of_four_bytes_that_lie(tmp_path, opcode, length):
    content = _pickled(b"}", opcode, struct.pack("<I", length), b"abc")
    assert _peak(lambda: _refusal(tmp_path, content)) < 1 << 20
    assert "ends too early" in _refusal(tmp_path, content)


@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d", b"\x96"])
@pytest.mark.parametrize("length", [100, 2**40, 2**63 - 1, 2**64 - 1])
def test_lengths_of_eight_bytes_that_lie(tmp_path, opcode, length):
    content = _pickled(b"}", opcode, struct.pack("<Q", length), b"abc")
    assert _peak(lambda: _refusal(tmp_path, content)) < 1 << 20
    assert "ends too early" in _refusal(tmp_path, content)


@pytest.mark.parametrize("number", [b"\x8b\xff\xff\xff\x7f", b"\x8a\x06\0\0\0\0\0\x01", b"L1\n", b"I1\n", b"F1\n"])
def test_numbers_that_no_shape_needs(tmp_path, number):
    assert "uses pickle's" in _refusal(tmp_path, _pickled(b"}", _text("a"), number, b"s"))


@pytest.mark.parametrize(
    "shape",
    [
        b"J\xff\xff\xff\x7f\x85",
        b"J\xff\xff\xff\x7f" * 3 + b"\x87",
        b"(" + b"J\xff\xff\xff\x7f" * 8 + b"t",
        b"(" + b"K\x01" * 9 + b"t",
        b"K\x03\x85",
        b"K\x01\x85",
        b"J\xfe\xff\xff\xff\x85",
        b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86",
        b"K\x00\x85",
        b"K\x00J\xff\xff\xff\x7f\x86",
        b"N\x85",
        b")",
        b"K\x02)\x86",
    ],
)
def test_shapes_that_lie(tmp_path, shape):
    content = _pickled(b"}", _text("a"), _array(shape, _blob(b"\0\0\x80?" * 2)), b"s")
    assert _peak(lambda: _refusal(tmp_path, content)) < 1 << 20
    assert "holds a " in (message := _refusal(tmp_path, content)) or "nested" in message


@pytest.mark.parametrize(
    "code", ["O", "V8", "S2147483647", "U4", "f16", "i8", "u2", "f4,f4", "(9999999,9999999)f4", ""]
)
def test_types_that_are_no_floats(tmp_path, code):
    dtype = b"cnumpy\ndtype\n" + _text(code) + b"\x89\x88\x87R"
    content = _pickled(b"}", _text("a"), _array(b"K\x01\x85", _blob(bytes(8)), dtype), b"s")
    assert f"type {code[:8]!r}" in _refusal(tmp_path, content)


@pytest.mark.parametrize("protocol", _PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        np.array([None, {}], dtype=object),
        np.zeros(2, [("x", "f4"), ("y", "f4")]),
        np.zeros(2, ">f4"),
        np.arange(3),
        np.zeros(2, "c8"),
        np.zeros((0, 3), "f4"),
        np.float32(1),
        np.array(["2020"], "M8[s]"),
        1.5,
        7,
        None,
        "text",
        [np.zeros(2, "f4")],
        {"a": {"b": np.zeros(2, "f4")}},
        ("name", ("name", np.zeros(2, "f4"))),
        (np.zeros(2, "f4"),),
    ],
    ids=repr,
)
def test_values_that_are_no_parameters(tmp_path, protocol, value):
    _refusal(tmp_path, pickle.dumps({"fine": np.ones(1, "f4"), "a": value}, protocol))


def test_whole_objects_that_are_no_parameters(tmp_path):
    itself: dict[str, object] = {"a": np.ones(1, "f4")}
    itself["self"] = itself
    for thing in (
        itself,
        {},
        {_TABLE: {}},
        {1: np.ones(1, "f4")},
        {"a\n": np.ones(1, "f4")},
        None,
        "text",
        np.ones(1, "f4"),
    ):
        for protocol in _PROTOCOLS:
            _refusal(tmp_path, pickle.dumps(thing, protocol))


def test_deep_nesting(tmp_path):
    nested: object = np.ones(1, "f4")
    for _ in range(200):
        nested = {"a": nested}
    assert "nested" in _refusal(tmp_path, pickle.dumps(nested, 4))
    assert "nested" in _refusal(tmp_path, pickle.dumps((((1,),),), 4))
    assert "nested" in _refusal(tmp_path, _pickled(b"(" * 100, b"t" * 100))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_values_must_be_finite(tmp_path, value, dtype):
    message = _refusal(tmp_path, pickle.dumps({"ok": np.ones(3, "f4"), "conv.bias": np.array([1, value], dtype)}, 4))
    assert "conv.bias" in message
    assert "not finite" in message


def test_values_too_large_for_float32(tmp_path):
    assert "not finite" in _refusal(tmp_path, pickle.dumps({"a": np.array([1e300])}, 4))


def test_arrays_in_pieces_are_explained(tmp_path):
    pieces = {"a@@.0": np.ones(1, "f4"), "UnpackBigParamInfor@@": {"a": {"OriginShape": (1,), "slices": ["a@@.0"]}}}
    assert "protocol=4" in _refusal(tmp_path, pickle.dumps(pieces, 2))


# Damaged and other files


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_truncation_at_every_byte(tmp_path, protocol):
    content = pickle.dumps({"a": np.ones((2, 3), "f4"), _TABLE: {"a": "b"}}, protocol)
    read_checkpoint(_file(tmp_path, content))
    for length in range(1, len(content)):
        assert "ends too early" in _refusal(tmp_path, content[:length])


@pytest.mark.parametrize("protocol", _PROTOCOLS)
def test_mutations(tmp_path, protocol):
    content = pickle.dumps({"a": np.ones((2, 3), "f4"), "b": np.zeros(300, "f8"), _TABLE: {"a": "b"}}, protocol)
    rng = random.Random(protocol)
    ends = content.index(bytes(100)), content.rindex(bytes(100)) + 100  # mutations of the zeros say little
    places = [*range(ends[0] + 4), *range(ends[1] - 4, len(content))]
    read = refused = 0
    for _ in range(2000):
        mutated = bytearray(content)
        for _ in range(rng.choice((1, 1, 1, 3))):
            mutated[rng.choice(places)] = rng.randrange(256)
        try:
            found = read_checkpoint(_file(tmp_path, bytes(mutated)))
        except BadInput:
            refused += 1
            continue
        read += 1
        assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.values())
    assert read > 100
    assert refused > 100


def test_bytes_after_the_end(tmp_path):
    assert "damaged" in _refusal(tmp_path, pickle.dumps(_parameters(), 4) + b"\0")


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
        (tar.getvalue(), "tar archive"),
        (b"\0" * 100, "not a Paddle checkpoint"),
        (pickle.dumps({}, 0), "not a Paddle checkpoint"),
        (b"\x80\x09}.", "protocol 9"),
    ):
        assert words in _refusal(tmp_path, content)


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
