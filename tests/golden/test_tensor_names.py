"""The names in exported graphs, by which recipes, engines and users' own programs find tensors and nodes."""

import pytest
from golden_files import assert_golden


@pytest.mark.parametrize("model", ["mini_faster", "mini_cascade"])
def test_names_of_the_exported_graph(model, request):
    import onnx

    folder = request.getfixturevalue("mini_folder" if model == "mini_faster" else "mini_cascade_folder")
    names = _names(onnx.load(folder / "model.onnx"))
    assert_golden(f"tensors/{model}.txt", "".join(f"{line}\n" for line in names))


def _names(model):
    """A line for each opset, function, input, output, initializer, node and value, in this order."""
    graph = model.graph
    lines = [sorted(f"opset {each.domain or 'ai.onnx'} {each.version}" for each in model.opset_import)]
    lines.append(sorted(f"function {_function(each)}" for each in model.functions))
    # Callers may rely on the order of inputs and outputs.
    lines.append(f"input {_tensor(each)}" for each in graph.input)
    lines.append(f"output {_tensor(each)}" for each in graph.output)
    lines.append(sorted(f"initializer {_array(each)}" for each in graph.initializer))
    lines.append(sorted(f"node {each.name} {_operator(each)}" for each in graph.node))
    lines.append(sorted(f"value {name}" for each in graph.node for name in each.output if name))
    return [line for kind in lines for line in kind]


def _function(function):
    signature = f"({', '.join(function.input)}) -> ({', '.join(function.output)})"
    return f"{function.domain}:{function.name}{signature} attributes {sorted(function.attribute)}"


def _tensor(value):
    import onnx

    kind = value.type.tensor_type
    shape = [each.dim_param or each.dim_value for each in kind.shape.dim]
    return f"{value.name} {onnx.TensorProto.DataType.Name(kind.elem_type)} {shape}"


def _array(tensor):
    import onnx

    return f"{tensor.name} {onnx.TensorProto.DataType.Name(tensor.data_type)} {list(tensor.dims)}"


def _operator(node):
    return f"{node.domain}:{node.op_type}" if node.domain else node.op_type
