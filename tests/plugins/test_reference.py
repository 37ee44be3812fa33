"""The CPU reference against ONNX Runtime and Paddle, on random convolutions."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pssdet.errors import BadInput
from pssdet.plugins.bindings.deform_conv import DeformConvParams

#: float32 sums of a few hundred products, taken in different orders.
CLOSE = 2e-6

sides = st.integers(1, 9)
small = st.integers(1, 3)
pads = st.integers(0, 2)


# Paddle knows only symmetric padding, and wants the output's channels to be multiples of the offset groups too.
@st.composite
def problems(draw, *, for_paddle=False):
    groups, offset_groups = draw(small), draw(small)
    top, left = draw(pads), draw(pads)
    bottom, right = (top, left) if for_paddle else (draw(pads), draw(pads))
    problem = DeformConvParams(
        batch=draw(st.integers(1, 2)),
        channels=groups * offset_groups * draw(small),
        height=draw(sides),
        width=draw(sides),
        out_channels=groups * draw(small) * (offset_groups if for_paddle else 1),
        kernel_h=draw(small),
        kernel_w=draw(small),
        stride_h=draw(small),
        stride_w=draw(small),
        dilation_h=draw(st.integers(1, 2)),
        dilation_w=draw(st.integers(1, 2)),
        pad_top=top,
        pad_left=left,
        pad_bottom=bottom,
        pad_right=right,
        groups=groups,
        offset_groups=offset_groups,
    )
    assume(min(_size(problem)) > 0)
    return problem


def _size(problem):
    return problem.out_height, problem.out_width


@dataclass
class Case:
    problem: DeformConvParams
    x: np.ndarray
    offset: np.ndarray
    oihw: np.ndarray
    mask: np.ndarray | None
    bias: np.ndarray | None

    def computed(self, library, **options):
        weight = library.pack_weights(self.problem, self.oihw)
        return library.convolve(
            self.problem, self.x, self.offset, weight, mask=self.mask, bias=self.bias, **options
        )


@st.composite
def cases(draw, *, for_paddle=False):
    problem = draw(problems(for_paddle=for_paddle))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def tensor(*shape):
        return random.standard_normal(shape).astype(np.float32)

    masks, size = problem.taps * problem.offset_groups, _size(problem)
    return Case(
        problem=problem,
        x=tensor(problem.batch, problem.channels, problem.height, problem.width),
        # From none, over a few pixels, to far outside.
        offset=tensor(problem.batch, 2 * masks, *size) * np.float32(draw(st.sampled_from([0, 0.5, 3, 50]))),
        oihw=tensor(
            problem.out_channels, problem.channels // problem.groups, problem.kernel_h, problem.kernel_w
        ),
        mask=tensor(problem.batch, masks, *size) if draw(st.booleans()) else None,
        bias=tensor(problem.out_channels) if draw(st.booleans()) else None,
    )


def onnx_runtime(case, opset):
    import onnx
    import onnxruntime

    problem = case.problem
    tensors = {"x": case.x, "w": case.oihw, "o": case.offset, "b": case.bias, "m": case.mask}
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    node = onnx.helper.make_node(
        "DeformConv",
        [name if name in given else "" for name in tensors],
        ["y"],
        kernel_shape=(problem.kernel_h, problem.kernel_w),
        strides=(problem.stride_h, problem.stride_w),
        dilations=(problem.dilation_h, problem.dilation_w),
        pads=(problem.pad_top, problem.pad_left, problem.pad_bottom, problem.pad_right),
        group=problem.groups,
        offset_group=problem.offset_groups,
    )
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, given[name].shape) for name in given
    ]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([node], "g", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(["y"], given)[0]


def paddle(case):
    from paddle import to_tensor
    from paddle.vision.ops import deform_conv2d

    problem = case.problem
    result = deform_conv2d(
        to_tensor(case.x),
        to_tensor(case.offset),
        to_tensor(case.oihw),
        bias=None if case.bias is None else to_tensor(case.bias),
        stride=[problem.stride_h, problem.stride_w],
        padding=[problem.pad_top, problem.pad_left],
        dilation=[problem.dilation_h, problem.dilation_w],
        deformable_groups=problem.offset_groups,
        groups=problem.groups,
        mask=None if case.mask is None else to_tensor(case.mask),
    )
    return result.numpy()


def assert_close(got, expected, case):
    scale = max(1.0, float(np.abs(expected).max())) * np.sqrt(case.problem.channels * case.problem.taps)
    # A coordinate is rounded to float32 on the way, by more the further out it is.
    np.testing.assert_allclose(got, expected, rtol=0, atol=CLOSE * scale)


@pytest.mark.parametrize("opset", [19, 22])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases())
def test_equals_onnx_runtime(library, opset, case):
    assert_close(case.computed(library), onnx_runtime(case, opset), case)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases(for_paddle=True))
def test_equals_paddle(library, case):
    assert_close(case.computed(library), paddle(case), case)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=cases())
def test_float64_agrees_with_float32_and_relu_clips(library, case):
    exact = case.computed(library, exact=True)
    assert_close(case.computed(library), exact, case)
    np.testing.assert_array_equal(case.computed(library, exact=True, relu=True), np.maximum(exact, 0))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=cases())
def test_raw_masks_are_sigmoids(library, case):
    masks = case.problem.taps * case.problem.offset_groups
    raw = np.random.default_rng(1).standard_normal((case.problem.batch, masks, *_size(case.problem))) * 4
    raw = raw.astype(np.float32)
    case.mask = (1 / (1 + np.exp(-raw.astype(np.float64)))).astype(np.float32)
    expected = case.computed(library, exact=True)
    case.mask, case.offset = None, np.concatenate([case.offset, raw], axis=1)
    assert_close(case.computed(library, raw_mask=True, exact=True), expected, case)
    assert_close(case.computed(library, raw_mask=True), expected, case)


@given(problem=problems())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_output_size_and_weight_order(library, problem):
    assert library.output_size(problem) == _size(problem)
    shape = (problem.out_channels, problem.channels // problem.groups, problem.kernel_h, problem.kernel_w)
    oihw = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(library.pack_weights(problem, oihw), oihw.transpose(0, 2, 3, 1))
    halves = library.pack_weights(problem, oihw, half=True)
    assert halves.dtype == np.float16
    np.testing.assert_array_equal(halves, oihw.transpose(0, 2, 3, 1).astype(np.float16))


def test_offsets_that_are_no_numbers_read_zero(library):
    problem = DeformConvParams(1, 1, 3, 3, 1, 1, 1, pad_top=0, pad_left=0, pad_bottom=0, pad_right=0)
    x, weight = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 1, 1), np.float32)
    offset = np.zeros((1, 2, 3, 3), np.float32)
    offset[0, 0, 0, 0], offset[0, 1, 1, 1], offset[0, 0, 2, 2] = np.nan, np.inf, -np.inf
    expected = np.ones((3, 3))
    np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(library.convolve(problem, x, offset, weight)[0, 0], expected)


PLAIN = DeformConvParams(1, 4, 5, 6, 2)


class TestRefusals:
    def test_sizes_that_contradict_each_other(self, library):
        with pytest.raises(BadInput, match="DeformConvParams"):
            library.output_size(DeformConvParams(1, 4, 5, 6, 2, groups=3))

    @pytest.mark.parametrize("height", [2**31 - 1, 2**31, 2**32 + 5])
    def test_sizes_that_are_too_large(self, library, height):
        with pytest.raises(BadInput, match="DeformConvParams"):
            library.output_size(DeformConvParams(1, 4, height, 6, 2))

    @pytest.mark.parametrize("name", ["x", "offset", "weight", "mask", "bias"])
    @pytest.mark.parametrize("change", [lambda t: t[..., :-1], lambda t: t.astype(np.float64)])
    def test_tensors_of_another_shape_or_type(self, library, name, change):
        shapes = {
            "x": (1, 4, 5, 6),
            "offset": (1, 18, 5, 6),
            "weight": (2, 3, 3, 4),
            "mask": (1, 9, 5, 6),
            "bias": (2,),
        }
        tensors = {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
        tensors[name] = change(tensors[name])
        with pytest.raises(BadInput, match=name):
            library.convolve(PLAIN, **tensors)

    def test_a_mask_beside_raw_masks(self, library):
        tensors = [np.zeros(shape, np.float32) for shape in ((1, 4, 5, 6), (1, 27, 5, 6), (2, 3, 3, 4))]
        with pytest.raises(BadInput):
            library.convolve(PLAIN, *tensors, mask=np.zeros((1, 9, 5, 6), np.float32), raw_mask=True)

    def test_tensors_that_are_not_contiguous_are_read_right(self, library):
        x = np.arange(120, dtype=np.float32).reshape(1, 6, 5, 4).transpose(0, 3, 2, 1)
        assert not x.flags.c_contiguous
        offset, weight = np.zeros((1, 18, 5, 6), np.float32), np.zeros((2, 3, 3, 4), np.float32)
        weight[1, 1, 1, 2] = 1
        np.testing.assert_array_equal(library.convolve(PLAIN, x, offset, weight)[0, 1], x[0, 2])
