"""Damaged and hostile checkpoints of every format: only our own error may be raised, soon and in little memory.

    python tests/fuzz/fuzz_checkpoints.py [INPUTS]    # writes benchmarks/results/fuzz_checkpoints.md

Every input is a valid checkpoint with one to four mutations, drawn from its format and number alone.
One in 25 is large and shows how much memory a reader takes for a file's size. Exit code 1 if anything but a
refusal was raised.
"""

from __future__ import annotations

import gzip
import pickle
import platform
import random
import signal
import sys
import tarfile
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import FrameType

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parents[1]))

from checkpoint_parts import folder_of, inference_model, parameters, static_variables, tar_of, tensor_of

from benchmarks.documents import RESULTS, document, publish, table
from pssdet.commands.app import run
from pssdet.errors import BadInput, GateFailed
from pssdet.models.checkpoint_formats.checkpoint import read_checkpoint

SEED = 4
INPUTS = 40_000
LIMIT_SECONDS = 10.0
ONE_LARGE_IN = 25
#: Small inputs whose memory is measured; large ones all are.
ONE_MEASURED_IN = 20
LARGE = 1 << 17

#: The name of a checkpoint that is one file.
FILE = "input.file"
Files = dict[str, bytes]
Values = dict[str, NDArray[np.float32]]
#: Makes a mutated checkpoint from the parameters of a dygraph or of a static one.
Maker = Callable[[random.Random, Values, Values], Files]
#: Lengths and counts that readers get wrong.
NUMBERS = (0, 1, 127, 128, 255, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 64) - 1)


