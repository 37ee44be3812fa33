"""Parts of checkpoints, whole and hostile, and what is expected of reading them."""

from __future__ import annotations

import io
import struct
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.models.checkpoint_formats.checkpoint import read_checkpoint

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


def static_variables() -> dict[str, np.ndarray]:
    """A few variables of a static Faster R-CNN, two of them of its optimiser."""
    rng = np.random.default_rng(5)
    return {
        "bnv1_1_mean": rng.normal(size=4).astype("f4"),
        "conv1_1_weights": rng.normal(size=(2, 3, 1, 2)).astype("f4"),
        "conv1_1_weights_velocity_0": np.ones(3, "f4"),
        "fc6_w": rng.normal(size=(3, 5)).astype("f4"),
        "learning_rate_0": np.ones(1, "f4"),
    }


def structured_variables() -> dict[str, np.ndarray]:
    values = static_variables()
    return {
        "backbone.conv1.conv1_1.norm._mean": values["bnv1_1_mean"],
        "backbone.conv1.conv1_1.conv.weight": values["conv1_1_weights"],
        "bbox_head.head.fc6.weight": values["fc6_w"],
    }


def varint(number: int) -> bytes:
    digits = b""
    number &= (1 << 64) - 1
    while number > 127:
        digits += bytes([number & 127 | 128])
        number >>= 7
    return digits + bytes([number])


def message(field: int, content: bytes) -> bytes:
    return varint(8 * field + 2) + varint(len(content)) + content


def tensor_head(description: bytes, levels: tuple[bytes, ...] = ()) -> bytes:
    """A stream up to the values of its tensor."""
    detail = b"".join(struct.pack("<Q", len(level)) + level for level in levels)
    return struct.pack("<IQ", 0, len(levels)) + detail + struct.pack("<Ii", 0, len(description)) + description


def description_of(shape: tuple[int, ...], code: int = 5, *, packed: bool = False) -> bytes:
    sizes = [varint(size) for size in shape]
    dims = message(2, b"".join(sizes)) if packed else b"".join(b"\x10" + size for size in sizes)
    return b"\x08" + varint(code) + dims


def tensor_of(array: np.ndarray) -> bytes:
    code = {"float16": 4, "float32": 5, "float64": 6}[array.dtype.name]
    return tensor_head(description_of(array.shape, code)) + array.tobytes()


def tar_of(files: dict[str, bytes], folder: str = "model/", form: int = tarfile.USTAR_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}{name}")
            member.size = len(content)
            if form == tarfile.PAX_FORMAT:
                member.mtime = 1.5  # what makes an extended header necessary
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def variable_of(name: str, *, stored: bool = True, kind: int = 7) -> bytes:
    """A variable of a program, as a field of its block."""
    return message(
        3, message(1, name.encode()) + message(2, b"\x08" + varint(kind)) + b"\x18" + bytes([stored])
    )


def program_of(*variables: bytes) -> bytes:
    """A program whose main block has these variables, and an operator."""
    return message(1, b"\x08\x00\x10\x01" + b"".join(variables) + message(4, b"operator")) + message(2, b"")


def inference_model(values: dict[str, np.ndarray]) -> dict[str, bytes]:
    """Its two files; the program also has variables without stored values."""
    others = variable_of("feed", kind=9), variable_of("tmp_0", stored=False)
    program = program_of(*others, *(variable_of(name) for name in reversed(values)))
    return {"__model__": program, "__params__": b"".join(tensor_of(values[name]) for name in sorted(values))}


def folder_of(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


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
