"""Row 4 against the original program, stage by stage and at the end, in Paddle, ONNX Runtime and OpenVINO."""

import numpy as np
import pytest
from reference import case_inputs, disagreements, load_case

CASES = (
    "row4_synthetic_square",
    "row4_synthetic_wide",
    "row4_synthetic_wide_overpadded",
    "row4_synthetic_sparse",
    "row4_synthetic_empty",
    "row4_photo_rendered_scene",
    "row4_photo_rendered_scene_tall",
)
#: Two pictures of different content at one padded size, 384x640.
PAIR = ("row4_photo_rendered_scene", "row4_synthetic_wide")


@pytest.mark.parametrize("name", CASES)
def test_paddle_gives_the_original_numbers(row4, name):
    case = load_case(name)
    tensors = row4.run_paddle(case_inputs(case), float(case.get("background_shift", 0)))
    assert disagreements(case, tensors) == []


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_gives_the_original_numbers(run_row4_onnx, name):
    case = load_case(name)
    tensors = run_row4_onnx(case_inputs(case), float(case.get("background_shift", 0)))
    assert disagreements(case, tensors) == []


@pytest.mark.parametrize("name", CASES)
def test_openvino_gives_the_original_numbers(row4, name):
    case = load_case(name)
    tensors = row4.run_openvino(case_inputs(case), float(case.get("background_shift", 0)))
    assert disagreements(case, tensors) == []


def test_overpadded_input_is_not_the_same_as_the_input(run_row4_onnx):
    tensors = run_row4_onnx(case_inputs(load_case("row4_synthetic_wide_overpadded")))
    found = disagreements(load_case("row4_synthetic_wide"), tensors)
    assert any(text.startswith("detections") for text in found)


def test_onnx_runtime_batch_equals_the_original_program(run_row4_onnx):
    cases = [load_case(name) for name in PAIR]
    inputs = [case_inputs(case) for case in cases]
    together = run_row4_onnx({name: np.concatenate([each[name] for each in inputs]) for name in inputs[0]})
    assert [disagreements(case, together, image=image) for image, case in enumerate(cases)] == [[], []]


def test_openvino_batch_equals_the_original_program(row4):
    cases = [load_case(name) for name in PAIR]
    inputs = [case_inputs(case) for case in cases]
    together = row4.run_openvino({name: np.concatenate([each[name] for each in inputs]) for name in inputs[0]})
    assert [disagreements(case, together, image=image) for image, case in enumerate(cases)] == [[], []]


def test_paddle_batch_equals_the_original_program(row4):
    cases = [load_case(name) for name in PAIR]
    inputs = [case_inputs(case) for case in cases]
    together = row4.run_paddle({name: np.concatenate([each[name] for each in inputs]) for name in inputs[0]})
    assert [disagreements(case, together, image=image) for image, case in enumerate(cases)] == [[], []]
