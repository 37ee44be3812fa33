"""What several tests need and is slow to make: row 4 with seeded parameters, in Paddle and exported."""

from pathlib import Path

import numpy as np
import pytest
from reference import ROW4


@pytest.fixture(scope="session")
def row4_parameters():
    from pssdet.models.detector import TwoStageDetector
    from pssdet.models.reference_run import parameter_shapes
    from pssdet.models.seeded import seeded_parameters

    return seeded_parameters(parameter_shapes(TwoStageDetector(ROW4.architecture, ROW4.numerics)))


@pytest.fixture(scope="session")
def row4_model(row4_parameters):
    from pssdet.models.detector import TwoStageDetector
    from pssdet.models.reference_run import build_detector

    return build_detector(TwoStageDetector(ROW4.architecture, ROW4.numerics), row4_parameters)


@pytest.fixture(scope="session")
def row4_folder(tmp_path_factory):
    """Row 4 exported by the pipeline that users run, verification included."""
    from pssdet.export.pipeline import export_model

    folder = tmp_path_factory.mktemp("row4")
    export_model(ROW4, "none", folder)
    return folder


@pytest.fixture(scope="session")
def mini_folder(tmp_path_factory):
    """The bundled small detector exported, with its engines inside: paddle-fp32, onnxruntime-fp32 and -fp16."""
    from pssdet.engines.builder import build_engine, engine_folder
    from pssdet.engines.catalogue import choose_backend
    from pssdet.export.pipeline import export_model
    from pssdet.models.zoo import find

    folder = tmp_path_factory.mktemp("mini")
    export_model(find("mini_faster"), "", folder)
    for name, precision in (("paddle", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "fp16")):
        backend = choose_backend(name, precision)
        build_engine(folder, backend, precision, engine_folder(folder, backend, precision))
    return folder


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory):
    """A narrow classifier exported by the pipeline that users run, with seeded parameters."""
    from classifier_parts import NARROW_ENTRY

    from pssdet.export.classifier_pipeline import export_classifier

    folder = tmp_path_factory.mktemp("classifier")
    export_classifier(NARROW_ENTRY, "none", folder)
    return folder


@pytest.fixture(scope="session")
def run_row4_onnx(row4_folder, tmp_path_factory):
    """Run row 4 in ONNX Runtime with every stage; cases may shift the background logit."""
    import onnx
    from onnx import numpy_helper

    from pssdet.engines.backends.onnx_runtime import OnnxRuntimeSession
    from pssdet.models.stages import tap_names

    sessions = {}

    def session(shift):
        if shift not in sessions:
            path = Path(tmp_path_factory.mktemp("shifted")) / "model.onnx"
            model = onnx.load(row4_folder / "model.onnx")
            bias = next(t for t in model.graph.initializer if t.name == "bbox_head.bbox_score.bias")
            values = numpy_helper.to_array(bias).copy()
            values[-1] += np.float32(shift)
            bias.CopyFrom(numpy_helper.from_array(values, bias.name))
            onnx.save(model, path)
            sessions[shift] = OnnxRuntimeSession(path, tap_names(ROW4.architecture), cuda=False)
        return sessions[shift]

    return lambda inputs, shift=0.0: session(shift).run(inputs)
