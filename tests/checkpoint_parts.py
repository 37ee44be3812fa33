"""Parts of checkpoints, whole and hostile, and what is expected of reading them."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.models.checkpoint import read_checkpoint

NAME_TABLE = "StructuredToParameterName@@"
PROTOCOLS = (2, 3, 4, 5)
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
F4 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"


def parameters() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "conv.weight": rng.normal(size=(2, 3, 1, 1)).astype("f4"),
        "fc.weight": np.asfortranarray(rng.normal(size=(3, 5)).astype("f4")),
        "fc.bias": rng.normal(size=300).astype("f4"),  # more bytes than a short text or bytes opcode holds
        "norm._mean": rng.normal(size=(4, 6)).astype("f4")[::2, ::3],
        "scale": np.array(1.5, "f4"),
    }


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / "x.pdparams"
    path.write_bytes(content)
    return path


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read_checkpoint(file_of(folder, content))
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    return message.removeprefix(str(folder))


def text_of(text: str) -> bytes:
    utf8 = text.encode()
    return b"X" + struct.pack("<I", len(utf8)) + utf8


def pickled(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def array_of(shape: bytes, data: bytes, dtype: bytes = F4) -> bytes:
    """Opcodes of one array; the arguments are opcodes themselves."""
    return RECONSTRUCT + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def bytes_of(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def expect_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable
        assert found[name].shape == value.shape
        np.testing.assert_array_equal(found[name], value)


def peak_of(action) -> int:
    """Bytes that Python and NumPy allocated at most while the action ran."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
