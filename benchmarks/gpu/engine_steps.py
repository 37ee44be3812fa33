"""The steps about one model's engines: builds, agreement, latency, time of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.bundle import OUTPUTS, Bundle, Tensors, save_arrays
from benchmarks.gpu.suite import Result, Step
from benchmarks.gpu.tensorrt_host import TensorRTHost
from benchmarks.gpu.timing import quantile
from benchmarks.no_dcn import without_dcn
from pssdet.engines.trt.profiles import Profile
from pssdet.engines.trt.runtime.session import TensorRTSession
from pssdet.errors import EnvironmentMissing
from pssdet.models.matching import box_ious, greedy_pairs

NO_DCN = "no_dcn"
WARM_UP = 5
SCORE, IOU = 0.3, 0.9  # detections above this score are compared, at this IoU

#: The first part that is found in a layer's name decides; TensorRT joins names of fused nodes.
_MARKS = (
    ("Reformat", "reformats"),
    ("DeformConv", "deformable convolutions"),
    ("GenerateProposals", "proposals"),
    ("MultilevelRoiAlign", "RoIAlign"),
    ("MulticlassNms", "NMS"),
    ("/decode/", "decoding"),
    ("finish/", "decoding"),
    ("propose/", "proposals"),
    ("head/", "head"),
    ("trunk/", "trunk"),
)
_OTHER = "other"
KINDS = tuple(dict.fromkeys([*(kind for _, kind in _MARKS), _OTHER]))


@dataclass(frozen=True)
class EngineWorkload:
    """How much each step does."""

    iterations: int = 500  # runs of each timing
    profiled: int = 30  # runs under the profiler
    pictures: int = 0  # most that are compared; 0: all


FULL = EngineWorkload()
QUICK = EngineWorkload(iterations=30, profiled=5, pictures=8)


@dataclass
class EngineBench:
    """A model on a host. Plans are built when a step first needs them and stay in ``work``."""

    host: TensorRTHost
    bundle: Bundle
    work: Path
    output: Path  # gets the detections, ``<stem>_<precision>.npz``
    stem: str
    workload: EngineWorkload = FULL
    builds: dict[str, dict[str, Any]] = field(default_factory=dict)

    def engine(self, label: str) -> Path:
        """The plan of ``fp32``, ``fp16`` or ``no_dcn`` (half precision, plain convolutions)."""
        path = self.work / f"{self.stem}_{label}.plan"
        if label not in self.builds or not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.builds[label] = self._build(label, path)
        return path

    def _build(self, label: str, path: Path) -> dict[str, Any]:
        model = self.bundle.model()
        if label == "fp32":
            return self.host.build(model, path, self.profiles(), None)
        if label == NO_DCN:
            model = without_dcn(model)
        present = {node.name for node in model.graph.node}
        kept = tuple(name for name in self.bundle.case.fp32 if name in present)
        return self.host.build(model, path, self.profiles(), kept)

    def profiles(self) -> tuple[Profile, ...]:
        """One for a picture alone and one for the largest batch, from the smallest sides to the largest."""
        sizes = np.array([each.padded_size for each in self.bundle.pictures])
        low, high = sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist()
        most = max(self.bundle.case.batches)
        alone = Profile((1, *low), (1, *high), (1, *high))
        together = Profile((2, *low), (most, *high), (most, *high))
        return (alone, together) if most > 1 else (alone,)


def steps(bench: EngineBench) -> Iterator[Step]:
    """The most decisive first: the half-precision engine, its agreement and its times, then the rest."""
    yield Step("build fp16", 180, partial(_build, bench, "fp16"))
    yield Step("agreement fp16", 20, partial(_agreement, bench, "fp16"))
    for batch in bench.bundle.case.batches:
        yield Step(latency_name("fp16", batch), 10, partial(_latency, bench, "fp16", batch))
    for batch in bench.bundle.case.batches:
        yield Step(layers_name(batch), 10, partial(_layers, bench, batch))
    yield Step("build fp32", 180, partial(_build, bench, "fp32"))
    yield Step("agreement fp32", 20, partial(_agreement, bench, "fp32"))
    first = bench.bundle.case.batches[0]
    yield Step(latency_name("fp32", first), 10, partial(_latency, bench, "fp32", first))
    yield Step(f"build {NO_DCN}", 180, partial(_build, bench, NO_DCN))
    for batch in bench.bundle.case.batches:
        yield Step(latency_name(NO_DCN, batch), 10, partial(_latency, bench, NO_DCN, batch))


def latency_name(label: str, batch: int) -> str:
    """The step that times an engine at a batch."""
    return f"latency {label} N={batch}"


def layers_name(batch: int) -> str:
    """The step that times the layers of the half-precision engine."""
    return f"layers fp16 N={batch}"


def _build(bench: EngineBench, label: str) -> Result:
    path = bench.engine(label)
    profiles = [astuple(each) for each in bench.profiles()]
    return {**bench.builds[label], "bytes": path.stat().st_size, "profiles": profiles}


def _agreement(bench: EngineBench, label: str) -> Result:
    bundle = bench.bundle
    pictures = bundle.pictures[: bench.workload.pictures or None]
    with bench.host.session(bench.engine(label), graphs=True) as session:
        outputs = [session.run(bundle.case.inputs([each])) for each in pictures]
    together = {name: np.concatenate([each[name] for each in outputs]) for name in OUTPUTS}
    save_arrays(bench.output / f"{bench.stem}_{label}.npz", together)
    finite = all(bool(np.isfinite(together[name]).all()) for name in ("boxes", "scores"))
    against = {name: matched(bundle.expected(name), together) for name in bundle.case.references}
    return {"pictures": len(pictures), "finite": finite, "against": against}


def _latency(bench: EngineBench, label: str, batch: int) -> Result:
    inputs, path = bench.bundle.cycled(batch), bench.engine(label)
    rows, unavailable = [], []
    for graphs in (True, False):
        with bench.host.session(path, graphs=graphs) as session:
            times = _host_times_us(session, inputs, bench.workload.iterations)
            rows.append({"copies": True, "graph": graphs, "fallback": session.graph_fallback, **spread(times)})
        with bench.host.resident(path, inputs, graphs=graphs) as resident:
            memory = resident.memory()
            try:
                times = resident.times_us(bench.workload.iterations)
                rows.append({"copies": False, "graph": graphs, **spread(times)})
            except EnvironmentMissing as error:  # the other times are worth having
                unavailable.append(str(error))
    return {"batch": batch, "rows": rows, "memory": memory, "unavailable": unavailable}


def _host_times_us(session: TensorRTSession, inputs: Tensors, iterations: int) -> list[float]:
    for _ in range(WARM_UP):
        session.run(inputs)
    times = []
    for _ in range(iterations):
        started = perf_counter()
        session.run(inputs)
        times.append(1e6 * (perf_counter() - started))
    return times


def spread(times_us: Sequence[float]) -> dict[str, float | int]:
    """Median, 95th and 99th percentile in microseconds, and of how many runs."""
    shares = {"median_us": 0.5, "p95_us": 0.95, "p99_us": 0.99}
    return {**{name: quantile(times_us, share) for name, share in shares.items()}, "runs": len(times_us)}


def _layers(bench: EngineBench, batch: int) -> Result:
    with bench.host.resident(bench.engine("fp16"), bench.bundle.cycled(batch), graphs=False) as resident:
        times: Mapping[str, float] = resident.layers_us(bench.workload.profiled)
    slowest = sorted(times.items(), key=lambda item: -item[1])
    return {
        "batch": batch,
        "layers": len(times),
        "total_us": sum(times.values()),
        "shares": layer_shares(times),
        "slowest": [{"name": name[:200], "us": time} for name, time in slowest[:15]],
    }


def kind_of(layer: str) -> str:
    """The part of the detector that a layer belongs to."""
    return next((kind for mark, kind in _MARKS if mark in layer), _OTHER)


def layer_shares(layers_us: Mapping[str, float]) -> dict[str, float]:
    """Each part's share of the time, in the order of ``KINDS``, without those that take none."""
    total = sum(layers_us.values())
    sums = dict.fromkeys(KINDS, 0.0)
    for name, time in layers_us.items():
        sums[kind_of(name)] += time
    return {kind: time / total for kind, time in sums.items() if time > 0}


