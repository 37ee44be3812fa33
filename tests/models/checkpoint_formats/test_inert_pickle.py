"""Hostile checkpoints: nothing in them runs, grows, or gets through."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from checkpoint_parts import (
    F4,
    NAME_TABLE,
    PROTOCOLS,
    array_of,
    bytes_of,
    expect_same,
    file_of,
    peak_of,
    pickled,
    refusal,
    text_of,
)

from pssdet.models.checkpoint_formats.checkpoint import read_checkpoint

# Code


class _Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
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
        message = refusal(tmp_path, content)
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
    for asks in (f"c{module}\n{name}\n".encode(), text_of(module) + text_of(name) + b"\x93"):
        message = refusal(tmp_path, pickled(asks, b")R"))
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
        F4 + b"N\x85b",
        b"}}b",
        b"NNR",
    ):
        assert (
            "unusual" in (message := refusal(tmp_path, pickled(call)))
            or "damaged" in message
            or "plain" in message
        )


@pytest.mark.parametrize(
    "opcode", [b"i", b"o", b"\x81", b"\x92", b"\x82\x01", b"P1\n", b"Q", b"]", b"G" + b"0" * 8]
)
def test_other_opcodes_are_refused(tmp_path, opcode):
    assert "uses pickle's" in refusal(tmp_path, pickled(b"}", opcode))


# Memory, time, nesting


def test_peak_counts_numpy():
    assert peak_of(lambda: np.ones(1 << 20, "u1")) >= 1 << 20


_MIB = b"\0\0\x80?" * (1 << 18)


def _many_copies(count: int) -> bytes:
    """A dictionary of arrays that all take their bytes from one content in the memo."""
    first = text_of("first") + array_of(b"J\x00\x00\x04\x00\x85", bytes_of(_MIB) + b"q\x00")
    others = [text_of(f"a{i}") + array_of(b"J\x00\x00\x04\x00\x85", b"h\x00") for i in range(count)]
    return pickled(b"}(", first, *others, b"u")


def _many_encoded_copies(count: int) -> bytes:
    text = b"c_codecs\nencode\nq\x01" + text_of("\x7f" * (1 << 20)) + b"q\x00" + text_of("latin1") + b"\x86R"
    encoded = b"h\x01h\x00" + text_of("latin1") + b"\x86R"
    first = text_of("first") + array_of(b"J\x00\x00\x04\x00\x85", text)
    others = [text_of(f"a{i}") + array_of(b"J\x00\x00\x04\x00\x85", encoded) for i in range(count)]
    return pickled(b"}(", first, *others, b"u")


def test_one_content_makes_one_array(tmp_path):
    """Without the budget of bytes, one MiB would become a hundred; the control has no copies."""
    for make in (_many_copies, _many_encoded_copies):
        assert len(read_checkpoint(file_of(tmp_path, make(0)))) == 1
        content = make(100)
        peak = peak_of(lambda content=content: refusal(tmp_path, content))
        assert peak < 8 * len(content)
        assert "the same content" in refusal(tmp_path, content)


def _flood(opcodes: bytes, before: bytes = b"") -> bytes:
    return pickled(before, opcodes * (800_000 // len(opcodes)))


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
        _flood(b"h\x00h\x01h\x01\x86R", b"c_codecs\nencode\nq\x00" + text_of("latin1") + b"q\x01"),
        _flood(b"h\x00h\x01R", b"ccollections\nOrderedDict\nq\x00)q\x01"),
        _flood(b"h\x00h\x01h\x01\x87R", b"cnumpy\ndtype\nq\x00" + text_of("f4") + b"q\x01"),
        pickled(b"(", b"N" * 190_000, b"t"),
        pickled(b"}(", b"N" * 190_000, b"u"),
    ],
    ids=range(12),
)
def test_floods_end_early(tmp_path, content):
    # Some 250 bytes for each of 200,000 opcodes, and the file itself.
    assert peak_of(lambda: refusal(tmp_path, content)) < 3 * len(content) + (56 << 20)


def test_a_text_of_wide_characters_is_no_array(tmp_path):
    text = b"c_codecs\nencode\n" + text_of("x" * (1 << 20) + "\U0001f600") + text_of("latin1") + b"\x86R"
    content = pickled(b"}", text_of("a"), array_of(b"J\x00\x00\x04\x00\x85", text), b"s")
    assert peak_of(lambda: refusal(tmp_path, content)) < 8 * len(content)
    assert "the bytes of an array" in refusal(tmp_path, content)


@pytest.mark.parametrize("opcode", [b"B", b"X"])
@pytest.mark.parametrize("length", [100, 2**31, 2**32 - 1])
def test_lengths_of_four_bytes_that_lie(tmp_path, opcode, length):
    content = pickled(b"}", opcode, struct.pack("<I", length), b"abc")
    assert peak_of(lambda: refusal(tmp_path, content)) < 1 << 20
    assert "ends too early" in refusal(tmp_path, content)


@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d", b"\x96"])
@pytest.mark.parametrize("length", [100, 2**40, 2**63 - 1, 2**64 - 1])
def test_lengths_of_eight_bytes_that_lie(tmp_path, opcode, length):
    content = pickled(b"}", opcode, struct.pack("<Q", length), b"abc")
    assert peak_of(lambda: refusal(tmp_path, content)) < 1 << 20
    assert "ends too early" in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "number", [b"\x8b\xff\xff\xff\x7f", b"\x8a\x06\0\0\0\0\0\x01", b"L1\n", b"I1\n", b"F1\n"]
)
def test_numbers_that_no_shape_needs(tmp_path, number):
    assert "uses pickle's" in refusal(tmp_path, pickled(b"}", text_of("a"), number, b"s"))


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
    content = pickled(b"}", text_of("a"), array_of(shape, bytes_of(b"\0\0\x80?" * 2)), b"s")
    assert peak_of(lambda: refusal(tmp_path, content)) < 1 << 20
    assert "holds a " in (message := refusal(tmp_path, content)) or "nested" in message


@pytest.mark.parametrize(
    "code", ["O", "V8", "S2147483647", "U4", "f16", "i8", "u2", "f4,f4", "(9999999,9999999)f4", ""]
)
def test_types_that_are_no_floats(tmp_path, code):
    dtype = b"cnumpy\ndtype\n" + text_of(code) + b"\x89\x88\x87R"
    content = pickled(b"}", text_of("a"), array_of(b"K\x01\x85", bytes_of(bytes(8)), dtype), b"s")
    assert f"type {code[:8]!r}" in refusal(tmp_path, content)


@pytest.mark.parametrize("protocol", PROTOCOLS)
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
    refusal(tmp_path, pickle.dumps({"fine": np.ones(1, "f4"), "a": value}, protocol))


def test_whole_objects_that_are_no_parameters(tmp_path):
    itself: dict[str, object] = {"a": np.ones(1, "f4")}
    itself["self"] = itself
    for thing in (
        itself,
        {},
        {NAME_TABLE: {}},
        {1: np.ones(1, "f4")},
        {"a\n": np.ones(1, "f4")},
        None,
        "text",
        np.ones(1, "f4"),
    ):
        for protocol in PROTOCOLS:
            refusal(tmp_path, pickle.dumps(thing, protocol))


def test_deep_nesting(tmp_path):
    nested: object = np.ones(1, "f4")
    for _ in range(200):
        nested = {"a": nested}
    assert "nested" in refusal(tmp_path, pickle.dumps(nested, 4))
    assert "nested" in refusal(tmp_path, pickle.dumps((((1,),),), 4))
    assert "nested" in refusal(tmp_path, pickled(b"(" * 100, b"t" * 100))


def test_the_limits_on_nesting_and_lengths(tmp_path):
    one = bytes_of(b"\0\0\x80?")
    eight = array_of(b"(" + b"K\x01" * 8 + b"t", one)
    nine = array_of(b"(" + b"K\x01" * 9 + b"t", one)
    expect_same(
        read_checkpoint(file_of(tmp_path, pickled(b"}", text_of("a"), eight, b"s"))),
        {"a": np.ones((1,) * 8, "f4")},
    )
    assert "shape" in refusal(tmp_path, pickled(b"}", text_of("a"), nine, b"s"))
    assert "nested" not in refusal(tmp_path, pickled(b"(" * 32))
    assert "nested" in refusal(tmp_path, pickled(b"(" * 33))
    assert "too long" not in refusal(tmp_path, pickled(b"(", b"N" * 16, b"t"))
    assert "too long" in refusal(tmp_path, pickled(b"(", b"N" * 17, b"t"))
    long_name = {"x" * 513: np.ones(1, "f4")}
    assert "short printable" in refusal(tmp_path, pickle.dumps(long_name, 4))


def test_a_name_that_comes_twice(tmp_path):
    item = text_of("a") + array_of(b"K\x01\x85", bytes_of(b"\0\0\x80?"))
    read_checkpoint(file_of(tmp_path, pickled(b"}(", item, b"u")))
    assert "holds a twice" in refusal(tmp_path, pickled(b"}(", item, item, b"u"))


def test_what_lies_under_a_mark_stays(tmp_path):
    item = text_of("a") + array_of(b"K\x01\x85", bytes_of(b"\0\0\x80?"))
    assert "damaged" in refusal(tmp_path, pickled(b"}", item, b"(su"))
