"""Finds the nodes of a detector that fp16 or bf16 must leave in float32, judged by its detections.

A recipe is judged on an engine that rounds as the precision does: OpenVINO's in bfloat16, ONNX Runtime's
emulation in half precision. With annotations AP and the limits of the report's verdict decide, without them the
agreement of the detections with those of the float32 model.
"""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import onnx

from pssdet.console import Progress
from pssdet.engines.backend import Backend, Session
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.precision.recipe import HALF_PREFIXES, Recipe, default_recipe
from pssdet.engines.registry import OpenEngine, backend_named
from pssdet.errors import BadInput, GateFailed
from pssdet.images import evenly_spaced, find_files, is_video
from pssdet.models.card import MODEL_ONNX, EngineCard, ModelCard, Precision, read_model_card
from pssdet.runtime.detections import Detections
from pssdet.runtime.detector import Detector
from pssdet.validation.agreement import THRESHOLD, agreement
from pssdet.validation.average_precision import coco_results, coco_statistics
from pssdet.validation.compare import SHARE, disagreement
from pssdet.validation.ground_truth import GroundTruth, read_ground_truth
from pssdet.validation.parity_report.schema import Agreement

#: The most pictures that recipes are judged on; each costs one run per recipe that is tried.
MOST_PICTURES = 300
#: Part of the detections of either model that must have a partner of the other with at least this IoU.
AGREEING_SHARE = 0.99
AGREEING_IOU = 0.9

_T = TypeVar("_T")

#: Whether a set of names is enough.
Holds = Callable[[frozenset[str]], bool]


class Pictures(NamedTuple):
    """What recipes are judged on; without ``truth`` detections are compared with the float32 model's."""

    paths: list[Path]
    truth: GroundTruth | None

    @classmethod
    def of(cls, folder: Path, annotations: Path | None, card: ModelCard, most: int = MOST_PICTURES) -> Pictures:
        """Those of a folder, with their annotations if there are any.

        Raises:
            BadInput: there are none, or the annotations are not of them or not of the detector's classes.
        """
        if annotations is not None:
            truth = read_ground_truth(annotations, folder, card.labels, card.model)
            return cls([image.path for image in truth.images[:most]], truth)
        found = [path for path in find_files([folder]) if not is_video(path)]
        return cls(evenly_spaced(found, most), None)


class Score(NamedTuple):
    """Whether a recipe reaches the target, and its figures in words."""

    holds: bool
    text: str


def tune(
    folder: Path,
    precision: Precision,
    pictures: Pictures,
    progress: Progress = lambda _: None,
    target: float | None = None,
) -> Recipe:
    """A minimal recipe of the exported model in ``folder``.

    What the default recipe keeps in float32, the predictors of DCN offsets, always stays; the rest is tried.

    Args:
        precision: one that a backend ``tunes``.
        pictures: a few hundred, like those that the detector will see.
        target: with annotations, the part of the float32 model's AP that may be lost or gained (default
            0.001, as in the parity report); else the share of detections that must agree (default 0.99).

    Raises:
        BadInput: the model's files are missing or altered, or there is nothing to judge by.
        GateFailed: not even a trunk and head in float32 do it.
    """
    return _Tuner(folder, precision, pictures, progress, target).recipe()


def tuning_backend(precision: Precision) -> Backend[Any] | None:
    """The backend whose engines recipes for this precision are judged on; None if there is none."""
    backends = (backend_named(name) for name in ("openvino", "onnxruntime"))
    return next((backend for backend in backends if precision in backend.tunes), None)


