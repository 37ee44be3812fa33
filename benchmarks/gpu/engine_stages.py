"""The stages about one model's engines: built, compared with what travelled, timed, taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.gpu.bundle import OUTPUTS, Parcel, save_arrays
from benchmarks.gpu.host import Order, Precision, Rig, Session, Shapes, Tensors
from benchmarks.gpu.layer_kinds import shares
from benchmarks.gpu.matching import matched
from benchmarks.gpu.no_dcn import plain_twin
from benchmarks.gpu.suite import Result, Stage
from benchmarks.gpu.timing import quantile
from pssdet.errors import EnvironmentMissing

TWIN = "twin"
WARM_UP = 5


@dataclass(frozen=True)
class EnginePlan:
    """How much of each stage is done.

    iterations: runs of each timing. profiled: runs under the profiler. pictures: most that are compared; 0: all.
    """

    iterations: int = 500
    profiled: int = 30
    pictures: int = 0


FULL = EnginePlan()
QUICK = EnginePlan(iterations=30, profiled=5, pictures=8)


@dataclass
class Workshop:
    """A model on a rig. Plans are built when a stage first needs them and stay in ``work``.

    output: gets the detections, ``<stem>_<precision>.npz``.
    """

    rig: Rig
    parcel: Parcel
    work: Path
    output: Path
    stem: str
    plan: EnginePlan = FULL
    builds: dict[str, dict[str, Any]] = field(default_factory=dict)

    def engine(self, label: str) -> Path:
        """The plan of ``fp32``, ``fp16`` or ``twin`` (half precision, nothing deformable)."""
        path = self.work / f"{self.stem}_{label}.plan"
        if label not in self.builds or not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.builds[label] = self.rig.build(self._order(label), path)
        return path

    def _order(self, label: str) -> Order:
        model = self.parcel.model()
        precision: Precision = "fp32" if label == "fp32" else "fp16"
        fp32: Sequence[str] = self.parcel.case.fp32 if precision == "fp16" else ()
        if label == TWIN:
            model = plain_twin(model)
            present = {node.name for node in model.graph.node}
            fp32 = [name for name in fp32 if name in present]
        return Order(label, model, precision, fp32, self.profiles())

    def profiles(self) -> tuple[Shapes, ...]:
        """One for a picture alone and one for the largest batch, from the smallest sides to the largest."""
        sizes = np.array([self.parcel.padded_size(index) for index in range(len(self.parcel))])
        low, high = sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist()
        most = max(self.parcel.case.batches)
        alone: Shapes = ((1, *low), (1, *high), (1, *high))
        together: Shapes = ((2, *low), (most, *high), (most, *high))
        return (alone, together) if most > 1 else (alone,)

    def counted(self) -> int:
        """How many pictures are compared."""
        return min(self.plan.pictures or len(self.parcel), len(self.parcel))


def stages(shop: Workshop) -> Iterator[Stage]:
    """What decides most comes first: the half-precision engine, right and fast, then the rest."""
    yield Stage("build fp16", 180, partial(_build, shop, "fp16"))
    yield Stage("agreement fp16", 20, partial(_agreement, shop, "fp16"))
    for batch in shop.parcel.case.batches:
        yield Stage(latency_name("fp16", batch), 10, partial(_latency, shop, "fp16", batch))
    for batch in shop.parcel.case.batches:
        yield Stage(layers_name(batch), 10, partial(_layers, shop, batch))
    yield Stage("build fp32", 180, partial(_build, shop, "fp32"))
    yield Stage("agreement fp32", 20, partial(_agreement, shop, "fp32"))
    first = shop.parcel.case.batches[0]
    yield Stage(latency_name("fp32", first), 10, partial(_latency, shop, "fp32", first))
    yield Stage(f"build {TWIN}", 180, partial(_build, shop, TWIN))
    for batch in shop.parcel.case.batches:
        yield Stage(latency_name(TWIN, batch), 10, partial(_latency, shop, TWIN, batch))


def latency_name(label: str, batch: int) -> str:
    """The stage that times an engine at a batch."""
    return f"latency {label} N={batch}"


def layers_name(batch: int) -> str:
    """The stage that times the layers of the half-precision engine."""
    return f"layers fp16 N={batch}"


def _build(shop: Workshop, label: str) -> Result:
    path = shop.engine(label)
    return {**shop.builds[label], "bytes": path.stat().st_size, "profiles": shop.profiles()}


def _agreement(shop: Workshop, label: str) -> Result:
    """Every picture alone through the engine, against each reference that travelled; the detections are kept."""
    count = shop.counted()
    with shop.rig.session(shop.engine(label), graphs=True) as session:
        outputs = [session.run(shop.parcel.batch([index])) for index in range(count)]
    together = {name: np.concatenate([each[name] for each in outputs]) for name in OUTPUTS}
    save_arrays(shop.output / f"{shop.stem}_{label}.npz", together)
    finite = all(bool(np.isfinite(together[name]).all()) for name in ("boxes", "scores"))
    against = {name: _matched(shop.parcel.expected(name), together, count) for name in shop.parcel.case.references}
    return {"pictures": count, "finite": finite, "against": against}


def _matched(reference: Tensors, obtained: Tensors, count: int) -> dict[str, Any]:
    return matched({name: value[:count] for name, value in reference.items()}, obtained)


def _latency(shop: Workshop, label: str, batch: int) -> Result:
    """With copies, as users run it, by the host's clock; without, by events on the GPU; with and without a graph."""
    inputs, path = shop.parcel.cycled(batch), shop.engine(label)
    rows, unavailable = [], []
    for graphs in (True, False):
        with shop.rig.session(path, graphs=graphs) as session:
            times = _host_times_us(session, inputs, shop.plan.iterations)
            rows.append({"copies": True, "graph": graphs, "fallback": session.graph_fallback, **spread(times)})
        with shop.rig.resident(path, inputs, graphs=graphs) as resident:
            memory = resident.memory()
            try:
                times = resident.times_us(shop.plan.iterations)
            except EnvironmentMissing as error:  # no graph of this engine: the other times are worth having
                unavailable.append(str(error))
            else:
                rows.append({"copies": False, "graph": graphs, **spread(times)})
    return {"batch": batch, "rows": rows, "memory": memory, "unavailable": unavailable}


def _host_times_us(session: Session, inputs: Tensors, iterations: int) -> list[float]:
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
    found = {
        name: quantile(times_us, share) for name, share in (("median_us", 0.5), ("p95_us", 0.95), ("p99_us", 0.99))
    }
    return {**found, "runs": len(times_us)}


def _layers(shop: Workshop, batch: int) -> Result:
    with shop.rig.resident(shop.engine("fp16"), shop.parcel.cycled(batch), graphs=False) as resident:
        times: Mapping[str, float] = resident.layers_us(shop.plan.profiled)
    slowest = sorted(times.items(), key=lambda item: -item[1])
    return {
        "batch": batch,
        "layers": len(times),
        "total_us": sum(times.values()),
        "shares": shares(times),
        "slowest": [{"name": name[:200], "us": time} for name, time in slowest[:15]],
    }
