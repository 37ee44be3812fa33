"""The rewritten bundled detectors on the bundled picture: the same detections, in half precision nearly so."""

import pytest
from plugin_meaning import run_plugin_graph

from pssdet.engines.precision.recipe import recipe_for
from pssdet.engines.trt.graph.rewrite import plugin_graph, typed_half
from pssdet.models.preprocess import sample_batches
from pssdet.models.stages import FLOAT32, HALF, compare, first_broken

pytestmark = pytest.mark.parametrize("row", ["mini_faster", "mini_cascade"], indirect=True)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_detections_on_the_picture(row, precision):
    _, inputs = next(sample_batches(row.entry.preprocessing))
    expected = row.run_onnx(inputs)
    graph = plugin_graph(row.onnx)
    if precision == "fp16":
        graph = typed_half(graph, recipe_for(row.entry.name, row.onnx.graph).fp32)
    everything = run_plugin_graph(graph, row.onnx.functions, inputs)
    tensors = {name: everything[name] for name in expected}
    records = compare(
        "picture", row.entry.architecture, expected, tensors, FLOAT32 if precision == "fp32" else HALF
    )
    assert first_broken(records) == ""
    assert expected["count"][0] > 5
    differences = {record.stage: record.difference for record in records}
    assert (differences["c2"] > 1e-4) == (precision == "fp16")
