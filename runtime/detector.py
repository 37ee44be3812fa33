"""The detector: pictures in, detections out, with an engine in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, final, get_args

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backend import AUTOMATIC, Pipelined, Session, Tensors, Threading
from pssdet.engines.registry import OpenEngine, open_engine
from pssdet.errors import BadInput, GateFailed
from pssdet.images import Image, NamedPicture, load
from pssdet.models.card import EngineCard
from pssdet.runtime.detections import Detections
from pssdet.runtime.preprocessing import Inputs, Preprocessor, choose_preprocessor
from pssdet.runtime.self_test import self_test as run_self_test

T = TypeVar("T")

#: ``own``: pictures of equal padded size run together; ``common``: a batch is padded to one size.
Padding: TypeAlias = Literal["own", "common"]


def check_batching(max_batch: int, padding: Padding) -> None:
    """Raise ``BadInput`` if a batch would hold no picture, or the padding has another name."""
    if max_batch < 1:
        raise BadInput(f"a batch cannot have {max_batch} pictures; choose 1 or more")
    if padding not in get_args(Padding):
        raise BadInput(f"there is no padding {padding!r}; choose {' or '.join(get_args(Padding))}")


def batches(shapes: Sequence[tuple[int, ...]], largest: int, padding: Padding) -> list[list[int]]:
    """Positions of the pictures that run together, at most ``largest``, in the order of their first ones.

    ``shapes`` are the pictures' padded ones; with ``own`` padding those of a batch are equal.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(shape if padding == "own" else (), []).append(index)
    return sorted(group[at : at + largest] for group in groups.values() for at in range(0, len(group), largest))


class Pipeline:
    """Runs the batches of any number of threads through one session.

    A ``Pipelined`` session is safe for threads by itself; any other runs one batch at a time.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = Lock()
        self._closed = False

    def outputs(self, batches: Iterable[tuple[T, Inputs]]) -> Iterator[tuple[T, Tensors]]:
        """The outputs of each batch, in their order, with the caller's item beside them.

        With a ``Pipelined`` session, batches are taken ahead of results: the caller prepares a batch while
        earlier ones are copied and computed. An error in preparing one is raised after their results.

        Raises:
            ValueError: the pipeline is closed.
        """
        if isinstance(self._session, Pipelined):
            return _overlapped(self._session, batches)
        return self._in_turn(batches)

    def close(self) -> None:
        """Free the session, once, after the batch that it may be running."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._session.close()

    def _in_turn(self, batches: Iterable[tuple[T, Inputs]]) -> Iterator[tuple[T, Tensors]]:
        for item, inputs in batches:
            with self._lock:
                if self._closed:
                    raise ValueError("the detector is closed")
                outputs = self._session.run(inputs)
            yield item, outputs


def _overlapped(session: Pipelined, batches: Iterable[tuple[T, Inputs]]) -> Iterator[tuple[T, Tensors]]:
    source = iter(batches)
    waiting: deque[tuple[T, Any]] = deque()
    while True:
        try:
            batch = next(source, None)
        except Exception:
            # Without overlap, the batches before would have given their results by now.
            yield from _collected(session, waiting)
            raise
        if batch is None:
            break
        if len(waiting) == session.depth:
            item, request = waiting.popleft()
            yield item, session.collect(request)
        item, inputs = batch
        waiting.append((item, session.submit(inputs)))
    yield from _collected(session, waiting)


def _collected(session: Pipelined, waiting: deque[tuple[T, Any]]) -> Iterator[tuple[T, Tensors]]:
    while waiting:
        item, request = waiting.popleft()
        yield item, session.collect(request)


#: Pictures prepared together, in batches: enough to find some of one size, and bounded memory.
_BATCHES_PER_CHUNK = 4

#: Called with the name of a picture that cannot be used, and the reason.
Refuse = Callable[[str, BadInput], None]


class _Prepared(NamedTuple):
    picture: NamedPicture
    input: Any  # as the preprocessor made it


#: Pictures that run together, each with its position among those that are not refused.
_Batch: TypeAlias = list[tuple[int, _Prepared]]