class _Tuner:
    def __init__(
        self, folder: Path, precision: Precision, pictures: Pictures, progress: Progress, target: float | None
    ) -> None:
        backend = tuning_backend(precision)
        if backend is None:
            raise BadInput(f"recipes for {precision} cannot be found by tuning")
        self._backend = backend
        self._precision = precision
        self._card = read_model_card(folder)
        self._model = onnx.load(self._card.onnx.verify(folder))
        self._pictures = pictures
        self._progress = progress
        self._always = default_recipe(self._card.model, self._model.graph).fp32
        default = AGREEING_SHARE if pictures.truth is None else SHARE[precision]
        self._target = default if target is None else target
        self._tried = 0
        self._scores: dict[frozenset[str], Score] = {}
        progress(f"running {self._card.model} in float32 on {len(pictures.paths)} pictures")
        self._expected = self._run(OnnxRuntimeSession(folder / MODEL_ONNX, (), cuda=False))
        self._ap = self._average_precision(self._expected)
        if self._ap is None:
            self._require_detections()

    def recipe(self) -> Recipe:
        found = minimal_set(_blocks(self._model.graph, self._always), lambda names: self._score(names).holds)
        if found is None:
            raise GateFailed(
                f"no recipe of {self._card.model} will do:"
                f" with all of trunk and head in float32 {self._worst()}"
            )
        kept = frozenset((*self._always, *found))
        note = f"{self._scores[frozenset(found)].text}; found by tuning on {len(self._pictures.paths)} pictures"
        if found:
            note += f"; with the default recipe {self._scores[frozenset()].text}"
        return Recipe(
            tuple(node.name for node in self._model.graph.node if node.name in kept), self._card.model, note
        )

    def _require_detections(self) -> None:
        """Require enough detections that a single one at the threshold does not decide on a recipe."""
        count = sum(len(each.above(THRESHOLD)) for each in self._expected)
        needed = math.ceil(1 / (1 - self._target)) if self._target < 1 else 1
        if count < needed:
            raise BadInput(
                f"the float32 model finds {count} objects above {THRESHOLD}"
                f" on these {len(self._expected)} pictures, too few to tell {self._target:.1%} by;"
                f" name pictures with {needed} or more"
            )

    def _worst(self) -> str:
        return max(self._scores.items(), key=lambda item: len(item[0]))[1].text

    def _score(self, names: frozenset[str]) -> Score:
        """Judge the model with these nodes, beside the default recipe's, in float32."""
        self._tried += 1
        kept = "the default recipe" if not names else f"{len(names)} more nodes in float32"
        self._progress(f"recipe {self._tried}: {kept}")
        float32 = (*self._always, *names)
        with tempfile.TemporaryDirectory(prefix="pssdet-tune-") as folder:
            try:
                score = self._judge(self._run(self._backend.open_trial(self._model, float32, Path(folder))))
            except GateFailed as error:  # NaN and infinity, or what OpenVINO cannot compile
                score = Score(holds=False, text=str(error))
        self._scores[names] = score
        return score

    def _run(self, session: Session) -> list[Detections]:
        with closing(Detector(OpenEngine(_engine_card(self._card), session), max_batch=1)) as detector:
            return [detector([path])[0] for path in self._pictures.paths]

    def _judge(self, found: Sequence[Detections]) -> Score:
        if self._ap is None:
            share = agreeing_share(agreement(self._expected, found))
            text = f"{share:.2%} of the detections above {THRESHOLD} agree with float32 at IoU {AGREEING_IOU}"
            return Score(share >= self._target, text)
        obtained = self._average_precision(found) or 0.0
        text = f"AP {100 * obtained:.2f} instead of {100 * self._ap:.2f} in float32"
        if beyond := disagreement(agreement(self._expected, found), self._precision):
            return Score(holds=False, text=f"{text}; {beyond}")
        return Score(abs(obtained - self._ap) <= self._target * self._ap, text)

    def _average_precision(self, found: Sequence[Detections]) -> float | None:
        truth = self._pictures.truth
        if truth is None:
            return None
        images = truth.images[: len(found)]
        return coco_statistics(truth, coco_results(truth, images, found), [image.id for image in images])["AP"]


def agreeing_share(between: Agreement) -> float:
    """Share of the detections above the threshold in either model that are pairs with enough IoU."""
    histogram = between.iou_histogram
    pairs = sum(histogram.counts)
    near = sum(
        count for edge, count in zip(histogram.edges, histogram.counts, strict=False) if edge >= AGREEING_IOU
    )
    everything = pairs + between.unmatched_reference + between.unmatched_candidate
    return near / everything if everything else 1.0


def _blocks(graph: onnx.GraphProto, always: Sequence[str]) -> list[list[str]]:
    """Nodes of trunk and head in the graph's order, cut where a stage's tensor (``c2``, ...) is made."""
    blocks: list[list[str]] = [[]]
    for node in graph.node:
        if node.name.startswith(HALF_PREFIXES):
            if node.name not in always:
                blocks[-1].append(node.name)
            if any("/" not in name for name in node.output):
                blocks.append([])
    return [block for block in blocks if block]


def _engine_card(card: ModelCard) -> EngineCard:
    """A card for an engine that exists in memory only, as far as the detector reads it."""
    return EngineCard(
        backend="onnxruntime",
        precision="fp16",
        emulated=True,
        files=(),
        fp32_nodes=0,
        versions={},
        machine="",
        build_seconds=0.0,
        verification=(),
        model=card,
    )


def minimal_set(groups: Sequence[Sequence[str]], holds: Holds) -> tuple[str, ...] | None:
    """A minimal set of names that ``holds``, in the order of ``groups``; None if not even all of them do.

    Whole groups are left out first, then single names: halves, quarters,
    ... before single ones, so that k needed ones among n take about 2 k
    log n questions. Nothing is assumed about how the names work together.
    """
    ask = functools.cache(holds)
    if ask(frozenset()):
        return ()
    if not ask(frozenset(name for group in groups for name in group)):
        return None
    needed = _reduced(groups, lambda left: ask(frozenset(name for group in left for name in group)))
    names = _reduced([name for group in needed for name in group], lambda left: ask(frozenset(left)))
    return tuple(names)


def _reduced(items: Sequence[_T], holds: Callable[[Sequence[_T]], bool]) -> list[_T]:
    left = list(items)
    size = max(1, len(left) // 2)
    while True:
        before = len(left)
        start = 0
        while start < len(left):
            without = left[:start] + left[start + size :]
            if without and holds(without):
                left = without
            else:
                start += size
        if size > 1:
            size //= 2
        elif len(left) == before:
            return left
