"""A training run's state, to resume from, and its result: the checkpoint and the curve."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import paddle

from pssdet.errors import BadInput
from pssdet.files import staged_folder, write_atomically
from pssdet.training.loop import CurveRow, Run
from pssdet.training.trainable_detector import LOSSES

STATE = "state.npz"
_MODEL = "model/"


def save_state(run: Run, folder: Path) -> None:
    """Write all that ``resume`` needs."""
    arrays = {_MODEL + name: tensor.numpy() for name, tensor in run.model.state_dict().items()}
    rows = np.array([(row.step, row.rate, row.seconds, *row.losses) for row in run.rows])
    plan = np.frombuffer(msgspec.json.encode(run.config), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, plan=plan, step=run.step, moments=run.optimiser.moments, rows=rows, **arrays)
    write_atomically(folder / STATE, stream.getvalue())


def resume(run: Run, folder: Path) -> None:
    """Continue from the folder's state, if there is one.

    Raises:
        BadInput: it is the state of another configuration, or damaged.
    """
    path = folder / STATE
    if not path.exists():
        return
    try:
        with np.load(path) as state:
            arrays = dict(state)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} cannot be read ({error}); delete it to train from the start") from error
    if arrays["plan"].tobytes() != msgspec.json.encode(run.config):
        raise BadInput(f"{path} is the state of another plan; delete it, or choose another folder")
    run.step = int(arrays["step"])
    run.optimiser.moments[:] = arrays["moments"]
    run.rows = [
        CurveRow(int(step), rate, tuple(losses), seconds) for step, rate, seconds, *losses in arrays["rows"].tolist()
    ]
    values = {name.removeprefix(_MODEL): value for name, value in arrays.items() if name.startswith(_MODEL)}
    run.model.set_state_dict(values)


def write_result(run: Run, folder: Path, name: str) -> list[Path]:
    """Write the checkpoint NAME.pdparams and the curve NAME.csv to ``folder``.

    The curve has one row for every ``config.report`` steps: the learning rate of the row's last step,
    the mean losses of its steps and the seconds they took.
    """
    lines = [",".join(("step", "rate", *LOSSES, "seconds"))]
    for row in run.rows:
        losses = ",".join(f"{loss:.4f}" for loss in row.losses)
        lines.append(f"{row.step},{row.rate:.3e},{losses},{row.seconds:.1f}")
    names = [f"{name}.pdparams", f"{name}.csv"]
    with staged_folder(folder) as stage:
        paddle.save(run.model.state_dict(), str(stage / names[0]))
        (stage / names[1]).write_text("\n".join(lines) + "\n")
    return [folder / each for each in names]
