"""The graph rewrite packs weights without the library, as the library does."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pssdet.engines.trt.graph.plugin_nodes import replace_deform_convs
from pssdet.plugins.bindings.deform_conv import DeformConvParams


@pytest.mark.parametrize(("shape", "groups"), [((6, 4, 3, 3), 1), ((9, 2, 1, 5), 3)])
def test_packed_weights_are_the_librarys(library, shape, groups):
    weights = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    node = onnx.helper.make_node("DeformConv", ["x", "w", "o"], ["y"], name="n", group=groups)
    graph = onnx.helper.make_graph([node], "g", [], [], [numpy_helper.from_array(weights, "w")])
    replace_deform_convs(graph)
    packed = next(tensor for tensor in graph.initializer if tensor.name == graph.node[0].input[1])
    size = {"batch": 1, "channels": shape[1] * groups, "height": 9, "width": 9}
    params = DeformConvParams(
        **size, out_channels=shape[0], kernel_h=shape[2], kernel_w=shape[3], groups=groups
    )
    np.testing.assert_array_equal(numpy_helper.to_array(packed), library.pack_weights(params, weights))
