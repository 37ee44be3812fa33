"""What several tests need and is slow to make: row 4 with seeded parameters, in Paddle and exported."""

from functools import partial

import parallel
import pytest

parallel.use_few_threads()

from reference import ROW4  # noqa: E402  (imports NumPy)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    return parallel.workers()


@pytest.fixture(scope="session", autouse=True)
def _few_threads():
    parallel.limit_onnxruntime()


@pytest.fixture(scope="session")
def row4_parameters():
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import parameter_shapes
    from pssdet.models.parameters import seeded_parameters

    return seeded_parameters(parameter_shapes(TwoStageDetector(ROW4.architecture, ROW4.numerics)))


@pytest.fixture(scope="session")
def row4_model(row4_parameters):
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import with_parameters

    return with_parameters(TwoStageDetector(ROW4.architecture, ROW4.numerics), row4_parameters)


@pytest.fixture(scope="session")
def row4_folder(tmp_path_factory):
    """Row 4 exported by the pipeline that users run, verification included."""
    from pssdet.export.pipeline import export_model

    return parallel.shared_folder(tmp_path_factory, "row4", lambda folder: export_model(ROW4, "none", folder))


@pytest.fixture(scope="session")
def mini_folder(tmp_path_factory):
    """The bundled small detector exported, with its engines inside: paddle-fp32, onnxruntime-fp32 and -fp16."""
    from pssdet.engines.build_engine import build_engine, engine_folder
    from pssdet.engines.registry import choose_backend
    from pssdet.export.pipeline import export_model
    from pssdet.models.zoo import find

    def make(folder):
        export_model(find("mini_faster"), "", folder)
        for name, precision in (("paddle", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "fp16")):
            backend = choose_backend(name, precision)
            build_engine(folder, backend, precision, engine_folder(folder, backend, precision))

    return parallel.shared_folder(tmp_path_factory, "mini", make)


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory):
    """A narrow classifier exported by the pipeline that users run, with seeded parameters."""
    from classifier_parts import NARROW_ENTRY

    from pssdet.export.pipeline import export_model

    return parallel.shared_folder(
        tmp_path_factory, "classifier", lambda folder: export_model(NARROW_ENTRY, "none", folder)
    )


@pytest.fixture(scope="session")
def row4(row4_model, row4_folder, tmp_path_factory):
    """Row 4 in Paddle and in ONNX Runtime, with every stage."""
    import onnx
    from row_models import RowModel

    exported = onnx.load(row4_folder / "model.onnx")
    return RowModel(ROW4, row4_model, exported, tmp_path_factory.mktemp("row4-shifted"))


@pytest.fixture(scope="session")
def run_row4_onnx(row4):
    """Run row 4 in ONNX Runtime with every stage; cases may shift the background logit."""
    return row4.run_onnx


@pytest.fixture(scope="session")
def row(request, tmp_path_factory):
    """The row of an indirect parameter, or a bundled detector, in both forms, with every stage."""
    from row_models import row_model, write_row

    if request.param == 4:
        return request.getfixturevalue("row4")
    if request.param == "mini_faster":
        exported = request.getfixturevalue("mini_folder") / "model.onnx"
    else:
        convert = partial(write_row, request.param)
        exported = parallel.shared_folder(tmp_path_factory, f"row{request.param}", convert) / "model.onnx"
    return row_model(request.param, tmp_path_factory.mktemp("shifted"), exported)
