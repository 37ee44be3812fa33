"""The detections of one picture, and the forms in which other programs want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.models.labels import COCO, COCO_CATEGORY_IDS


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of one picture, best score first.

    Attributes:
        boxes: float32 [D, 4], x1 y1 x2 y2 in pixels of the original picture.
        scores: float32 [D], 0..1.
        labels: int32 [D], 0-based; an index of ``names``.
        names: the name of every class that the detector knows.
        width, height: of the original picture, pixels.
        pixel_offset: the detector's ``numerics.pixel_offset``; with 1, x2 and y2 are a box's last pixel.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    names: tuple[str, ...]
    width: int
    height: int
    pixel_offset: int

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Detections:
        """Those with a score above ``threshold``."""
        keep = self.scores > threshold
        return replace(self, boxes=self.boxes[keep], scores=self.scores[keep], labels=self.labels[keep])

    def name(self, index: int) -> str:
        """The class name of one detection."""
        return self.names[int(self.labels[index])]

    def to_paddle_rows(self) -> NDArray[np.float32]:
        """Rows ``[label, score, x1, y1, x2, y2]``, float32 [D, 6], as in PaddleDetection's deploy/python.

        Labels are 0-based, as with dygraph models; static programs count the background and give 1 to 80.
        """
        return np.column_stack((self.labels.astype(np.float32), self.scores, self.boxes)).astype(np.float32)

    def to_coco_results(
        self, image_id: int, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, int | float | list[float]]]:
        """Entries of a COCO results file, ``bbox`` as x, y, width, height in original pixels.

        Args:
            image_id: the picture's id in the annotations.
            category_ids: the annotations' category id of each label; by default COCO's.

        Raises:
            BadInput: there are fewer ids than classes, or no ids for classes that are not COCO's.
        """
        if category_ids is None:
            if self.names != COCO:
                raise BadInput(f"the detector's {len(self.names)} classes are not COCO's; give category_ids")
            category_ids = COCO_CATEGORY_IDS
        if len(category_ids) < len(self.names):
            raise BadInput(
                f"{len(category_ids)} category ids are too few for {len(self.names)} classes;"
                " give one for each label"
            )
        corners = self.boxes.astype(np.float64)
        sizes = corners[:, 2:] - corners[:, :2] + self.pixel_offset
        rows = zip(
            self.labels.tolist(), self.scores.tolist(), np.hstack((corners[:, :2], sizes)).tolist(), strict=True
        )
        return [
            {"image_id": image_id, "category_id": category_ids[label], "bbox": bbox, "score": score}
            for label, score, bbox in rows
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """The detections as the ``detect`` command writes them: label, name, score, box x1 y1 x2 y2."""
        return [
            {
                "label": int(self.labels[index]),
                "name": self.name(index),
                "score": _shortest(self.scores[index]),
                "box": [_shortest(value) for value in self.boxes[index]],
            }
            for index in range(len(self))
        ]


def _shortest(value: np.float32) -> float:
    """The shortest number of the same float32: 0.87 instead of 0.8700000047683716."""
    return float(str(value))
