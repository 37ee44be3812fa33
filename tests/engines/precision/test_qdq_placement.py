"""Which layers become integers: by hand for a small graph, by count for the bundled detector."""

import onnx
from onnx import helper

from pssdet.engines.precision.quantise import place_qdq

PARAMETERS = ("w", "b", "half")


def graph_of(*nodes, outputs=("out",)):
    made = [
        helper.make_node(
            kind, [source, *rest], [target], name=name, **({"domain": "pssdet"} if "Roi" in kind else {})
        )
        for name, kind, source, target, *rest in nodes
    ]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
    )
    graph.initializer.extend(
        helper.make_tensor(name, onnx.TensorProto.FLOAT, [1], [1.0]) for name in PARAMETERS
    )
    return graph


def test_a_small_detector_layer_by_layer():
    found = place_qdq(
        graph_of(
            ("trunk/stem", "Conv", "image", "s", "w"),  # reads the picture
            ("trunk/a", "Conv", "s", "a", "w"),
            ("trunk/relu", "Relu", "a", "r"),
            ("trunk/offset", "Conv", "r", "raw", "w"),  # predicts offsets
            ("trunk/split", "Split", "raw", "o"),
            ("trunk/dcn", "DeformConv", "r", "d", "w", "o"),  # no integer kernel
            ("trunk/main", "Conv", "d", "m", "w"),
            ("trunk/sum", "Add", "m", "sum", "s"),
            ("trunk/relu2", "Relu", "sum", "c2"),
            ("trunk/p", "Conv", "c2", "p2", "w"),
            ("trunk/rpn", "Conv", "p2", "rpn", "w"),
            ("trunk/score", "Conv", "rpn", "score", "w"),  # its result is scores
            ("rpn/x", "Sigmoid", "score", "rois"),
            ("roi/x", "MultilevelRoiAlign", "p2", "f", "rois"),
            ("head/fc", "MatMul", "f", "h", "w"),
            ("head/bias", "Add", "h", "hb", "b"),
            ("head/relu", "Relu", "hb", "hr"),
            ("head/box", "MatMul", "hr", "box", "w"),  # its result is boxes
            ("head/box_bias", "Add", "box", "deltas", "b"),
            ("finish/x", "Exp", "deltas", "out"),
        )
    )
    assert found.layers == ("trunk/a", "trunk/main", "trunk/p", "trunk/rpn", "head/fc")
    assert found.activations == ("s", "d", "c2", "p2", "f")
    assert found.consumers == {*((name, 0) for name in found.layers), ("trunk/sum", 1)}


def test_pooling_between_rounded_tensors_reads_integers():
    nodes = [
        ("trunk/stem", "Conv", "image", "s", "w"),
        ("trunk/pool", "AveragePool", "s", "p"),
        ("trunk/short", "Conv", "p", "q", "w"),
        ("trunk/relu", "Relu", "q", "out"),
    ]
    assert place_qdq(graph_of(*nodes)).consumers == {("trunk/short", 0)}  # nobody else needs s rounded
    nodes.insert(3, ("trunk/other", "Conv", "s", "z", "w"))
    nodes.insert(4, ("trunk/relu1", "Relu", "z", "out1"))
    found = place_qdq(graph_of(*nodes, outputs=("out", "out1")))
    assert ("trunk/pool", 0) in found.consumers


def test_the_bundled_detector(mini_folder):
    graph = onnx.load(mini_folder / "model.onnx").graph
    found = place_qdq(graph)
    kinds = {node.name: node.op_type for node in graph.node}
    # Of 48 convolutions the first, five predictors of offsets and ten of the RPN stay;
    # of the head, two of four layers.
    assert [kinds[name] for name in found.layers].count("Conv") == 48 - 1 - 5 - 10
    assert [kinds[name] for name in found.layers].count("MatMul") == 2
    residual = [name for name, _ in found.consumers if kinds[name] == "Add"]
    assert len(residual) == 6  # the blocks; the FPN's sums stay
