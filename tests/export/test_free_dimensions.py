"""One exported graph serves every batch and size: N, H and W stay free, and nothing is repeated per image."""

import onnx
import onnxruntime
import pytest
from onnx import inliner, shape_inference

pytestmark = pytest.mark.parametrize(
    "row", ["mini_faster", "mini_cascade", 1, 2, 3, 4], indirect=True, ids="{}".format
)


@pytest.fixture(scope="module")
def inlined(row):
    return inliner.inline_local_functions(row.onnx)


def test_there_is_no_control_flow(inlined):
    kinds = {node.op_type for node in inlined.graph.node}
    assert not inlined.functions
    assert {node.domain for node in inlined.graph.node} <= {"", "ai.onnx"}
    assert not [
        kind for kind in kinds if kind in {"If", "Loop", "Scan"} or "Sequence" in kind or "Optional" in kind
    ]
    bodies = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    assert not [node.name for node in inlined.graph.node for a in node.attribute if a.type in bodies]


def test_dimensions_are_free(inlined):
    """By name in inputs and outputs, and unknown to shape inference in every map of the trunk."""
    graph = shape_inference.infer_shapes(inlined).graph
    free = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.output)}
    assert {dims[0].dim_param for dims in free.values()} == {"N"}
    assert [dim.dim_param for dim in free["image"][2:]] == ["H", "W"]
    maps = [
        value for value in graph.value_info if value.name.startswith(("c2", "c5", "p2", "p5", "rpn_score_p6"))
    ]
    assert len(maps) >= 5
    for value in maps:
        batch, _, height, width = value.type.tensor_type.shape.dim
        assert not any(dim.HasField("dim_value") for dim in (batch, height, width)), value.name


def test_a_larger_batch_runs_no_more_nodes(row, tmp_path):
    """ONNX Runtime's own optimiser, told the batch, has as much to run for eight images as for one."""
    counts = []
    source = tmp_path / "model.onnx"
    onnx.save(row.onnx, source)
    for batch in (1, 2, 8):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_free_dimension_override_by_name("N", batch)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(tmp_path / f"{batch}.onnx")
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        counts.append(len(onnx.load(options.optimized_model_filepath).graph.node))
    assert len(set(counts)) == 1
