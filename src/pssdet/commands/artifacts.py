"""What commands need and make if it is missing: exported models, engines and scenes under ``artifacts/``."""

from __future__ import annotations

from pathlib import Path

from pssdet.console import Progress
from pssdet.engines.backend import DEFAULTS, PrecisionOptions
from pssdet.engines.build_engine import build_engine, engine_folder
from pssdet.engines.registry import backend_named, choose_backend, why_automatic
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.models.card import ENGINE_CARD, MODEL_CARD, EngineCard, Precision, read_engine_card, read_model_card
from pssdet.models.zoo import DEFAULT_MODEL, bundled, find

ARTIFACTS = Path("artifacts")

#: Scenes of the training's split, which no report judges on: for int8's ranges and the tuning of recipes.
SCENES = 200

#: Engines of each bundled detector that a report compares unless others are named.
_REPORTED: tuple[tuple[str, Precision], ...] = (
    ("paddle", "fp32"),
    ("onnxruntime", "fp32"),
    ("onnxruntime", "fp16"),
)
#: And these, where the CPU has the instructions.
_REPORTED_WHERE_POSSIBLE: tuple[tuple[str, Precision], ...] = (
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)


def model_folder(model: str, progress: Progress) -> Path:
    """The folder of an exported model; a model of the zoo that is not there yet is exported first.

    Args:
        model: a folder with ``model.json``, the name of one under ``artifacts/``, or a configuration name.
        progress: called at the start of each step of an export.

    Raises:
        BadInput: neither such a folder nor such a name.
        EnvironmentMissing: exporting needs packages or a download that cannot be had here.
        GateFailed: the export could not be verified.
    """
    if (Path(model) / MODEL_CARD).is_file():
        return Path(model)
    if (ARTIFACTS / model / MODEL_CARD).is_file():
        return ARTIFACTS / model
    if (Path(model) / ENGINE_CARD).is_file():
        raise BadInput(f"{model} is an engine, an exported model is needed; that may be {Path(model).parent}")
    if Path(model).exists():
        raise BadInput(
            f"{model} has no {MODEL_CARD}; name the folder of an exported model, or a model of the zoo"
        )
    entry = find(model)
    folder = ARTIFACTS / entry.name
    if not (folder / MODEL_CARD).is_file():
        from pssdet.export import require_export

        require_export()
        from pssdet.export.pipeline import export_model

        try:
            export_model(entry, "", folder, progress)
        except EnvironmentMissing as error:
            way_out = (
                f"{entry.name} is not exported yet:"
                f" python export/to_onnx.py --model {entry.name} --weights FILE"
            )
            raise EnvironmentMissing(f"{way_out} does it with a checkpoint of yours ({error})") from error
    return folder


def bundled_scenes(model: str) -> Path | None:
    """Folder of the scenes that calibrate and tune a bundled detector, rendered or not; None for other models.

    Args:
        model: as for ``model_folder``.
    """
    if Path(model).name not in {entry.name for entry in bundled()}:
        return None
    return ARTIFACTS / "scenes" / f"train-{SCENES}"


def render_scenes(folder: Path, progress: Progress) -> Path:
    """Render the scenes of ``bundled_scenes`` unless they are there; returns their annotation file."""
    from pssdet.validation.scenes.dataset import ensure_dataset

    progress(f"rendering {SCENES} scenes of the training's split")
    return ensure_dataset(folder, "train", SCENES)


def held_out_scenes(count: int, progress: Progress) -> tuple[Path, Path]:
    """Annotation file and folder of the first ``count`` held-out scenes, rendered if missing."""
    from pssdet.validation.scenes.dataset import ensure_dataset

    progress(f"rendering {count} held-out scenes")
    folder = ARTIFACTS / "scenes" / f"heldout-{count}"
    return ensure_dataset(folder, "heldout", count), folder


def default_engine(progress: Progress) -> Path:
    """The default model's float32 engine on the best backend of this machine, built if it is missing.

    Raises:
        EnvironmentMissing: it is missing and cannot be built here.
        GateFailed: an export could not be verified.
    """
    return engine_of(DEFAULT_MODEL, "auto", "fp32", progress)


def bundled_engines(progress: Progress) -> tuple[list[Path], list[str]]:
    """Folders of the bundled detectors' engines, built if missing; and what cannot run here, and why."""
    wanted, left_out = [*_REPORTED], []
    for name, precision in _REPORTED_WHERE_POSSIBLE:
        if (missing := backend_named(name).missing_for(precision)) is None:
            wanted.append((name, precision))
        else:
            left_out.append(f"not measured: {name} in {precision}: {missing}")
    return [engine_of(entry.name, *each, progress) for entry in bundled() for each in wanted], left_out


def engine_of(model: str, backend_name: str, precision: Precision, progress: Progress) -> Path:
    """The folder of a model's engine, built if it is missing or of another export.

    Raises:
        BadInput: there is no such model or backend.
        EnvironmentMissing: it is missing and cannot be built here.
        GateFailed: the export or the engine could not be proved.
    """
    backend = choose_backend(backend_name, precision)
    folder = model_folder(model, progress)
    target = engine_folder(folder, backend, precision)
    if not _is_of(target, folder):
        progress(f"building the {backend.name} engine of {folder.name} in {precision}")
        options = DEFAULTS
        scenes = bundled_scenes(model) if precision == "int8" else None
        if scenes is not None:
            render_scenes(scenes, progress)
            options = PrecisionOptions(calibration=scenes)
        reason = why_automatic(backend, precision) if backend_name == "auto" else ""
        build_engine(folder, backend, precision, target, progress, options, reason)
    return target


def _is_of(engine: Path, model: Path) -> bool:
    """Whether there is an engine, and of what is exported in ``model`` now."""
    if not (engine / ENGINE_CARD).is_file():
        return False
    return read_engine_card(engine).model == read_model_card(model)


def is_outdated(engine: Path, card: EngineCard) -> bool:
    """Whether the engine lies in the folder of a model that has been exported again since."""
    model = engine.resolve().parent
    return (model / MODEL_CARD).is_file() and read_model_card(model) != card.model
