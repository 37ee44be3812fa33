"""The steps about whole detectors: builds and their precision, the probe, agreement, latency, stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.input_shapes import STRIDE
from pssdet.engines.precision.operations import convolution_flops
from pssdet.engines.trt.plan.inspector import prove, summarise
from pssdet.engines.trt.plan.read_back import read_back
from pssdet.engines.trt.profiles import Profile
from pssdet.engines.trt.runtime.session import TensorRTSession
from pssdet.errors import EnvironmentMissing, GateFailed, some
from pssdet.models.matching import box_ious, detection_rows, greedy_pairs, match_detections
from pssdet.plugins.bindings.libraries import find_plugins
from pssdet.validation.gpu_check import engines
from pssdet.validation.gpu_check.bundle import OUTPUTS, Bundle, Tensors, save_arrays
from pssdet.validation.gpu_check.device import BareDevice, spread
from pssdet.validation.gpu_check.plan import Findings, Given

if TYPE_CHECKING:
    import onnx

WARM_UP, ITERATIONS, PROFILED = 5, 300, 30
SCORE, IOU = 0.3, 0.9  # detections above this score count, at this IoU in the scenes
FLOAT32_SHARE = 0.99  # of what ONNX Runtime finds

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
class ModelCase:
    """A bundle's model in one precision, by a step's argument ``CASE PRECISION``."""

    bundle: Bundle
    precision: str
    plan: Path

    @classmethod
    def of(cls, given: Given) -> ModelCase:
        """Opened; the scenes are run by the small detector's plan."""
        name, _, precision = given.argument.partition(" ")
        plan = given.work / f"{'mini' if name == 'scenes' else name}-{precision}.plan"
        return cls(Bundle(given.bundles / name), precision, plan)

    def profiles(self) -> tuple[Profile, ...]:
        """One for a picture alone and one for the largest batch, from the smallest sides to the largest."""
        sizes = np.array([each.padded_size for each in (*self.bundle.pictures, self.bundle.probe().picture)])
        low, high = sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist()
        if not self.bundle.case.seeded:  # a reader gives it pictures of any shape
            low, high = [STRIDE] * 2, [max(high)] * 2
        most = max(self.bundle.case.batches)
        alone = Profile((1, *low), (1, *high), (1, *high))
        return (alone, Profile((2, *low), (most, *high), (most, *high)))

    def session(self, *, graphs: bool = True) -> TensorRTSession:
        """The plan opened as users open it."""
        return TensorRTSession(self.plan, plugins=find_plugins(), cuda_graphs=graphs)


def build(given: Given) -> Findings:
    """Build the engine; half precision must be proved."""
    case = ModelCase.of(given)
    return build_model(case, case.bundle.model())


def build_model(case: ModelCase, model: onnx.ModelProto, stages: Sequence[str] = ()) -> Findings:
    """The engine of a bundle's model, or of one that was made from it."""
    reduced = case.precision != "fp32"
    present = {node.name for node in model.graph.node}
    kept = tuple(name for name in case.bundle.case.fp32 if name in present)
    profiles = case.profiles()
    built = engines.build(
        model, case.plan, profiles, fp32=kept if reduced else None, plugins=find_plugins(), stages=tuple(stages)
    )
    precisions = summarise(built.plan.layers, convolution_flops(model, profiles[0].opt))
    figures = {
        "seconds": built.seconds,
        "route": built.route,
        "MiB": round(case.plan.stat().st_size / 2**20, 1),
        "layers": precisions.layers,
        "FP16 share of the convolutions' operations": round(precisions.share("fp16"), 4),
        "float32 nodes": len(kept) if reduced else "all",
    }
    if not reduced:
        return Findings(figures)
    told = read_back(built.plan.layers, built.plan.held)
    figures["in float32 or unknown"] = some(precisions.wide) or "none"
    figures["held to float32, not told"] = some(told.not_told) or "none"
    try:
        prove(precisions, "fp16")
        told.prove()
    except GateFailed as error:
        return Findings(figures, [str(error)])
    return Findings(figures)


def probe(given: Given) -> Findings:
    """The detections of the probe against Paddle's."""
    case = ModelCase.of(given)
    wanted, limits = case.bundle.probe(), case.bundle.case.limits[case.precision]
    with case.session() as session:
        found = session.run(case.bundle.case.inputs([wanted.picture]))
    rows = [detection_rows(outputs, 0) for outputs in (found, wanted.outputs)]
    match = match_detections(rows[0], rows[1], limits["score"], limits["box"])
    share = match.matched / max(match.expected, 1)
    failures = []
    if not np.isfinite(rows[0]).all():
        failures.append("a detection is not finite")
    if share < limits["share"]:
        failures.append(f"{match.matched} of {match.expected} detections found, {limits['share']:.0%} must be")
    extra = sum(score > SCORE for score in match.unmatched_obtained)
    if extra > (1 - limits["share"]) * match.expected:
        failures.append(f"{extra} detections above score {SCORE} that Paddle does not have")
    figures = {
        "detections": match.expected,
        "matched": match.matched,
        "score": match.score,
        "box, px": match.box,
    }
    return Findings(figures, failures)


