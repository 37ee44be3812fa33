"""Export: a detector or classifier from its Paddle checkpoint to a verified ONNX file."""

from __future__ import annotations

import importlib.util

from pssdet.errors import EnvironmentMissing

_MODULES = ("paddle", "paddle2onnx", "onnx", "onnx_graphsurgeon", "onnxruntime")


def require_export() -> None:
    """Raise ``EnvironmentMissing`` if a package for exports is missing, before anything heavy is imported."""
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentMissing(
            f"exporting needs {', '.join(missing)}; install this project again with its extra [export],"
            " in Python 3.11 or 3.12"
        )
