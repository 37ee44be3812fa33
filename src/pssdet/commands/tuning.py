"""A build's recipe, found by tuning: what to judge by, and where the result goes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pssdet.commands.artifacts import render_scenes
from pssdet.console import Progress
from pssdet.engines.precision.recipe import write_recipe
from pssdet.errors import BadInput
from pssdet.models.card import Precision, read_model_card


class Tuning(NamedTuple):
    """What ``--tune-precision`` was told.

    Attributes:
        target: the recipe's file.
        images: folder of pictures; None: the bundled detectors' scenes.
        annotations: COCO instances file of the pictures, by whose AP recipes are judged; None: by agreement.
    """

    target: Path | None
    images: Path | None
    annotations: Path | None

    def check(self, precision: Precision, scenes: Path | None) -> None:
        """Refuse what does not go together, before anything takes time.

        Args:
            precision: of the build.
            scenes: as ``on_demand.bundled_scenes`` gives it for the model.

        Raises:
            BadInput: an option lacks another one, or there is nothing to judge by.
        """
        if self.target is None:
            if self.images is not None or self.annotations is not None:
                raise BadInput("--images and --annotations are what --tune-precision judges by; give it too")
            return
        if precision != "fp16":
            raise BadInput("--tune-precision finds what --fp16 leaves in float32; give both")
        if self.annotations is not None and self.images is None:
            raise BadInput("--annotations need the folder of their pictures: --images DIR")
        if self.images is None and scenes is None:
            raise BadInput("--tune-precision judges by pictures like those to come: --images DIR, a few hundred")

    def run(self, model: Path, scenes: Path | None, progress: Progress) -> None:
        """Find the recipe of the exported model in folder ``model`` and write it, if that was asked for.

        Raises:
            BadInput: the pictures or annotations cannot be used, or the file cannot be written.
            GateFailed: no recipe will do.
        """
        if self.target is None:
            return
        from pssdet.validation.tune_precision import Pictures, tune

        images, annotations = self.images, self.annotations
        if images is None and scenes is not None:
            images, annotations = scenes, render_scenes(scenes, progress)
        if images is None:
            raise BadInput("there are no pictures to tune by; name their folder")
        pictures = Pictures.of(images, annotations, read_model_card(model))
        write_recipe(self.target, tune(model, pictures, progress))