def matched(reference: Tensors, candidate: Tensors) -> dict[str, Any]:
    """How many of the reference's detections the candidate has: same label, boxes that overlap, any score.

    Pairs are made greedily, the reference's best first; the candidate may have the first pictures only.

    Returns:
        ``detections`` of the reference, ``matched`` of them, ``share`` (1 if there are none), the pairs'
        largest ``score_difference`` and least ``iou``, ``extra`` detections of the candidate, and ``worst``,
        the index of the picture that lacks most (-1 if none lacks any).
    """
    found = [_pairs(_of(reference, index), _of(candidate, index)) for index in range(len(candidate["count"]))]
    drifts, ious, expected, extra = zip(*found, strict=True)
    total, pairs = sum(expected), sum(map(len, ious))
    missing = np.array(expected) - [len(each) for each in ious]
    return {
        "detections": total,
        "matched": pairs,
        "share": pairs / total if total else 1.0,
        "extra": sum(extra),
        "worst": int(missing.argmax()) if missing.any() else -1,
        "score_difference": float(np.abs(np.concatenate(drifts)).max(initial=0.0)),
        "iou": float(np.concatenate(ious).min(initial=1.0)),
        "above": SCORE,
        "at_iou": IOU,
    }


def _of(outputs: Tensors, index: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    count = int(outputs["count"][index])
    boxes, scores, labels = (outputs[name][index, :count] for name in ("boxes", "scores", "labels"))
    return boxes.astype(np.float64), scores.astype(np.float64), labels


def _pairs(
    reference: tuple[NDArray[Any], ...], candidate: tuple[NDArray[Any], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int, int]:
    """Score difference and IoU of each pair; how many there should be; the candidate's that are left."""
    boxes, scores, labels = (part[reference[1] > SCORE] for part in reference)
    overlaps = box_ious(boxes, candidate[0])
    partners = (overlaps >= IOU) & (labels[:, None] == candidate[2])
    rows, columns = greedy_pairs(np.where(partners, -overlaps, np.inf), row_by_row=True).T
    left = np.delete(candidate[1], columns)
    return candidate[1][columns] - scores[rows], overlaps[rows, columns], len(scores), int((left > SCORE).sum())
