"""ONNX Runtime: the exported model as it is, on a CPU or through CUDA."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pssdet.console import Progress
from pssdet.engines.backend import AUTOMATIC, Backend, PrecisionOptions, Session, Threading
from pssdet.engines.devices import cuda_device_count, gpu
from pssdet.engines.in_threads import InThreads
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession, missing_onnx_runtime
from pssdet.engines.precision.recipe import HALF_PREFIXES, Recipe, chosen_recipe
from pssdet.errors import EnvironmentMissing
from pssdet.machine import usable_cores
from pssdet.models.card import MODEL_ONNX, EngineCard, Precision

if TYPE_CHECKING:
    import onnx


class _OnnxRuntimeBackend(Backend[PrecisionOptions]):
    """Copies the model (float32) or rewrites it; see ``engines/precision/``."""

    name = "onnxruntime"
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    files = (MODEL_ONNX,)
    packages = ("onnxruntime", "onnxruntime-gpu", "onnx", "numpy")
    options = PrecisionOptions
    threading = frozenset({"threads", "streams"})
    tunes = ("fp16",)

    def missing(self) -> str | None:
        return missing_onnx_runtime()

    def environment(self, card: EngineCard) -> dict[str, str]:
        """Also GPU and driver, where the engine runs through CUDA."""
        device = gpu() if not card.emulated and _has_cuda() else None
        return super().environment(card) | ({"GPU": device.name, "driver": device.driver} if device else {})

    def build(
        self, model: Path, draft: EngineCard, folder: Path, options: PrecisionOptions, progress: Progress
    ) -> EngineCard:
        """Write one ONNX file; int8 is emulated everywhere, half precision on machines without CUDA.

        Raises:
            BadInput: the file holds no recipe or one for another model, or the pictures cannot be used.
        """
        if draft.precision == "fp32":
            shutil.copyfile(model / MODEL_ONNX, folder / MODEL_ONNX)
            return draft
        import onnx

        exported = onnx.load(model / MODEL_ONNX)
        recipe = chosen_recipe(options.recipe, draft.model.model, exported.graph, draft.precision)
        draft = replace(draft, recipe=recipe.record())
        if draft.precision == "int8":
            from pssdet.engines.precision.quantise import quantised_model

            made = quantised_model(exported, model, draft.model, options.pictures(), progress, recipe=recipe)
            onnx.save(made.model, folder / MODEL_ONNX)
            return replace(draft, emulated=True, fp32_nodes=made.float_layers, calibration=made.calibration)
        from pssdet.engines.precision.half import emulate_half, half_region, to_half

        emulated = not _has_cuda()
        region = half_region(exported.graph, emulated=emulated, recipe=recipe)
        outside = sum(node.name.startswith(HALF_PREFIXES) for node in exported.graph.node) - len(region)
        (emulate_half if emulated else to_half)(exported, region)
        onnx.save(exported, folder / MODEL_ONNX)
        return replace(draft, emulated=emulated, fp32_nodes=outside)

    def open(
        self, folder: Path, card: EngineCard, taps: Sequence[str] = (), threading: Threading = AUTOMATIC
    ) -> Session:
        """Open a session; an emulated engine runs on the CPU, where its rounding was proved."""
        cuda = _has_cuda()
        if card.precision == "fp16" and not card.emulated and not cuda:
            raise EnvironmentMissing(
                "this engine computes in float16 on a GPU, a CPU would not round at all;"
                " build an emulated one here with python engines/build.py --fp16"
            )
        if cuda and not card.emulated:
            return InThreads(OnnxRuntimeSession(folder / MODEL_ONNX, taps, cuda=True), batch=8)
        streams = threading.chosen_streams()
        # Each stream brings a thread of its own to those that they share.
        shared = 1 + (threading.threads or usable_cores()) - streams
        threads = 0 if streams == 1 and not threading.threads else shared
        session = OnnxRuntimeSession(folder / MODEL_ONNX, taps, cuda=False, threads=threads)
        return InThreads(session, streams)

    def open_trial(self, exported: onnx.ModelProto, float32: Collection[str], folder: Path) -> Session:
        """Emulates half precision, as ``build`` does without CUDA."""
        import onnx

        from pssdet.engines.precision.half import emulate_half, half_region

        model = onnx.ModelProto.FromString(exported.SerializeToString())
        recipe = Recipe(tuple(float32), model="", note="")
        emulate_half(model, half_region(model.graph, emulated=True, recipe=recipe))
        onnx.save(model, folder / MODEL_ONNX)
        return OnnxRuntimeSession(folder / MODEL_ONNX, (), cuda=False)


def _has_cuda() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers() and cuda_device_count() > 0


BACKEND = _OnnxRuntimeBackend()
