"""The detector: pictures in, detections out, with an engine in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backend import AUTOMATIC, Pipelined, Tensors, Threading
from pssdet.engines.in_threads import InThreads
from pssdet.engines.registry import OpenEngine, open_engine
from pssdet.errors import BadInput, GateFailed
from pssdet.images import Image, NamedPicture, load
from pssdet.machine import usable_cores
from pssdet.models.card import EngineCard
from pssdet.models.preprocess import check_finite
from pssdet.runtime.batching import Padding, check_batching, in_batches
from pssdet.runtime.detections import Detections
from pssdet.runtime.overlap import map_in_threads, run_ahead
from pssdet.runtime.preprocessing import Inputs, Preprocessor, choose_preprocessor
from pssdet.runtime.self_test import self_test as run_self_test

#: Threads of a stream that read and prepare pictures; more would only wait for one another's results.
_READERS = min(4, usable_cores())

#: Called with the name of a picture that cannot be used, and the reason.
Refuse = Callable[[str, BadInput], None]


class _Prepared(NamedTuple):
    picture: NamedPicture
    input: Any  # as the preprocessor made it


class _Refused(NamedTuple):
    name: str
    error: BadInput


#: Pictures that run together, each with its position among those that are not refused.
_Batch: TypeAlias = list[tuple[int, _Prepared]]


@final
class Detector:
    """Finds objects in pictures; use it as a context manager, or close it.

    By default pictures run together only with others of the same padded size, so each gets exactly
    what it gets alone. Of several pictures, the next are read and prepared while the engine computes and
    while the caller uses earlier detections. Threads may share a detector.

    Example:
        with Detector.load("artifacts/my_model/onnxruntime-fp32") as detector:
            for detections in detector(["street.jpg", "harbour.jpg"]):
                print(detections.above(0.5).to_json())
    """

    def __init__(self, engine: OpenEngine, max_batch: int | None = None, padding: Padding = "own") -> None:
        session = engine.session if isinstance(engine.session, Pipelined) else InThreads(engine.session)
        self._max_batch = session.batch if max_batch is None else max_batch
        check_batching(self._max_batch, padding)
        # An engine may answer a NaN with "nothing found".
        check_finite(engine.card.model.preprocessing)
        self._self_test = ""
        self._card = engine.card
        self._session = session
        self._preprocessor = choose_preprocessor(engine.session, engine.card.model.preprocessing)
        self._padding = padding

    @classmethod
    def load(
        cls,
        folder: Path | str,
        max_batch: int | None = None,
        padding: Padding = "own",
        threading: Threading = AUTOMATIC,
        *,
        self_test: bool | None = None,
    ) -> Detector:
        """Open an engine's folder.

        Args:
            folder: where ``engine.json`` lies.
            max_batch: most pictures to run at once; memory grows with it. By default 8 on a GPU and 1 on a
                CPU, which is hardly faster per picture with several (``benchmarks/results/batches.md``).
            padding: ``own`` runs pictures of equal padded size together. ``common`` fills every batch, in
                the order of the pictures, and pads it to its largest height and width: fewer runs, but
                **other detections**, which depend on the batch-mates, since these networks see padding
                (``benchmarks/results/padding_drift.md``). Boxes are clipped to each picture's own size.
                It has no effect with a ``max_batch`` of 1, the default on a CPU.
            threading: how a CPU engine uses the cores. For many pictures, ``Threading(hint="throughput")``.
            self_test: whether the engine first runs its probe, whose detections are known. By default it does
                so where CPU instructions, GPU, driver, runtime or kernel library are not those of the build.

        Raises:
            BadInput: the folder holds no intact engine, it cannot do the self-test that is asked for, or there
                is no such batch, padding or threading.
            EnvironmentMissing: this machine cannot run it.
            GateFailed: the self-test failed, or the card's preprocessing gives values that are not finite.
        """
        engine = open_engine(Path(folder), threading=threading)
        with ExitStack() as on_failure:
            on_failure.callback(engine.session.close)
            detector = cls(engine, max_batch, padding)
            detector._self_test = run_self_test(Path(folder), engine, wanted=self_test)
            on_failure.pop_all()
        return detector

    @property
    def card(self) -> EngineCard:
        """The engine's card."""
        return self._card

    @property
    def self_test(self) -> str:
        """Result of the self-test, as a sentence for people; empty if there was none."""
        return self._self_test

    @property
    def preprocessor(self) -> Preprocessor:
        """Resizes and normalises the pictures; says on which device, and why there."""
        return self._preprocessor

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image, in the order of ``images``.

        Args:
            images: paths, bytes of encoded pictures, or uint8 [H, W, 3] **RGB** arrays.

        Raises:
            BadInput: there is no image, or one cannot be used.
            GateFailed: the engine gave something that cannot be a detection.
        """
        if isinstance(images, (str, bytes, Path)) or (isinstance(images, np.ndarray) and images.ndim == 3):
            raise BadInput("a sequence of images is needed; put the single image into a list")
        if len(images) == 0:
            raise BadInput("there are no images; give at least one")
        named = map(_named, range(len(images)), images)
        # One picture has nothing to overlap with; starting threads would only delay it.
        found = self._detected(map(self._prepare, named)) if len(images) == 1 else self.stream(named)
        return [detections for _, detections in found]

    def stream(
        self, pictures: Iterable[NamedPicture], refuse: Refuse | None = None
    ) -> Iterator[tuple[NamedPicture, Detections]]:
        """Detections of any number of pictures, in their order, with bounded memory.

        Args:
            pictures: taken up to a few batches ahead of the detections, in the caller's thread.
            refuse: called for a picture that cannot be used, which is left out; by default it raises.
                The caller's thread calls it, in the order of the pictures.

        Raises:
            BadInput: a picture cannot be used, and there is no ``refuse``.
            GateFailed: the engine gave something that cannot be a detection.
        """
        ahead = self._max_batch + _READERS
        with closing(map_in_threads(self._prepare, pictures, _READERS, ahead)) as prepared:
            yield from self._detected(prepared, refuse)

    def close(self) -> None:
        """Free the engine, once; the detector cannot be used afterwards."""
        self._session.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, picture: NamedPicture) -> _Prepared | _Refused:
        try:
            pixels = load(picture.image, picture.name)
            return _Prepared(picture, self._preprocessor.prepare(pixels, self._card.model.preprocessing))
        except BadInput as error:
            return _Refused(picture.name, error.naming(picture.name))

    def _detected(
        self, prepared: Iterable[_Prepared | _Refused], refuse: Refuse | None = None
    ) -> Iterator[tuple[NamedPicture, Detections]]:
        done: dict[int, tuple[NamedPicture, Detections]] = {}
        following = 0
        batches = self._batches(_usable(prepared, refuse))
        with closing(run_ahead(self._session, batches)) as results:
            for batch, outputs in results:
                for index, (position, each) in enumerate(batch):
                    done[position] = each.picture, self._detections(each, outputs, index)
                while following in done:
                    yield done.pop(following)
                    following += 1

    def _batches(self, prepared: Iterable[_Prepared]) -> Iterator[tuple[_Batch, Inputs]]:
        for batch in in_batches(prepared, _padded_shape, self._max_batch, self._padding):
            yield batch, self._preprocessor.collate([each.input for _, each in batch])

    def _detections(self, prepared: _Prepared, outputs: Tensors, index: int) -> Detections:
        names, count = self._card.model.labels, int(outputs["count"][index])
        scores, labels, boxes = (
            outputs[name][index, : max(count, 0)] for name in ("scores", "labels", "boxes")
        )
        if flaw := _flaw(count, scores, labels, boxes, len(names)):
            raise GateFailed(
                f"{prepared.picture.name}: the engine gave {flaw}; build it again, or at full precision"
            )
        order = np.argsort(-scores, kind="stable")
        height, width = prepared.input.original_size
        return Detections(
            boxes[order].astype(np.float32),
            scores[order].astype(np.float32),
            labels[order].astype(np.int32),
            names,
            width,
            height,
            self._card.model.numerics.pixel_offset,
        )


def _usable(prepared: Iterable[_Prepared | _Refused], refuse: Refuse | None) -> Iterator[_Prepared]:
    for each in prepared:
        if isinstance(each, _Prepared):
            yield each
        elif refuse is None:
            raise each.error
        else:
            refuse(each.name, each.error)


def _padded_shape(each: _Prepared) -> tuple[int, ...]:
    shape: tuple[int, ...] = each.input.image.shape
    return shape


def _named(index: int, image: Image) -> NamedPicture:
    name = f"image {index} of the list" if isinstance(image, (bytes, np.ndarray)) else str(image)
    return NamedPicture(name, "", image)


def _flaw(
    count: int, scores: NDArray[np.float32], labels: NDArray[np.int32], boxes: NDArray[np.float32], classes: int
) -> str | None:
    if count < 0 or count != len(scores):
        return f"a count of {count} detections"
    if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
        return "boxes or scores that are not finite"
    if ((labels < 0) | (labels >= classes)).any():
        return f"labels outside 0..{classes - 1}"
    return None
