"""Rows 1 to 3 against the original static programs, stage by stage, in Paddle and in ONNX Runtime."""

import numpy as np
import pytest
from reference import DATA, ROWS, case_inputs, disagreements, load_case
from static_parameters import static_parameters

CASES = {
    row: sorted(path.stem for path in (DATA / "reference").glob(f"row{row}_*.npz") if "_preprocess_" not in path.stem)
    for row in (1, 2, 3)
}


class Row:
    """A row in Paddle and exported; the background logit of every head can be shifted, as some cases want it."""

    def __init__(self, row, folder):
        import onnx

        from pssdet.export.compose import compose
        from pssdet.export.convert import convert_head, convert_trunk
        from pssdet.models.detector import TwoStageDetector
        from pssdet.models.reference_run import build_detector
        from pssdet.models.static_names import to_structured

        self.entry = ROWS[row]
        arch = self.entry.architecture
        parameters, ignored = to_structured(static_parameters(row, DATA))
        assert ignored == 0
        self.model = build_detector(TwoStageDetector(arch, self.entry.numerics), parameters)
        heads = [convert_head(self.model, stage, folder) for stage in range(arch.stages)]
        self.onnx = compose(convert_trunk(self.model, folder), heads, arch, self.entry.numerics)
        onnx.checker.check_model(self.onnx, full_check=True)
        self.folder = folder
        self.biases = [name for name in parameters if "bbox_score" in name and name.endswith(".bias")]
        self.parameters = parameters
        self.sessions = {}

    def run_paddle(self, inputs, shift):
        from pssdet.models.reference_run import build_detector, run_reference

        shifted = {name: self.parameters[name].copy() for name in self.biases}
        for bias in shifted.values():
            bias[0] += np.float32(shift)
        return run_reference(build_detector(self.model, self.parameters | shifted), inputs)

    def run_onnx(self, inputs, shift=0.0):
        import onnx
        from onnx import numpy_helper

        from pssdet.engines.backends.onnx_runtime import OnnxRuntimeSession
        from pssdet.models.stages import tap_names

        if shift not in self.sessions:
            for tensor in self.onnx.graph.initializer:
                if tensor.name in self.biases:
                    values = self.parameters[tensor.name].copy()
                    values[0] += np.float32(shift)
                    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            path = self.folder / f"shifted-{shift}.onnx"
            onnx.save(self.onnx, path)
            self.sessions[shift] = OnnxRuntimeSession(path, tap_names(self.entry.architecture), cuda=False)
        return self.sessions[shift].run(inputs)


@pytest.fixture(scope="module", params=(1, 2, 3), ids="row{}".format)
def row(request, tmp_path_factory):
    return Row(request.param, tmp_path_factory.mktemp(f"row{request.param}"))


def test_every_stored_case_in_onnx_runtime(row, subtests):
    for name in CASES[row.entry.row]:
        with subtests.test(name):
            case = load_case(name)
            tensors = row.run_onnx(case_inputs(case), float(case.get("background_shift", 0)))
            assert disagreements(case, tensors) == []


def test_every_stored_case_in_paddle(row, subtests):
    for name in CASES[row.entry.row]:
        with subtests.test(name):
            case = load_case(name)
            tensors = row.run_paddle(case_inputs(case), float(case.get("background_shift", 0)))
            assert disagreements(case, tensors) == []


def test_the_graph_has_no_control_flow(row):
    kinds = {node.op_type for node in row.onnx.graph.node}
    kinds |= {node.op_type for function in row.onnx.functions for node in function.node}
    assert not kinds & {"If", "Loop", "Scan", "SequenceInsert", "BatchNormalization"}
    assert sum(node.op_type == "DeformConv" for node in row.onnx.graph.node) == (30 if row.entry.row == 3 else 13)


def test_an_image_of_a_batch_equals_the_image_alone(row):
    """The two synthetic inputs of a batch differ in content; the second is the first one's mirror image."""
    case = load_case(f"row{row.entry.row}_synthetic_square")
    first = case_inputs(case)
    second = first | {"image": np.ascontiguousarray(first["image"][..., ::-1])}
    alone = [row.run_onnx(first), row.run_onnx(second)]
    for order in ((0, 1), (1, 0)):
        inputs = [(first, second)[index] for index in order]
        together = row.run_onnx({name: np.concatenate([each[name] for each in inputs]) for name in first})
        for image, index in enumerate(order):
            np.testing.assert_array_equal(together["labels"][image], alone[index]["labels"][0])
            np.testing.assert_array_equal(together["count"][image], alone[index]["count"][0])
            np.testing.assert_allclose(together["boxes"][image], alone[index]["boxes"][0], rtol=0, atol=1e-3)
        assert disagreements(case, together, image=order.index(0)) == []
