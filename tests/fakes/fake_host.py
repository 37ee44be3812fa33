"""A GPU host without a GPU: engines are the requested models in ONNX Runtime. Its figures are test data."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import onnx

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.errors import EnvironmentMissing

LAYERS_US = {
    "trunk/Conv_1": 60.0,
    "trunk/DeformConv_2": 20.0,
    "finish/MulticlassNms_9": 10.0,
    "head/MatMul_0": 10.0,
}


class FakeHost:
    """``shift`` moves the boxes of an engine of that label; ``broken`` labels raise when built."""

    def __init__(self, name="NVIDIA Stub 1", shift=None, broken=(), fallback=None):
        self.name = name
        self.shift = shift or {}
        self.broken = set(broken)
        self.fallback = fallback
        self.requests = []

    def identity(self):
        return {"tensorrt": "0.0 stub", "plugins": "none"}

    def describe(self):
        return {"GPU": self.name}

    def check(self):
        pass

    def build(self, model, plan, profiles, fp32):
        label = label_of(plan)
        if label in self.broken:
            raise RuntimeError(f"no {label} today")
        self.requests.append(SimpleNamespace(label=label, model=model, profiles=profiles, fp32=fp32))
        onnx.save(model, plan)
        found = {"layers": {"fp16": 7, "fp32": 3}, "share": None if fp32 is None else 0.95, "wide": []}
        return {"seconds": 1.5, "route": "stub", "kept_fp32": len(fp32 or ()), "precisions": found}

    @contextmanager
    def session(self, plan, *, graphs):
        shift = self.shift.get(label_of(plan), 0.0)
        session = FakeSession(plan, shift, self.fallback if graphs else None)
        yield session
        session.close()

    @contextmanager
    def resident(self, plan, inputs, *, graphs):
        yield FakeResident(label_of(plan), len(inputs["image"]), graphs, self.fallback if graphs else None)


def label_of(plan):
    return next(label for label in ("fp16", "fp32", "no_dcn") if plan.stem.endswith(label))


class FakeSession:
    def __init__(self, plan, shift, fallback):
        self.session = OnnxRuntimeSession(plan, (), cuda=False)
        self.shift = shift
        self.graph_fallback = fallback

    def run(self, inputs):
        outputs = self.session.run(inputs)
        return {**outputs, "boxes": outputs["boxes"] + np.float32(self.shift)}

    def close(self):
        self.session.close()


class FakeResident:
    """An fp16 engine takes 1000 us and 200 per further picture: 5 % less without DCN, twice in float32."""

    def __init__(self, label, batch, graphs, fallback):
        self.fallback = fallback
        self.us = (
            (800 + 200 * batch) * {"fp16": 1.0, "no_dcn": 0.95, "fp32": 2.0}[label] * (1 if graphs else 1.5)
        )

    def times_us(self, iterations):
        if self.fallback:
            raise EnvironmentMissing(self.fallback)
        return [self.us + number % 3 for number in range(iterations)]

    def layers_us(self, iterations):
        return dict(LAYERS_US)

    def memory(self):
        return {"scratch": 1 << 20, "device": 3 << 20}
