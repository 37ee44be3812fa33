"""The float64 reference that GPU results are held to, against other implementations, on the CPU."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pssdet.validation.gpu_check.deform_conv import convolve
from pssdet.validation.gpu_check.shapes import ODD, Problem


def draw(problem, reach, seed=0):
    rng = np.random.default_rng(seed)
    out = (problem.batch, -1, problem.out_height, problem.out_width)
    taps = problem.taps * problem.offset_groups
    return (
        rng.normal(size=(problem.batch, problem.channels, problem.height, problem.width)),
        rng.normal(size=(out[0], 2 * taps, *out[2:])) * reach,
        rng.random(size=(out[0], taps, *out[2:])),
        rng.normal(
            size=(problem.out_channels, problem.channels // problem.groups, problem.kernel_h, problem.kernel_w)
        ),
        rng.normal(size=problem.out_channels),
    )


def onnx_result(problem, x, offset, mask, weight, bias):
    names = ("x", "weight", "offset", "bias", "mask")
    node = helper.make_node(
        "DeformConv",
        names,
        ["y"],
        strides=[problem.stride_h, problem.stride_w],
        dilations=[problem.dilation_h, problem.dilation_w],
        pads=[problem.pad_top, problem.pad_left, problem.pad_bottom, problem.pad_right],
        group=problem.groups,
        offset_group=problem.offset_groups,
        kernel_shape=[problem.kernel_h, problem.kernel_w],
    )
    tensors = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in (*names, "y")]
    graph = helper.make_graph([node], "deform", tensors[:-1], tensors[-1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, (x, weight, offset, bias, mask), strict=True)))[0]


@pytest.mark.parametrize("reach", [0.0, 1.5, 40.0])
@pytest.mark.parametrize("name", ODD)
def test_against_onnx_runtime_in_float64(name, reach):
    problem = ODD[name]
    tensors = draw(problem, reach)
    wanted = onnx_result(problem, *tensors)
    obtained = convolve(problem, *tensors)
    assert obtained.shape == wanted.shape
    np.testing.assert_allclose(obtained, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "problem", [Problem(2, 16, 9, 11, 8), Problem(1, 8, 12, 10, 4, stride_h=2, stride_w=2)]
)
def test_against_paddle(problem):
    import paddle
    from paddle.vision.ops import deform_conv2d

    x, offset, mask, weight, bias = (paddle.to_tensor(part.astype("f4")) for part in draw(problem, 1.5))
    wanted = deform_conv2d(x, offset, weight, bias, problem.stride_h, padding=1, mask=mask).numpy()
    obtained = convolve(problem, *(part.numpy().astype("f8") for part in (x, offset, mask, weight, bias)))
    np.testing.assert_allclose(obtained, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_points_that_are_no_numbers_read_zero():
    problem = Problem(1, 4, 6, 7, 3)
    x, offset, mask, weight, bias = draw(problem, 1.0)
    flat = offset.reshape(1, problem.taps, 2, -1)
    flat[0, 4, 0, :] = np.inf
    flat[0, 5, 1, :] = np.nan
    flat[0, 6, 0, :] = -1e30
    mask_without = mask.copy()
    mask_without[0, 4:7] = 0
    sane = np.nan_to_num(offset, nan=0.0, posinf=0.0, neginf=0.0)
    sane = np.where(np.abs(sane) > 1e9, 0.0, sane)
    wanted = convolve(problem, x, sane, mask_without, weight, bias)
    obtained = convolve(problem, x, offset, mask, weight, bias)
    np.testing.assert_allclose(obtained, wanted, atol=1e-12)


def test_without_offsets_it_is_a_convolution():
    problem = Problem(1, 2, 5, 6, 3)
    x, offset, mask, weight, _ = draw(problem, 0.0)
    obtained = convolve(problem, x, offset * 0, np.ones_like(mask), weight, np.zeros(3))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    wanted = sum(
        np.einsum("nchw,oc->nohw", padded[:, :, i : i + 5, j : j + 6], weight[:, :, i, j])
        for i in range(3)
        for j in range(3)
    )
    np.testing.assert_allclose(obtained, wanted, atol=1e-12)
