"""OpenVINO: exported models as its IR, run on a CPU, and what its kernels were."""

import sys
from contextlib import suppress


def _import_without_telemetry() -> None:
    """Import ``openvino``, if it is installed, without the module that sends usage events at that moment.

    Its process would also take signals such as Ctrl-C. Afterwards others can import the module as ever.
    """
    if {"openvino", "openvino_telemetry"} & sys.modules.keys():
        return
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        with suppress(ImportError):
            import openvino  # noqa: F401
    finally:
        del sys.modules["openvino_telemetry"]


_import_without_telemetry()
