"""Finds the recipe of a build by tuning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pssdet.console import Progress
from pssdet.engines.precision.recipe import write_recipe
from pssdet.errors import BadInput
from pssdet.models.card import Precision, read_model_card


@dataclass(frozen=True)
class Tuning:
    """The options of ``pssdet build`` that find a recipe."""

    tune_precision: Path | None = None
    """Find the smallest recipe that keeps the accuracy, write it to this file, and build with it."""

    images: Path | None = None
    """Folder of pictures that --tune-precision judges by (default for a bundled detector: rendered scenes)."""

    annotations: Path | None = None
    """COCO instances file of --images: AP decides; without it, agreement with the float32 model."""

    def check(self, precision: Precision, scenes: Path | None) -> None:
        """Refuse what does not go together, before anything takes time.

        Args:
            precision: of the build.
            scenes: as ``artifacts.bundled_scenes`` gives it for the model.

        Raises:
            BadInput: an option lacks another one, or there is nothing to judge by.
        """
        if self.tune_precision is None:
            if self.images is not None or self.annotations is not None:
                raise BadInput("--images and --annotations are what --tune-precision judges by; give it too")
            return
        if precision not in ("fp16", "bf16"):
            raise BadInput("--tune-precision finds what --fp16 or --bf16 leaves in float32; give one, too")
        if self.annotations is not None and self.images is None:
            raise BadInput("--annotations need the folder of their pictures: --images DIR")
        if self.images is None and scenes is None:
            raise BadInput(
                "--tune-precision judges by pictures like those to come: --images DIR, a few hundred"
            )

    def run(self, model: Path, precision: Precision, scenes: Path | None, progress: Progress) -> None:
        """Find the recipe of the exported model in folder ``model`` and write it, if that was asked for.

        Raises:
            BadInput: the pictures or annotations cannot be used, or the file cannot be written.
            GateFailed: no recipe will do.
        """
        if self.tune_precision is None:
            return
        from pssdet.commands.artifacts import render_scenes
        from pssdet.validation.tune_precision import Pictures, tune

        images, annotations = self.images, self.annotations
        if images is None and scenes is not None:
            images, annotations = scenes, render_scenes(scenes, progress)
        if images is None:
            raise BadInput("there are no pictures to tune by; name their folder")
        pictures = Pictures.of(images, annotations, read_model_card(model))
        write_recipe(self.tune_precision, tune(model, precision, pictures, progress))
