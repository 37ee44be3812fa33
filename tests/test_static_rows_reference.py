"""Rows 1 to 3 against the original static programs, stage by stage, in Paddle, ONNX Runtime and OpenVINO."""

import numpy as np
import pytest
from reference import DATA, case_inputs, disagreements, load_case

#: How many cases are stored of each row.
STORED = {1: 7, 2: 6, 3: 6}

pytestmark = pytest.mark.parametrize("row", STORED, indirect=True, ids="row{}".format)


def stored_cases(row):
    paths = (DATA / "reference").glob(f"row{row.entry.row}_*.npz")
    names = sorted(path.stem for path in paths if "_preprocess_" not in path.stem)
    assert len(names) == STORED[row.entry.row]
    return names


@pytest.mark.parametrize("run", ["run_onnx", "run_openvino", "run_paddle"])
def test_every_stored_case(row, run, subtests):
    for name in stored_cases(row):
        with subtests.test(name):
            case = load_case(name)
            tensors = getattr(row, run)(case_inputs(case), float(case.get("background_shift", 0)))
            assert disagreements(case, tensors) == []


def test_the_graph_has_no_control_flow(row):
    kinds = {node.op_type for node in row.onnx.graph.node}
    kinds |= {node.op_type for function in row.onnx.functions for node in function.node}
    assert not kinds & {"If", "Loop", "Scan", "SequenceInsert", "BatchNormalization"}
    assert sum(node.op_type == "DeformConv" for node in row.onnx.graph.node) == (
        30 if row.entry.row == 3 else 13
    )


def test_an_image_of_a_batch_equals_the_original_program(row):
    """The other image is its mirror: tests/test_batches.py is about batch-mates, this about the full size."""
    case = load_case(f"row{row.entry.row}_synthetic_square")
    inputs = case_inputs(case)
    batch = {name: np.concatenate([value, value]) for name, value in inputs.items()}
    batch["image"][0] = inputs["image"][0, ..., ::-1]
    assert disagreements(case, row.run_onnx(batch), image=1) == []
