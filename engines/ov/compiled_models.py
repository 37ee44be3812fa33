"""Compiled models on disk, so that an engine opens faster the second time; checked before they are used."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pssdet.errors import BadInput
from pssdet.files import engine_cache, prune, sha256_of, write_atomically
from pssdet.machine import cpu_flags

#: Bytes of compiled models that stay on disk, for all engines together; each holds the weights.
CACHED_BYTES = 2 * 10**9

_DIGEST = hashlib.sha256().digest_size


class CompiledModels:
    """The compiled models of one IR with the same settings; a folder that cannot be used is one without any.

    A file holds the SHA-256 of its key and of the model, then the model: neither a damaged file nor another
    model's is taken. The key says everything that decides what a compiled model computes.

    Args:
        ir: the XML file of the IR, with the weights beside it.
        settings: OpenVINO's properties that the models are compiled with.
    """

    def __init__(self, ir: Path, settings: Mapping[str, bool | int | str]) -> None:
        import openvino

        weights = ir.with_suffix(".bin")
        self._folder = engine_cache() / "openvino"
        self._settings = dict(settings)
        self._made_with = "\n".join(
            [
                openvino.get_version(),
                *sorted(cpu_flags()),
                *(f"{name}={value}" for name, value in sorted(settings.items())),
                *(sha256_of(file) for file in (ir, weights) if file.is_file()),
            ]
        )

    def load(self, core: Any, device: str, shape: tuple[int, ...] | None) -> Any | None:
        """The ``openvino.CompiledModel`` for a shape, or None if it is not there whole."""
        key = self._key(shape)
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        if content[:_DIGEST] != _digest(key, content[_DIGEST:]):
            return None
        try:
            return core.import_model(io.BytesIO(content[_DIGEST:]), device, self._settings)
        except RuntimeError:
            return None

    def store(self, compiled: Any, shape: tuple[int, ...] | None) -> None:
        """Keep a compiled model, if the folder can be written to; beyond ``CACHED_BYTES`` the oldest go."""
        key = self._key(shape)
        model = compiled.export_model().getvalue()
        with suppress(BadInput, OSError):
            write_atomically(self._path(key), _digest(key, model) + model)
            prune(self._folder, CACHED_BYTES)

    def _key(self, shape: tuple[int, ...] | None) -> str:
        return f"{self._made_with}\n{shape}"

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.compiled"


def _digest(key: str, model: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(model)
    return digest.digest()
