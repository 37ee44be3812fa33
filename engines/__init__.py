"""Engines: exported models prepared for one backend, built and opened here."""

import os

# ONNX Runtime reads it when it is imported, and sends usage events otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
