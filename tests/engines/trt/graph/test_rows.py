"""The rewrite of every detector of the zoo: nothing is left that TensorRT lacks, and it computes the same.

At a small size and for a batch of two; the background logit is shifted so that there is something to find.
"""

import fake_trt_build
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from parser_operators import unsupported
from plugin_meaning import run_plugin_graph
from reference import synthetic_image

from pssdet.engines.precision.half import emulate_half, half_region
from pssdet.engines.precision.recipe import default_recipe, recipe_for
from pssdet.engines.trt.callbacks import error_log
from pssdet.engines.trt.graph.rewrite import plugin_graph, typed_half
from pssdet.engines.trt.graph.types import tensor_types
from pssdet.engines.trt.plan.capabilities import graph_for
from pssdet.engines.trt.plan.held import CAST, NO_FLOAT, PLUGIN, expected_to_hold, hold_in_float32
from pssdet.engines.trt.plan.network import parse
from pssdet.models.stages import compare, first_broken, tap_names

SHIFTS = {"mini_faster": 0.0, "mini_cascade": 0.0, 1: 5.0, 2: 8.0, 3: 16.0, 4: 0.0}
SIZES, PADDED, SCALE = ((192, 250), (170, 240)), (192, 256), 0.75

pytestmark = pytest.mark.parametrize("row", SHIFTS, indirect=True, ids="{}".format)


@pytest.fixture(scope="module")
def inputs():
    sizes = np.float32(SIZES)
    images = [3.0 * synthetic_image(seed, size, PADDED) for seed, size in enumerate(SIZES)]
    return {
        "image": np.concatenate(images).astype(np.float32),
        "image_size": sizes,
        "original_size": np.round(sizes / SCALE),
        "scale_factor": np.full((2, 2), SCALE, np.float32),
    }


@pytest.fixture
def shift(row):
    return SHIFTS[row.entry.row or row.entry.name]


@pytest.fixture
def exported(row, shift):
    """The exported model with the same parameters as ``row.run_onnx`` uses at this shift."""
    model = onnx.ModelProto()
    model.CopyFrom(row.onnx)
    values = row._shifted(shift)
    for tensor in model.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    return model


def test_nothing_unsupported_remains(exported):
    assert any("GenerateProposals" in line for line in unsupported(exported))
    plugins = plugin_graph(exported)
    assert unsupported(plugins) == []
    onnx.checker.check_model(plugins, full_check=True)
    assert not plugins.functions
    assert "pssdet" not in {entry.domain for entry in plugins.opset_import}
    types = tensor_types(plugins)
    assert [types[value.name] for value in plugins.graph.output] == [1, 1, TensorProto.INT32, TensorProto.INT32]


def test_every_layer_is_fused(exported):
    """No Split, Sigmoid or Relu of a DCNv2 layer is left beside its plugin."""
    kinds = [node.op_type for node in exported.graph.node]
    plugins = plugin_graph(exported).graph
    layers = [node for node in plugins.node if node.op_type == "PssDetDeformConv2d"]
    assert len(layers) == kinds.count("DeformConv")
    for node in layers:
        flags = {each.name: each.i for each in node.attribute}
        assert (flags["raw_mask"], flags["relu"], flags["has_bias"], flags["has_mask"]) == (1, 1, 1, 0)
        assert flags["half_offsets"] == 0
    relus = sum(node.op_type == "Relu" for node in plugins.node)
    assert relus == kinds.count("Relu") - len(layers)


def test_the_recipe_that_ships_is_of_this_model(row):
    recipe = recipe_for(row.entry.name, row.onnx.graph)
    assert recipe.model == row.entry.name
    recipe.check(row.onnx.graph)
    general = default_recipe(row.entry.name, row.onnx.graph).fp32
    head = tuple(node.name for node in row.onnx.graph.node if node.name.startswith("head/"))
    assert recipe.fp32 == ((*general, *head) if row.entry.name == "mini_faster" else general)


def test_every_node_that_must_stay_float32_is_held_or_listed(row, exported, monkeypatch):
    trt = fake_trt_build.install(monkeypatch, "8.6.0")
    recipe = recipe_for(row.entry.name, row.onnx.graph)
    graph, float32 = graph_for(plugin_graph(exported), "flags", recipe.fp32, reduced=True)
    logger = error_log(trt)
    network, _ = parse(trt, trt.Builder(logger), 1, graph.SerializeToString(), logger)
    held = hold_in_float32(trt, network, graph, float32)
    listed = [*held.computed, *held.moved, *(node for nodes in held.exempt.values() for node in nodes)]
    assert sorted(listed) == sorted(float32)
    assert {PLUGIN} <= set(held.exempt) <= {CAST, NO_FLOAT, PLUGIN}
    predictors = {node.name for node in graph.graph.node if node.op_type == "Conv"} & float32
    assert len(predictors) == sum(node.op_type == "PssDetDeformConv2d" for node in graph.graph.node)
    assert predictors <= set(held.computed)
    assert expected_to_hold(graph, float32) == held


def test_plugins_compute_what_the_exported_model_computes(row, exported, inputs, shift):
    expected = row.run_onnx(inputs, shift)
    everything = run_plugin_graph(plugin_graph(exported), exported.functions, inputs)
    tensors = {name: everything[name] for name in expected}
    assert {name: (x.dtype, x.shape) for name, x in tensors.items()} == {
        name: (x.dtype, x.shape) for name, x in expected.items()
    }
    assert expected["count"].sum() > 0
    assert first_broken(compare("plugins", row.entry.architecture, expected, tensors)) == ""


def test_typed_graph_computes_in_half_where_it_should(row, exported, inputs, shift):
    """Close to the same region emulated, and as far from float32 as half precision is."""
    recipe = recipe_for(row.entry.name, exported.graph)
    typed = typed_half(plugin_graph(exported), recipe.fp32)
    assert unsupported(typed) == []
    tensors = run_plugin_graph(typed, exported.functions, inputs)
    full = row.run_onnx(inputs, shift)
    emulated = emulated_tensors(exported, recipe, inputs, ("c2", "c5", "p2", "rpn_delta_p3"))
    for name, value in emulated.items():
        assert tensors[f"{name}:half"].dtype == np.float16
        np.testing.assert_array_equal(tensors[name], tensors[f"{name}:half"].astype(np.float32))
        scale = np.abs(full[name]).max()
        assert np.abs(tensors[name] - value).max() < 3e-3 * scale
        assert np.abs(tensors[name] - full[name]).max() < 2e-2 * scale
        assert (tensors[name] != full[name]).any()
    features = next(name for name in tap_names(row.entry.architecture) if name.startswith("roi_features"))
    assert tensors[f"{features}:half"].dtype == np.float16
    assert all(value.dtype != np.float16 for name, value in tensors.items() if name.startswith("finish/"))


def emulated_tensors(exported, recipe, inputs, names):
    import onnxruntime

    model = onnx.ModelProto()
    model.CopyFrom(exported)
    emulate_half(model, half_region(model.graph, emulated=True, recipe=recipe))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    used = {each.name for each in session.get_inputs()}
    values = session.run(list(names), {name: value for name, value in inputs.items() if name in used})
    return dict(zip(names, values, strict=True))
