"""What was compared, where and how: enough to repeat a report."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from pssdet.files import sha256_of
from pssdet.machine import processor, usable_cores
from pssdet.models.card import ModelCard, installed_versions
from pssdet.validation.ground_truth import GroundTruth, Image
from pssdet.validation.parity_report.schema import Identity, ModelIdentity

_PACKAGES = ("paddlepaddle", "onnx", "onnxruntime", "numpy", "opencv-python-headless", "hotcoco")


def identity(models: Sequence[ModelCard], truth: GroundTruth, images: Sequence[Image]) -> Identity:
    """The identity of a report on engines of these models, made now.

    Args:
        images: those that were evaluated.
    """
    return Identity(
        models=tuple(ModelIdentity(each.model, each.weights.sha256, each.onnx.sha256) for each in models),
        annotations_sha256=truth.sha256,
        images=len(images),
        images_sha256=_sha256_of_images(images),
        commit=_commit(),
        command=_command(),
        machine=f"{processor()}, {usable_cores()} cores, {platform.system()} {platform.machine()}",
        versions=installed_versions(*_PACKAGES),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _command() -> str:
    """The command line; bytes of file names that are not UTF-8 are shown escaped."""
    words = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return words.encode("utf-8", "backslashreplace").decode()


def _sha256_of_images(images: Sequence[Image]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.name} {sha256_of(image.path)}\n".encode())
    return digest.hexdigest()


def _commit() -> str:
    """The commit of the repository that this code lies in; empty for an installed package."""
    folder = Path(__file__).resolve().parent
    try:
        if not _git(folder, "ls-files", Path(__file__).name):
            return ""
        changed = "-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else ""
        return _git(folder, "rev-parse", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()
