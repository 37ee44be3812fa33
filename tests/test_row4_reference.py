"""Row 4 against the original program, stage by stage and at the end, in Paddle and in ONNX Runtime."""

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


@pytest.fixture(scope="module")
def run_paddle(row4_model):
    import paddle

    from pssdet.models.reference_run import run_reference

    def run(inputs, shift=0.0):
        bias = row4_model.bbox_head.bbox_score.bias
        original = bias.numpy()
        shifted = original.copy()
        shifted[-1] += np.float32(shift)
        bias.set_value(paddle.to_tensor(shifted))
        try:
            return run_reference(row4_model, inputs)
        finally:
            bias.set_value(paddle.to_tensor(original))

    return run


@pytest.mark.parametrize("name", CASES)
def test_paddle_gives_the_original_numbers(run_paddle, name):
    case = load_case(name)
    tensors = run_paddle(case_inputs(case), float(case.get("background_shift", 0)))
    assert disagreements(case, tensors) == []


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_gives_the_original_numbers(run_row4_onnx, name):
    case = load_case(name)
    tensors = run_row4_onnx(case_inputs(case), float(case.get("background_shift", 0)))
    assert disagreements(case, tensors) == []


def test_overpadded_input_is_not_the_same_as_the_input(run_row4_onnx):
    tensors = run_row4_onnx(case_inputs(load_case("row4_synthetic_wide_overpadded")))
    found = disagreements(load_case("row4_synthetic_wide"), tensors)
    assert any(text.startswith("detections") for text in found)


@pytest.mark.parametrize("order", [PAIR, PAIR[::-1]], ids=["in order", "reversed"])
def test_an_image_of_a_batch_equals_the_image_alone(run_row4_onnx, order):
    cases = [load_case(name) for name in order]
    alone = [case_inputs(case) for case in cases]
    batch = {name: np.concatenate([inputs[name] for inputs in alone]) for name in alone[0]}
    together = run_row4_onnx(batch)
    for image, (case, inputs) in enumerate(zip(cases, alone, strict=True)):
        single = run_row4_onnx(inputs)
        np.testing.assert_array_equal(together["labels"][image], single["labels"][0])
        np.testing.assert_array_equal(together["count"][image], single["count"][0])
        np.testing.assert_allclose(together["boxes"][image], single["boxes"][0], rtol=0, atol=1e-3)
        assert disagreements(case, together, image=image) == []


def test_paddle_batch_equals_the_original_program(run_paddle):
    cases = [load_case(name) for name in PAIR]
    inputs = [case_inputs(case) for case in cases]
    together = run_paddle({name: np.concatenate([each[name] for each in inputs]) for name in inputs[0]})
    assert [disagreements(case, together, image=image) for image, case in enumerate(cases)] == [[], []]