@dataclass
class Tally:
    """What happened to the inputs of one format."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: int = 0
    ratio: float = 0.0


def fuzz(inputs: int = INPUTS, /) -> None:
    """Read the inputs of all formats and write the table.

    Args:
        inputs: Inputs of each format.
    """
    signal.signal(signal.SIGALRM, _too_slow)
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in FORMATS.items():
            tallies[name] = _run(name, make, inputs, Path(folder) / "input")
            print(f"{name}: {tallies[name]}", file=sys.stderr)
    publish(RESULTS / "fuzz_checkpoints.md", _document(tallies))
    if failures := _failures(tallies):
        raise GateFailed(f"{len(failures)} inputs failed, the first: {failures[0]}")


def _run(name: str, make: Maker, count: int, place: Path) -> Tally:
    tally = Tally(count)
    for index in range(count):
        rng = random.Random(f"{SEED}/{name}/{index}")
        large = index % ONE_LARGE_IN == 0
        files = make(rng, *_values(large=large))
        folder_of(place, files)
        path = place / FILE if FILE in files else place
        measured = large or index % ONE_MEASURED_IN == 1
        peak = _read(path, tally, f"{name} {index}", measured=measured)
        if large:
            tally.ratio = max(tally.ratio, peak / max(LARGE, sum(map(len, files.values()))))
        else:
            tally.peak = max(tally.peak, peak)
        for file in place.iterdir():
            file.unlink()
    return tally


def _values(*, large: bool) -> tuple[Values, Values]:
    """Parameters of a dygraph and of a static checkpoint."""
    dygraph, static = parameters(), static_variables()
    if large:
        values = np.random.default_rng(SEED).normal(size=LARGE // 2).astype("f4")
        return {**dygraph, "fc.bias": values}, {**static, "fc6_w": values}
    return dygraph, static


def _read(path: Path, tally: Tally, label: str, *, measured: bool) -> int:
    """Read one input; the largest memory that this took, where it is measured."""
    if measured:
        tracemalloc.start()
    started = perf_counter()
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        found = read_checkpoint(path)
        usable = all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.values())
        tally.accepted += 1
        if not usable or not found:
            tally.failures.append(f"{label}: accepted, but of no use")
    except BadInput as refusal:
        tally.refused += 1
        if "\n" in str(refusal):
            tally.failures.append(f"{label}: a message of several lines")
    except Exception as error:  # noqa: BLE001  (this is what is looked for)
        tally.failures.append(f"{label}: {error!r}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not measured:  # measuring memory takes time
            tally.slowest = max(tally.slowest, perf_counter() - started)
        peak = tracemalloc.get_traced_memory()[1] if measured else 0
        tracemalloc.stop()
    return peak


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError


def _pickle(rng: random.Random, values: Values) -> Files:
    return {FILE: _mutate(rng, pickle.dumps(values, rng.choice((2, 3, 4, 5))))}


def _files(values: Values) -> Files:
    return {name: tensor_of(array) for name, array in values.items()}


def _tar(rng: random.Random, values: Values) -> bytes:
    """Half of the mutated archives get correct checksums of their headers, else little is read of them."""
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    folder = "x" * 120 + "/" if form != tarfile.USTAR_FORMAT and rng.random() < 0.5 else "model/"
    files = _files(values)
    if rng.random() < 0.3:
        name = rng.choice(list(files))
        files[name] = _mutate(rng, files[name])
    content = bytearray(_mutate(rng, tar_of(files, folder, form)))
    if rng.random() < 0.5:
        for start in range(0, len(content) - 511, 512):
            if content[start + 257 : start + 262] == b"ustar":
                content[start + 148 : start + 156] = b" " * 8
                content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
    return bytes(content)


def _tar_gz(rng: random.Random, values: Values) -> bytes:
    if rng.random() < 0.5:
        return _mutate(rng, gzip.compress(tar_of(_files(values)), 1, mtime=0))
    return gzip.compress(_tar(rng, values), 1, mtime=0)


def _folder(rng: random.Random, files: Files) -> Files:
    for name in rng.sample(sorted(files), rng.choice((1, 1, 2))):
        files[name] = _mutate(rng, files[name])
    return files


FORMATS: dict[str, Maker] = {
    "dygraph pickle": lambda rng, dygraph, _: _pickle(rng, dygraph),
    "static pickle": lambda rng, _, static: _pickle(rng, static),
    "tar": lambda rng, _, static: {FILE: _tar(rng, static)},
    "tar.gz": lambda rng, _, static: {FILE: _tar_gz(rng, static)},
    "folder": lambda rng, _, static: _folder(rng, _files(static)),
    "inference folder": lambda rng, _, static: _folder(rng, inference_model(static)),
}


def _mutate(rng: random.Random, content: bytes) -> bytes:
    mutated = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if mutated:
            rng.choice(MUTATIONS)(rng, mutated)
    return bytes(mutated)


def _place(rng: random.Random, content: bytearray) -> int:
    """Anywhere, or where the structure is: near the beginning or near the end."""
    near = min(len(content), 512)
    return rng.choice(
        (rng.randrange(len(content)), rng.randrange(near), len(content) - 1 - rng.randrange(near))
    )


def _flip(rng: random.Random, content: bytearray) -> None:
    content[_place(rng, content)] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, content: bytearray) -> None:
    content[_place(rng, content)] = rng.randrange(256)


def _number(rng: random.Random, content: bytearray) -> None:
    """A length where a length may be: binary, or the octal digits of archives."""
    start, number = _place(rng, content), rng.choice(NUMBERS)
    size = rng.choice((1, 2, 4, 8))
    binary = (number & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    written = rng.choice(
        (binary, b"%011o" % (number & 0o77777777777), b"\xff" * 12, b"\x80" + bytes(3) + binary)
    )
    content[start : start + len(written)] = written


def _truncate(rng: random.Random, content: bytearray) -> None:
    del content[_place(rng, content) :]


def _remove(rng: random.Random, content: bytearray) -> None:
    start = _place(rng, content)
    del content[start : start + rng.choice((1, 4, 8, rng.randrange(1, 600)))]


def _splice(rng: random.Random, content: bytearray) -> None:
    start, size = _place(rng, content), rng.randrange(1, 64)
    target = _place(rng, content)
    content[target : target + size] = content[start : start + size]


def _repeat(rng: random.Random, content: bytearray) -> None:
    start = _place(rng, content) // 512 * 512 if rng.random() < 0.5 else _place(rng, content)
    chunk = content[start : start + rng.choice((1, 16, 512, 1024))]
    content[start:start] = chunk * rng.choice((1, 2, 50))


MUTATIONS = (_flip, _flip, _set, _number, _number, _truncate, _remove, _splice, _repeat)


def _failures(tallies: dict[str, Tally]) -> list[str]:
    return [failure for tally in tallies.values() for failure in tally.failures]


def _document(tallies: dict[str, Tally]) -> str:
    total = sum(tally.inputs for tally in tallies.values())
    head = (
        "format",
        "inputs",
        "accepted",
        "refused",
        "other errors",
        "slowest",
        "peak, small",
        "peak / size, large",
    )
    made = (
        f"{total:,} inputs, seed {SEED}, a limit of {LIMIT_SECONDS:.0f} s each. {platform.machine()}; "
        f"python {platform.python_version()}, numpy {np.__version__}. "
        "Made by `python tests/fuzz/fuzz_checkpoints.py`."
    )
    meaning = (
        "Accepted: what was read is finite; the mutation hit values or what no reader needs. "
        "Slowest: of the inputs whose memory was not measured. "
        "Peak: the most memory allocated, the content of the file included: of inputs "
        f"of a few KB (one in {ONE_MEASURED_IN} measured), and relative to the file of large ones (one in "
        f"{ONE_LARGE_IN} inputs, all measured; those cut below {LARGE >> 10} KiB count as that)."
    )
    rows = [_row(name, tally) for name, tally in tallies.items()]
    failures = [f"- {failure}" for failure in _failures(tallies)[:20]]
    return document("# Mutated checkpoints", made, table(head, rows), meaning, *failures)


def _row(name: str, tally: Tally) -> list[str]:
    return [
        name,
        f"{tally.inputs:,}",
        f"{tally.accepted:,}",
        f"{tally.refused:,}",
        str(len(tally.failures)),
        f"{1000 * tally.slowest:.0f} ms",
        f"{tally.peak / 1024:.0f} KiB",
        f"{tally.ratio:.1f}",
    ]


if __name__ == "__main__":
    run(fuzz)