@final
class Detector:
    """Finds objects in pictures; use it as a context manager, or close it.

    By default pictures run together only with others of the same padded size, so each gets exactly
    what it gets alone. Threads may share a detector.

    Example:
        with Detector.load("artifacts/my_model/onnxruntime-fp32") as detector:
            for detections in detector(["street.jpg", "harbour.jpg"]):
                print(detections.above(0.5).to_json())
    """

    def __init__(self, engine: OpenEngine, max_batch: int = 8, padding: Padding = "own") -> None:
        check_batching(max_batch, padding)
        self._self_test = ""
        self._card = engine.card
        self._pipeline = Pipeline(engine.session)
        self._preprocessor = choose_preprocessor(engine.session, engine.card.model.preprocessing)
        self._max_batch = max_batch
        self._padding = padding

    @classmethod
    def load(
        cls,
        folder: Path | str,
        max_batch: int = 8,
        padding: Padding = "own",
        threading: Threading = AUTOMATIC,
        *,
        self_test: bool | None = None,
    ) -> Detector:
        """Open an engine's folder.

        Args:
            folder: where ``engine.json`` lies.
            max_batch: most pictures to run at once; memory grows with it.
            padding: ``own`` runs pictures of equal padded size together. ``common`` fills every batch, in
                the order of the pictures, and pads it to its largest height and width: fewer runs, but
                **other detections**, which depend on the batch-mates, since these networks see padding
                (``benchmarks/results/padding_drift.md``). Boxes are clipped to each picture's own size.
            threading: how a CPU engine uses the cores.
            self_test: whether the engine first runs its probe, whose detections are known. By default it does
                so where CPU instructions, GPU, driver, runtime or kernel library are not those of the build.

        Raises:
            BadInput: the folder holds no intact engine, it cannot do the self-test that is asked for, or there
                is no such batch, padding or threading.
            EnvironmentMissing: this machine cannot run it.
            GateFailed: the self-test failed.
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
        """What came of the engine's self-test, in words; empty if there was none."""
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
        return [detections for _, detections in self.stream(map(_named, range(len(images)), images))]

    def stream(
        self, pictures: Iterable[NamedPicture], refuse: Refuse | None = None
    ) -> Iterator[tuple[NamedPicture, Detections]]:
        """Detections of any number of pictures, in their order, with bounded memory.

        Args:
            pictures: consumed a few batches at a time, where possible ahead of the detections.
            refuse: called for a picture that cannot be used, which is left out; by default it raises.

        Raises:
            BadInput: a picture cannot be used, and there is no ``refuse``.
            GateFailed: the engine gave something that cannot be a detection.
        """
        done: dict[int, tuple[NamedPicture, Detections]] = {}
        following = 0
        for batch, outputs in self._pipeline.outputs(self._batches(pictures, refuse)):
            for index, (position, each) in enumerate(batch):
                done[position] = each.picture, self._detections(each, outputs, index)
            while following in done:
                yield done.pop(following)
                following += 1

    def close(self) -> None:
        """Free the engine, once; the detector cannot be used afterwards."""
        self._pipeline.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, picture: NamedPicture, refuse: Refuse | None) -> _Prepared | None:
        try:
            prepared = self._preprocessor.prepare(
                load(picture.image, picture.name), self._card.model.preprocessing
            )
        except BadInput as error:
            named = error.naming(picture.name)
            if refuse is None:
                raise named from error
            refuse(picture.name, named)
            return None
        # An engine may answer a NaN with "nothing found", so what goes in is checked as well.
        if isinstance(prepared.image, np.ndarray) and not np.isfinite(prepared.image).all():
            raise GateFailed(
                f"{picture.name} gives a network input that is not finite; check the card's mean and std"
            )
        return _Prepared(picture, prepared)

    def _batches(
        self, pictures: Iterable[NamedPicture], refuse: Refuse | None
    ) -> Iterator[tuple[_Batch, Inputs]]:
        remaining, position = iter(pictures), 0
        while chunk := list(islice(remaining, _BATCHES_PER_CHUNK * self._max_batch)):
            position = yield from self._chunk_batches(position, chunk, refuse)

    def _chunk_batches(
        self, position: int, chunk: Sequence[NamedPicture], refuse: Refuse | None
    ) -> Generator[tuple[_Batch, Inputs], None, int]:
        """Batches of some pictures, counted from ``position`` on without refused ones."""
        prepared = [each for each in (self._prepare(picture, refuse) for picture in chunk) if each]
        for members in batches([each.input.image.shape for each in prepared], self._max_batch, self._padding):
            inputs = self._preprocessor.collate([prepared[index].input for index in members])
            yield [(position + index, prepared[index]) for index in members], inputs
        return position + len(prepared)

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
