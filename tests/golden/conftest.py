"""The bundled cascade, exported with its engines like ``mini_folder``."""

import parallel
import pytest


@pytest.fixture(scope="session")
def mini_cascade_folder(tmp_path_factory):
    from pssdet.engines.build_engine import build_engine, engine_folder
    from pssdet.engines.registry import choose_backend
    from pssdet.export.pipeline import export_model
    from pssdet.models.zoo import find

    def make(folder):
        export_model(find("mini_cascade"), "", folder)
        for name, precision in (("paddle", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "fp16")):
            backend = choose_backend(name, precision)
            build_engine(folder, backend, precision, engine_folder(folder, backend, precision))

    return parallel.shared_folder(tmp_path_factory, "mini_cascade", make)
