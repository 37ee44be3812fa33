"""The steps about one model's engines: builds, agreement with the references, latency, time of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.gpu.bundle import OUTPUTS, Bundle, Tensors, save_arrays
from benchmarks.gpu.host import BuildRequest, Host, Precision, Session, Shapes
from benchmarks.gpu.layer_kinds import shares
from benchmarks.gpu.matching import matched
from benchmarks.gpu.no_dcn import without_dcn
from benchmarks.gpu.suite import Result, Step
from benchmarks.gpu.timing import quantile
from pssdet.errors import EnvironmentMissing

NO_DCN = "no_dcn"
WARM_UP = 5


@dataclass(frozen=True)
class EngineWorkload:
    """How much each step does.

    iterations: runs of each timing. profiled: runs under the profiler. pictures: most that are compared; 0: all.
    """

    iterations: int = 500
    profiled: int = 30
    pictures: int = 0


FULL = EngineWorkload()
QUICK = EngineWorkload(iterations=30, profiled=5, pictures=8)


@dataclass
class EngineBench:
    """A model on a host. Plans are built when a step first needs them and stay in ``work``.

    output: gets the detections, ``<stem>_<precision>.npz``.
    """

    host: Host
    bundle: Bundle
    work: Path
    output: Path
    stem: str
    workload: EngineWorkload = FULL
    builds: dict[str, dict[str, Any]] = field(default_factory=dict)

    def engine(self, label: str) -> Path:
        """The plan of ``fp32``, ``fp16`` or ``no_dcn`` (half precision, plain convolutions)."""
        path = self.work / f"{self.stem}_{label}.plan"
        if label not in self.builds or not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.builds[label] = self.host.build(self._request(label), path)
        return path

    def _request(self, label: str) -> BuildRequest:
        model = self.bundle.model()
        precision: Precision = "fp32" if label == "fp32" else "fp16"
        fp32: Sequence[str] = self.bundle.case.fp32 if precision == "fp16" else ()
        if label == NO_DCN:
            model = without_dcn(model)
            present = {node.name for node in model.graph.node}
            fp32 = [name for name in fp32 if name in present]
        return BuildRequest(label, model, precision, fp32, self.profiles())

    def profiles(self) -> tuple[Shapes, ...]:
        """One for a picture alone and one for the largest batch, from the smallest sides to the largest."""
        sizes = np.array([self.bundle.padded_size(index) for index in range(len(self.bundle))])
        low, high = sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist()
        most = max(self.bundle.case.batches)
        alone: Shapes = ((1, *low), (1, *high), (1, *high))
        together: Shapes = ((2, *low), (most, *high), (most, *high))
        return (alone, together) if most > 1 else (alone,)

    def counted(self) -> int:
        """How many pictures are compared."""
        return min(self.workload.pictures or len(self.bundle), len(self.bundle))


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
    return {**bench.builds[label], "bytes": path.stat().st_size, "profiles": bench.profiles()}


def _agreement(bench: EngineBench, label: str) -> Result:
    """Every picture alone through the engine, compared with each reference of the bundle; detections are stored."""
    count = bench.counted()
    with bench.host.session(bench.engine(label), graphs=True) as session:
        outputs = [session.run(bench.bundle.batch([index])) for index in range(count)]
    together = {name: np.concatenate([each[name] for each in outputs]) for name in OUTPUTS}
    save_arrays(bench.output / f"{bench.stem}_{label}.npz", together)
    finite = all(bool(np.isfinite(together[name]).all()) for name in ("boxes", "scores"))
    against = {name: _matched(bench.bundle.expected(name), together, count) for name in bench.bundle.case.references}
    return {"pictures": count, "finite": finite, "against": against}


def _matched(reference: Tensors, obtained: Tensors, count: int) -> dict[str, Any]:
    return matched({name: value[:count] for name, value in reference.items()}, obtained)


def _latency(bench: EngineBench, label: str, batch: int) -> Result:
    """With copies, as users run it, by the host's clock; without, by events on the GPU; with and without a graph."""
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


def _layers(bench: EngineBench, batch: int) -> Result:
    with bench.host.resident(bench.engine("fp16"), bench.bundle.cycled(batch), graphs=False) as resident:
        times: Mapping[str, float] = resident.layers_us(bench.workload.profiled)
    slowest = sorted(times.items(), key=lambda item: -item[1])
    return {
        "batch": batch,
        "layers": len(times),
        "total_us": sum(times.values()),
        "shares": shares(times),
        "slowest": [{"name": name[:200], "us": time} for name, time in slowest[:15]],
    }
