"""A build where nothing is installed but NumPy, onnx and msgspec, TensorRT 8.6 and the GPU being stand-ins.

``build_alone.py MODEL OUT [--wrong]`` builds an FP16 engine of an exported model and prints, as JSON, what
proved it. What plays the engine answers with the export's probe; ``--wrong`` moves its boxes by nine pixels.
"""

import json
import os
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("onnxruntime", "openvino", "paddle", "cv2", "rich", "cyclopts", "hotcoco", "torch", "cuda")


def main(model, out, *, wrong):
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "fakes")]
    sys.modules.update(dict.fromkeys(ABSENT))  # as if they were not installed
    import fake_trt_build
    import numpy as np

    from pssdet.engines.backends import tensorrt_gpu
    from pssdet.engines.build_engine import build_engine
    from pssdet.engines.devices import Gpu
    from pssdet.engines.trt.plan import builder
    from pssdet.engines.trt.runtime import session
    from pssdet.errors import PssDetError
    from pssdet.models.card import read_model_card
    from pssdet.models.probe import read_probe

    answers = read_probe(model, read_model_card(model).probe).tensors

    class Session:
        def __init__(self, plan, **_):
            self.outputs = json.loads(plan.read_text())["outputs"]

        def run(self, inputs):
            assert inputs["image"].dtype == np.float32
            found = {name: answers[name] for name in self.outputs}
            return found | {"boxes": found["boxes"] + np.float32(9)} if wrong else found

        def close(self):
            pass

    sys.modules["tensorrt"] = fake_trt_build.FakeTensorRT("8.6.0")
    tensorrt_gpu.cuda_device_count = lambda: 1
    tensorrt_gpu.gpu = lambda: Gpu("Tesla V100-SXM2-16GB", (7, 0), "12.4", "550.54.15")
    builder.load_plugins = lambda trt, path: None
    session.TensorRTSession = Session
    library = out.parent / "libpssdet_plugins.so"
    library.write_bytes(b"plugins")
    os.environ |= {"PSSDET_PLUGINS": str(library), "PSSDET_CACHE": str(out.parent / "cache")}
    try:
        card = build_engine(model, tensorrt_gpu.BACKEND, "fp16", out)
    except PssDetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    held = {outcome: len(nodes) for outcome, nodes in card.layers.held.items()}
    cases = [[record.case, record.stage, record.passed] for record in card.verification]
    print(
        json.dumps(
            {"python": platform.python_version(), "cases": cases, "held": held, "versions": card.versions}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), wrong="--wrong" in sys.argv))
