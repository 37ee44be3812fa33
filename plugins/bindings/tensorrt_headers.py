"""Which tag of github.com/NVIDIA/TensorRT has the headers that the plugin library is compiled with.

No package of TensorRT brings its C++ headers. The public repository has them in ``include/`` of each release.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata

#: The version in NvInferVersion.h at each tag; left out are v9.2.0 and v9.3.0, which hold that of another one.
_TAGS = {
    (8, 5, 1): "8.5.1",
    (8, 5, 2): "8.5.2",
    (8, 5, 3): "8.5.3",
    (8, 6, 0): "v8.6.0",
    (8, 6, 1): "v8.6.1",
    (9, 1, 0): "v9.1.0",
    (10, 0, 0): "v10.0.0",
    (10, 0, 1): "v10.0.1",
    (10, 1, 0): "v10.1.0",
    (10, 2, 0): "v10.2.0",
    (10, 3, 0): "v10.3.0",
    (10, 4, 0): "v10.4.0",
    (10, 5, 0): "v10.5.0",
    (10, 6, 0): "v10.6.0",
    (10, 7, 0): "v10.7.0",
    (10, 8, 0): "v10.8.0",
    (10, 9, 0): "v10.9.0",
    (10, 10, 0): "v10.10.0",
    (10, 11, 0): "v10.11",
    (10, 12, 0): "v10.12.0",
    (10, 13, 0): "v10.13.0",
    (10, 13, 2): "v10.13.2",
    (10, 13, 3): "v10.13.3",
    (10, 14, 1): "v10.14",
    (10, 15, 1): "v10.15",
    (10, 16, 0): "v10.16",
    (11, 0, 0): "v11.0",
    (11, 1, 0): "v11.1",
}
_PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu13-bindings", "tensorrt-cu12-bindings")


def numbers_of(version: str) -> tuple[int, ...]:
    """Major, minor and patch of TensorRT's own name, which may go on: 10.0.0b6, 8.6.1.post1."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def serves(compiled: tuple[int, ...], installed: tuple[int, ...]) -> bool:
    """Whether a plugin library compiled for one TensorRT works in another.

    From 10 on the plugins' interface holds for a major version, before that for a release.
    """
    return compiled[0] == installed[0] and (compiled[0] >= 10 or compiled == installed)


def headers_tag(version: str) -> str | None:
    """The newest tag, not newer than TensorRT ``version``, whose headers serve it; None if none is known."""
    installed = numbers_of(version)
    older = [numbers for numbers in _TAGS if numbers <= installed and serves(numbers, installed)]
    return _TAGS[max(older)] if older else None


def how_to_build_plugins(version: str | None = None) -> str:
    """The command that builds the plugin library for TensorRT ``version``, by default for the one installed."""
    version = version or _installed(_PACKAGES)
    tag = headers_tag(version) if version else None
    command = f"make plugin TENSORRT_TAG={tag or 'TAG'} builds it in a checkout where nvcc is on PATH"
    return command if tag else f"{command} (TAG: the release of github.com/NVIDIA/TensorRT that is installed)"


def _installed(packages: Iterable[str]) -> str | None:
    """The version of the first of these packages that is installed; TensorRT is not imported for it."""
    for name in packages:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