def stages(given: Given) -> Findings:
    """The engine built again to return its maps, and these against the reference's where they were sampled."""
    case = ModelCase.of(given)
    wanted, limit = case.bundle.probe(), case.bundle.case.limits[case.precision]["maps"]
    names = [name for name in wanted.positions if wanted.stages[name].shape[0] == 1]
    tapped = ModelCase(case.bundle, case.precision, case.plan.with_name(f"{case.plan.stem}-stages.plan"))
    built = build_model(tapped, case.bundle.model(), names)
    with tapped.session() as session:
        found = session.run(case.bundle.case.inputs([wanted.picture]))
    differences = {
        name: map_difference(found[name].reshape(-1)[wanted.positions[name]], wanted.stages[name][0])
        for name in names
    }
    failures = [
        f"{name} differs by {difference:.2g} of its largest value, the limit is {limit:g}"
        for name, difference in differences.items()
        if not difference <= limit
    ]
    return Findings({"of the largest value": differences}, [*built.failures, *failures])


def map_difference(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest difference, relative to the largest value wanted; large where a value is not finite."""
    difference = np.nan_to_num(np.abs(found.astype(np.float64) - wanted), nan=1e9, posinf=1e9)
    return float(difference.max() / max(float(np.abs(wanted).max()), 1e-30))


def scenes(given: Given) -> Findings:
    """All pictures against the references; the detections are written for AP, which is computed at home."""
    case = ModelCase.of(given)
    bundle = case.bundle
    with case.session() as session:
        outputs = [session.run(bundle.case.inputs([each])) for each in bundle.pictures]
    together = {name: np.concatenate([each[name] for each in outputs]) for name in OUTPUTS}
    save_arrays(given.work / f"{bundle.case.name}-{case.precision}.npz", together)
    figures = {name: matched(bundle.expected(name), together) for name in bundle.case.references}
    failures = []
    if not all(np.isfinite(together[name]).all() for name in ("boxes", "scores")):
        failures.append("a detection is not finite")
    share, least = figures["onnxruntime"]["share"], _least_share(case)
    if share < least:
        failures.append(f"{share:.1%} of ONNX Runtime's detections found, {least:.0%} must be")
    return Findings({"pictures": len(outputs), "bundle": bundle.identity()[:16], **figures}, failures)


def _least_share(case: ModelCase) -> float:
    if case.precision == "fp32":
        return FLOAT32_SHARE
    # Half precision reorders near ties, of which a model with drawn parameters has many.
    return 0.0 if case.bundle.case.seeded else case.bundle.case.limits[case.precision]["share"]


def times(given: Given) -> Findings:
    """Latency of every batch as users call it and without copies, and the share of each part."""
    case, cuda = ModelCase.of(given), BareDevice().cuda
    library = find_plugins()
    figures: dict[str, Any] = {}
    failures = []
    for batch in case.bundle.case.batches:
        inputs = case.bundle.cycled(batch)
        with case.session() as session:
            figures[f"N={batch}, with copies"] = spread(_host_times_us(session, inputs), 0.95, 0.99)
        with closing(engines.ResidentBatch(cuda, case.plan, library, inputs, graphs=True)) as resident:
            figures[f"N={batch}, memory in bytes"] = resident.memory()
            try:
                figures[f"N={batch}"] = spread(resident.times_us(ITERATIONS), 0.95, 0.99)
            except EnvironmentMissing as error:  # the other times are worth having
                failures.append(f"N={batch}: {error}")
        with closing(engines.ResidentBatch(cuda, case.plan, library, inputs, graphs=False)) as resident:
            layers = resident.layers_us(PROFILED)
            figures[f"N={batch}, shares"] = layer_shares(layers)
            slowest = sorted(layers.items(), key=lambda item: -item[1])[:5]
            figures[f"N={batch}, slowest layers in us"] = {name[:120]: round(us, 1) for name, us in slowest}
    return Findings(figures, failures)


def _host_times_us(session: TensorRTSession, inputs: Tensors) -> list[float]:
    times = []
    for _ in range(WARM_UP + ITERATIONS):
        started = perf_counter()
        session.run(inputs)
        times.append(1e6 * (perf_counter() - started))
    return times[WARM_UP:]


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

    Pairs are made greedily, the reference's best first.

    Returns:
        ``detections`` of the reference, ``matched`` of them, ``share`` (1 if there are none), the pairs'
        largest ``score`` difference, and the candidate's ``extra`` detections.
    """
    drifts: list[float] = []
    expected = extra = 0
    for index in range(len(candidate["count"])):
        wanted, found = (detection_rows(each, index).astype(np.float64) for each in (reference, candidate))
        wanted = wanted[wanted[:, 1] > SCORE]
        overlaps = box_ious(wanted[:, 2:], found[:, 2:])
        partners = (overlaps >= IOU) & (wanted[:, None, 0] == found[:, 0])
        rows, columns = greedy_pairs(np.where(partners, -overlaps, np.inf), row_by_row=True).T
        drifts += np.abs(found[columns, 1] - wanted[rows, 1]).tolist()
        expected += len(wanted)
        extra += int((np.delete(found[:, 1], columns) > SCORE).sum())
    share = len(drifts) / expected if expected else 1.0
    return {
        "detections": expected,
        "matched": len(drifts),
        "share": share,
        "score": max(drifts, default=0.0),
        "extra": extra,
    }
