"""Class names in the order of the labels: COCO's, the rendered shapes, numbers, or a user's own."""

from __future__ import annotations

from pathlib import Path

from pssdet.errors import BadInput

COCO = tuple(
    """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign
|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag
|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard
|tennis racket|bottle|wine glass|cup|fork|knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot
|hot dog|pizza|donut|cake|chair|couch|potted plant|bed|dining table|toilet|tv|laptop|mouse|remote
|keyboard|cell phone|microwave|oven|toaster|sink|refrigerator|book|clock|vase|scissors|teddy bear
|hair drier|toothbrush""".replace("\n", "").split("|")
)

#: COCO's category ids leave gaps (80 classes, ids 1..90); index is the 0-based label.
_COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in _COCO_GAPS)

#: Shapes of the rendered scenes in the order of the labels; COCO category ids are these plus one.
SHAPES = ("warm circle", "cool circle", "warm star", "cool star", "triangle", "square", "bar", "arc")

#: How label lists that count the background name it, on their first line.
_BACKGROUND = {"background", "__background__"}


def numbered(count: int) -> tuple[str, ...]:
    """Names for classes whose own names are not at hand: ``class 0``, ``class 1``, ..."""
    return tuple(f"class {label}" for label in range(count))


def read_labels(path: Path, count: int) -> tuple[str, ...]:
    """The names of a model's classes from a file: UTF-8, one per line; a name may occur twice.

    A first line ``background`` is left out where it is one line too many.

    Args:
        path: the file.
        count: how many classes the model has, the background not counted.

    Raises:
        BadInput: it cannot be read, has another number of names or an empty one, or counts the
            background among its ``count`` lines.
    """
    names = [line.strip() for line in _read(path).rstrip().split("\n")]
    background = names[0].casefold() in _BACKGROUND
    if background and len(names) == count + 1:
        del names[0]
    elif background or len(names) != count:
        found = f"{len(names)} line(s){', the first of them the background' if background else ''}"
        raise BadInput(f"{path} has {found}; the model has {count} classes: give {count} names, one per line")
    if "" in names:
        raise BadInput(f"{path} has an empty line among its {len(names)} names; give a name on every line")
    return tuple(names)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text; save the names as UTF-8, one per line") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check the path of the names") from error
