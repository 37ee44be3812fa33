"""Paddle's tensor streams: what is read, and what is refused before anything is made of it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from checkpoint_parts import description_of, message, peak_of, tensor_head, tensor_of, varint

from pssdet.models.checkpoint_formats.static_checkpoint import ProtobufReader, read_fields, read_tensor
from pssdet.models.checkpoint_formats.untrusted import Refused

VALUES = np.arange(6, dtype="f4").reshape(2, 3)
DATA = VALUES.tobytes()


def read(content):
    stream = ProtobufReader(memoryview(content), "fc6_w")
    array = read_tensor(stream)
    assert not stream.left
    return array


def refusal(content):
    with pytest.raises(Refused) as caught:
        read(content)
    text = str(caught.value)
    assert text.startswith("holds fc6_w")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_become_float32(dtype):
    found = read(tensor_of(VALUES.astype(dtype)))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_array_equal(found, VALUES)


def test_packed_sizes_and_levels():
    for head in (
        tensor_head(description_of((2, 3), packed=True)),
        tensor_head(description_of((2, 3)), levels=(b"", bytes(16))),
        tensor_head(b"\x10\x02" + message(2, b"\x03") + b"\x08\x05"),
    ):
        np.testing.assert_array_equal(read(head + DATA), VALUES)


def test_a_stream_that_paddle_wrote(tmp_path):
    """Bytes of ``paddle.save`` of one tensor in its binary format, which is that of the static era."""
    paddle = pytest.importorskip("paddle")
    path = tmp_path / "fc6_w"
    paddle.save(paddle.to_tensor(VALUES), str(path), use_binary_format=True)
    np.testing.assert_array_equal(read(path.read_bytes()), VALUES)


def test_several_in_a_row():
    stream = ProtobufReader(memoryview(tensor_of(VALUES) + tensor_of(VALUES + 1)), "x")
    np.testing.assert_array_equal(read_tensor(stream), VALUES)
    np.testing.assert_array_equal(read_tensor(stream), VALUES + 1)
    assert stream.left == 0


def test_truncation_at_every_byte():
    content = tensor_of(VALUES)
    for length in range(len(content)):
        text = refusal(content[:length])
        assert "ends too early" in text or "needs 24" in text


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (struct.pack("<I", 1) + bytes(40), "version 1"),
        (struct.pack("<IQI", 0, 0, 7) + bytes(40), "version 7"),
        (struct.pack("<IQ", 0, 9) + bytes(99), "levels of detail"),
        (struct.pack("<IQ", 0, 1 << 63) + bytes(99), "levels of detail"),
        (struct.pack("<IQQ", 0, 1, (1 << 64) - 1) + bytes(99), "ends too early"),
        (struct.pack("<IQIi", 0, 0, 0, 0) + bytes(40), "description of 0 bytes"),
        (struct.pack("<IQIi", 0, 0, 0, -1) + bytes(40), "description of -1 bytes"),
        (struct.pack("<IQIi", 0, 0, 0, (1 << 31) - 1) + bytes(40), "description of 2147483647 bytes"),
        (struct.pack("<IQIi", 0, 0, 0, 1000) + bytes(40), "ends too early"),
        (tensor_head(description_of((2, 3), 3)), "type 3"),
        (tensor_head(description_of((2, 3), 1 << 63)), "type 9223372036854775808"),
        (tensor_head(description_of((2, -3))), "impossible or empty shape"),
        (tensor_head(description_of((2, 0))), "impossible or empty shape"),
        (tensor_head(description_of((1,) * 9)), "impossible or empty shape"),
        (tensor_head(description_of((1 << 62, 1 << 62))), "needs"),
        (tensor_head(description_of((2, 4))), "needs 32"),
        (tensor_head(b"\x10\x02\x10\x03"), "its type"),
        (tensor_head(b"\x08\x05\x08\x05\x10\x06"), "its type"),
        (tensor_head(b"\x08\x05\x10\x06\x18\x01"), "its description"),
        (tensor_head(b"\x0a\x01\x05\x10\x06"), "its description"),
        (tensor_head(b"\x08\x05\x10" + b"\xff" * 11), "a number"),
        (tensor_head(b"\x08\x05\x10" + b"\xff" * 9 + b"\x7f"), "a number"),
        (tensor_head(b"\x08\x05\x13"), "a field"),
        (tensor_head(b"\x08\x05\x12\x09\x01"), "ends too early"),
        (tensor_head(b"\x08\x05\x12" + varint((1 << 64) - 1)), "ends too early"),
    ],
)
def test_what_is_refused(head, words):
    assert words in refusal(head + DATA)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_must_be_finite(value):
    assert "not finite" in refusal(tensor_of(np.array([1.0, value])))


def test_a_shape_that_lies_takes_no_memory():
    content = tensor_head(description_of((1 << 30, 4))) + DATA
    assert peak_of(lambda: refusal(content)) < 1 << 16


def test_messages_with_endless_fields():
    with pytest.raises(Refused, match="more than 3 fields"):
        list(read_fields(ProtobufReader(memoryview(b"\x08\x01" * 4), "x"), 3))
    assert list(read_fields(ProtobufReader(memoryview(b"\x08\x01" * 3), "x"), 3)) == [(1, 1)] * 3
    assert list(read_fields(ProtobufReader(memoryview(b"\x0d\1\0\0\0\x11\2" + bytes(7)), "x"))) == [
        (1, 1),
        (2, 2),
    ]
