"""The parity report as data: the contents of ``report.json``, from which all else is made."""

from __future__ import annotations

from typing import Literal

import msgspec

from pssdet.models.zoo import Published

SCHEMA = 2

#: PASS: equal within the margin. FAIL: not. INCONCLUSIVE: too few images to tell.
Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class ModelIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model whose engines were compared; ``weights_sha256`` is empty for seeded parameters."""

    model: str
    weights_sha256: str
    onnx_sha256: str


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was compared, where and how; enough to repeat it.

    Attributes:
        images_sha256: over the names and contents of the image files, in order.
        commit: of the repository; empty outside of one, ``-dirty`` at its end if files were changed.
        created: UTC time, ISO 8601.
    """

    models: tuple[ModelIdentity, ...]
    annotations_sha256: str
    images: int
    images_sha256: str
    commit: str
    command: str
    machine: str
    versions: dict[str, str]
    created: str


class Speed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Throughput of one engine over the evaluated images.

    Attributes:
        latency_ms: percentiles p50, p90 of one image at batch 1.
        includes: what the wall time contains; ``excludes`` what it does not.
    """

    images_per_second: float
    latency_ms: dict[str, float]
    includes: str
    excludes: str
    batch: int


class EngineResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One engine on the data set.

    Attributes:
        name: unique among the model's engines, e.g. ``onnxruntime-fp32``.
        emulated: its precision is emulated: the accuracy counts, the speed does not.
        stats: the 12 COCO statistics, fractions 0..1; -1 where nothing can be said, empty if the engine failed.
        detections: above the detector's own score threshold, over all images.
        failure: why the engine gave no result; empty if it did.
    """

    model: str
    name: str
    backend: str
    precision: str
    emulated: bool
    stats: dict[str, float]
    detections: int
    speed: Speed | None
    failure: str


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts between successive edges."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Detections of candidate and reference matched one to one: same image and class, IoU at least 0.5.

    Attributes:
        threshold: only detections with at least this score count.
        matched_share: matched / reference detections; 1 if there are none.
        score_drift: percentiles p50, p99, max of |difference of scores|.
        score_shift: mean of (candidate score - reference score); ``score_histogram`` is of the same.
        iou_loss: percentiles p50, p99, max of 1 - IoU.
    """

    threshold: float
    matched_share: float
    unmatched_reference: int
    unmatched_candidate: int
    score_drift: dict[str, float]
    score_shift: float
    iou_loss: dict[str, float]
    score_histogram: Histogram
    iou_histogram: Histogram


class Disagreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image on which two engines differ most; ``picture`` is a JPEG of both's boxes, base64."""

    image: str
    reason: str
    picture: str


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate engine against the reference engine of its model.

    Attributes:
        delta_ap: AP of the candidate minus that of the reference.
        ci90: of ``delta_ap``, paired bootstrap over images, percentile interval; ``ci95`` likewise.
        margin: largest difference that counts as equal, either way; a fraction like AP.
        images_to_decide: for INCONCLUSIVE, about how many images would decide.
        first_broken_stage: where the data first differ beyond the limits; empty if nowhere or not compared.
        agreement: None if an engine failed.
    """

    model: str
    candidate: str
    reference: str
    delta_ap: float
    ci90: tuple[float, float]
    ci95: tuple[float, float]
    replicas: int
    seed: int
    margin: float
    verdict: Verdict
    images_to_decide: int
    reason: str
    first_broken_stage: str
    agreement: Agreement | None
    disagreements: tuple[Disagreement, ...] = ()


class PublishedRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published detector and what was measured of it here; None means not measured."""

    row: int
    model: str
    published: Published
    measured_ap: float | None
    measured_fps: float | None


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``report.json``; ``warnings`` say what was left out and why, and what else a reader must know."""

    identity: Identity
    engines: tuple[EngineResult, ...]
    comparisons: tuple[Comparison, ...]
    published: tuple[PublishedRow, ...]
    warnings: tuple[str, ...]
    schema: int = SCHEMA
