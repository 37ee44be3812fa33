"""The step about the DCNv2 kernel on the CPU: NumPy for the GPU, the float64 reference for the kernels."""

import json

import numpy as np
import pytest
from fake_gpu import FakeKernels, NumpyDevice

from pssdet.validation.gpu_check import deform_conv
from pssdet.validation.gpu_check.deform_conv import check_layers
from pssdet.validation.gpu_check.shapes import ODD, shapes

LAYERS = shapes(50, (32, 64), 2, (8, 16, 24))[:2]
ODDS = {name: ODD[name] for name in ("stride 2, batch of 3", "groups and offset groups, stride (2, 1)")}
ONE = {"stride 2": ODD["stride 2, batch of 3"]}


@pytest.fixture(autouse=True)
def few_launches(monkeypatch):
    monkeypatch.setattr(deform_conv, "AT_ONCE", 2)
    monkeypatch.setattr(deform_conv, "BATCH", 3)


def test_every_format_reach_tile_and_batch():
    findings = check_layers(NumpyDevice(), FakeKernels(), LAYERS, ODDS)
    assert findings.failures == []
    assert json.dumps(findings.figures)
    worst = findings.figures["worst relative error"]
    assert set(worst) == {"fp16 NHWC", "fp16 NHWC, raw", "fp16 NCHW", "fp32 NCHW"}
    # Half the smallest step of float16 is seen: the comparison is not of the reference with itself.
    assert all(1e-5 < worst[name] < 6e-4 for name in worst if name.startswith("fp16"))
    assert worst["fp32 NCHW"] < 1e-7
    # A layer: two reaches and a batch; two fused formats with three tiles, two others with one.
    launches = len(LAYERS) * 3 * (2 * 3 + 2) + 2 * (2 * 3 + 2) + 2 * 4
    assert findings.figures["launches"] == launches
    assert findings.figures["runs on two streams"] == len(LAYERS) * 2 * 2 * 2


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("wrong", "relative error"),
        ("unwritten", "not written"),
        ("outside", "outside of the output"),
        ("random", "two runs differ"),
        ("refuses", "refused the problem"),
    ],
)
def test_what_is_wrong_of_one_tile_is_found(fault, word):
    failures = check_layers(NumpyDevice(), FakeKernels(fault), [], ONE).failures
    assert len(failures) == 4  # two fused formats, two reaches
    assert all("N=3, tile 1: " in failure and word in failure for failure in failures)
    assert failures[0].startswith("stride 2, fp16 NHWC, near offsets, ")


def test_a_wrong_size_is_found():
    class Taller(FakeKernels):
        def output_size(self, problem):
            return problem.out_height + 1, problem.out_width

    failures = check_layers(NumpyDevice(), Taller(), [], ONE).failures
    assert all("the output's size is said to be" in failure for failure in failures)


def test_streams_that_disturb_each_other_are_found():
    class Disturbed(NumpyDevice):
        def at_once(self, works):
            super().at_once(works)
            works[0].args[0][0].__self__.memory[70] += 1

    failures = check_layers(Disturbed(), FakeKernels(), LAYERS[:1], {}).failures
    assert failures == ["two streams: 2 of 8 results differ from those alone"]


def test_results_that_were_never_written_do_not_count():
    class Idle(NumpyDevice):
        def at_once(self, works):
            pass

    failures = check_layers(Idle(), FakeKernels(), LAYERS[:1], {}).failures
    assert failures == ["two streams: 8 of 8 results differ from those alone"]


def test_images_of_a_batch_that_are_exchanged_are_found():
    class Exchanged(FakeKernels):
        def _write(self, form, address, y, fault):
            super()._write(form, address, np.roll(y, 1, axis=0) if len(y) == 3 else y, fault)

    failures = check_layers(NumpyDevice(), Exchanged(), LAYERS[:1], {}).failures
    assert failures
    assert all("N=3" in failure for failure in failures)
