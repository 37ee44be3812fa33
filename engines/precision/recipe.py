"""Which nodes of a half-precision detector stay in float32: JSON files with the fields of ``Recipe``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pssdet.errors import BadInput, some
from pssdet.files import write_atomically

if TYPE_CHECKING:
    import onnx

    from pssdet.models.card import Precision, RecipeRecord

#: Where nodes may run in half precision: ``TRUNK_NODES`` and ``HEAD_NODES`` of ``models.stages``.
HALF_PREFIXES = ("trunk/", "head/")

_FOLDER = Path(__file__).resolve().parent / "recipes"
#: Inputs of DeformConv that are predicted: offset and mask.
_PREDICTED = (2, 4)
_DEFAULT_NOTE = "offsets and masks of deformable convolutions, where half precision would move the samples"


@dataclass(frozen=True)
class Recipe:
    """Nodes that stay in float32.

    Attributes:
        fp32: names of the exported model's nodes, each beginning as one of ``HALF_PREFIXES``.
        model: name of the configuration that they belong to.
        note: why they do, for people.
    """

    fp32: tuple[str, ...]
    model: str
    note: str

    @property
    def sha256(self) -> str:
        """Hash of the content, which is that of the file as ``write_recipe`` writes it."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """The recipe's file."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    def record(self) -> RecipeRecord:
        """What an engine's card says of the recipe."""
        from pssdet.models.card import RecipeRecord  # hosts that rewrite graphs may lack msgspec

        return RecipeRecord(self.sha256, self.fp32, self.note)

    def check(self, graph: onnx.GraphProto) -> None:
        """Raise ``BadInput`` if the recipe names nodes that this graph of an exported model lacks."""
        missing = sorted(set(self.fp32) - {node.name for node in graph.node})
        if missing:
            raise BadInput(
                f"the recipe of {self.model} names nodes that the model does not have ({some(missing)});"
                " it was made for another model or export"
            )


def read_recipe(path: Path) -> Recipe:
    """Read a recipe's file; raises ``BadInput`` if it cannot be read or holds no recipe."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"the recipe {path} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not a recipe: no JSON ({error})") from error
    if reason := "; ".join(_faults(fields)):
        raise BadInput(f"{path} is not a recipe: {reason}")
    return Recipe(fp32=tuple(fields["fp32"]), model=fields["model"], note=fields["note"])


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe's file; raises ``BadInput`` if the folder cannot be written to."""
    write_atomically(path, recipe.encode())


def chosen_recipe(
    path: Path | None, model: str, graph: onnx.GraphProto, precision: Precision | None = None
) -> Recipe:
    """The recipe of a build, of the file or without one by ``recipe_for``; it fits the graph.

    Raises:
        BadInput: the file is no recipe, or one for another model.
    """
    recipe = recipe_for(model, graph, precision) if path is None else read_recipe(path)
    recipe.check(graph)
    return recipe


def recipe_for(model: str, graph: onnx.GraphProto, precision: Precision | None = None) -> Recipe:
    """The recipe that ships for a configuration, or ``default_recipe`` for one without."""
    shipped = shipped_recipe(model, precision)
    return read_recipe(shipped) if shipped is not None else default_recipe(model, graph)


def shipped_recipe(model: str, precision: Precision | None = None) -> Path | None:
    """The file that ships for a configuration in one precision, else for it in any; None if there is none."""
    names = [f"{model}.{precision}.json"] if precision is not None else []
    files = (_FOLDER / name for name in [*names, f"{model}.json"])
    return next((path for path in files if path.is_file()), None)


def default_recipe(model: str, graph: onnx.GraphProto) -> Recipe:
    """Keep what predicts offsets and masks: from each deformable layer back to a convolution."""
    producers = {name: node for node in graph.node for name in node.output}
    predictors = {
        name
        for node in graph.node
        if node.op_type == "DeformConv"
        for position in _PREDICTED
        if position < len(node.input)
        for name in _predictor(producers, node.input[position])
    }
    return Recipe(
        fp32=tuple(node.name for node in graph.node if node.name in predictors), model=model, note=_DEFAULT_NOTE
    )


def _predictor(producers: dict[str, onnx.NodeProto], name: str) -> Iterator[str]:
    """Nodes from an offset or mask back to the convolution that predicts it, included."""
    while (node := producers.get(name)) is not None and node.name.startswith(HALF_PREFIXES):
        yield node.name
        if node.op_type == "Conv":
            return
        name = node.input[0]


def _faults(fields: object) -> Iterator[str]:
    if not isinstance(fields, dict):
        yield "not a JSON object"
        return
    wanted = {"fp32", "model", "note"}
    if unknown := sorted(map(str, fields.keys() - wanted)):
        yield f"unknown field {some(unknown)}"
    if missing := sorted(wanted - fields.keys()):
        yield f"field {some(missing)} is missing"
        return
    for name in ("model", "note"):
        if not isinstance(fields[name], str):
            yield f"{name} is not a string"
    names = fields["fp32"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield "fp32 is not a list of strings"
        return
    if double := sorted({name for name in names if names.count(name) > 1}):
        yield f"fp32 names {some(double)} more than once"
    if outside := [name for name in names if not name.startswith(HALF_PREFIXES)]:
        yield f"fp32 names {some(outside)}, which is not of the trunk or head"
