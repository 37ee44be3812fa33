"""The steps about the machine: driver, CUDA, the libraries, what was packed, TensorRT."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from pssdet.engines.devices import gpu
from pssdet.engines.trt.callbacks import error_log
from pssdet.engines.trt.graph.plugins import PLUGINS
from pssdet.engines.trt.plan.capabilities import capabilities_of, choose_route, unloadable_sources
from pssdet.engines.trt.plugin_library import load_plugins
from pssdet.errors import EnvironmentMissing, PssDetError
from pssdet.files import sha256_of
from pssdet.plugins.bindings.deform_conv import DeformConvLibrary
from pssdet.plugins.bindings.detection import DetectionLibrary
from pssdet.plugins.bindings.libraries import find_kernels, find_plugins
from pssdet.plugins.bindings.preprocess import PreprocessKernel
from pssdet.validation.gpu_check.bundle import CARD, read_card
from pssdet.validation.gpu_check.device import BareDevice
from pssdet.validation.gpu_check.pack import ARTIFACTS, CHECKED, SPECS, pack
from pssdet.validation.gpu_check.plan import Findings, Given

NOT_KNOWN = "not known"
_QUERIES = {
    "driver": "driver_version",
    "clock now, MHz": "clocks.sm",
    "clock at most, MHz": "clocks.max.sm",
    "memory clock now, MHz": "clocks.mem",
    "power limit, W": "power.limit",
    "temperature, C": "temperature.gpu",
}

Query = Callable[[Sequence[str]], str]


def output_of(command: Sequence[str]) -> str:
    """What a command prints; empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def driver_figures(run: Query = output_of) -> dict[str, str]:
    """What nvidia-smi says of the first GPU."""
    query = ",".join(_QUERIES.values())
    answer = run(["nvidia-smi", "--id=0", f"--query-gpu={query}", "--format=csv,noheader,nounits"])
    values = [value.strip() for value in answer.split(",")]
    if len(values) != len(_QUERIES):
        return dict.fromkeys(_QUERIES, NOT_KNOWN)
    return dict(zip(_QUERIES, values, strict=True))


def driver(_: Given) -> Findings:
    """The driver answers and has a GPU."""
    found = gpu()
    if found is None:
        raise EnvironmentMissing(
            "there is no NVIDIA GPU with a driver; does nvidia-smi succeed, and what is CUDA_VISIBLE_DEVICES?"
        )
    told = driver_figures()
    version = told.pop("driver")
    identity = {
        "GPU": found.name,
        "compute capability": ".".join(map(str, found.capability)),
        "driver": found.driver or version,
        "CUDA of the driver": found.cuda,
    }
    return Findings({"identity": identity, **told})


def cuda(_: Given) -> Findings:
    """Memory there and back, also by a recorded graph on the stream."""
    device = BareDevice()
    values = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    zeros = np.zeros_like(values)
    source, empty, target = device.put(values), device.put(zeros), device.put(zeros)
    kind = device.cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
    into, rest = device.address(target), (values.size, kind, device.stream())
    replay = device.record(partial(device.cuda.call, "cudaMemcpyAsync", into, device.address(source), *rest))
    # Recording has copied once already.
    device.cuda.call("cudaMemcpyAsync", into, device.address(empty), *rest)
    times = device.times_us(replay.run, 20)
    device.synchronize()
    failures = []
    if not np.array_equal(device.take(source), values):
        failures.append("memory that was copied to the GPU and back is not the same")
    if not np.array_equal(device.take(target), values):
        failures.append("a copy recorded as a CUDA graph did not copy")
    if min(times) <= 0:
        failures.append(f"a copy of 1 MiB took {min(times)} us by the events")
    version = int(device.cuda.call("cudaRuntimeGetVersion"))
    identity = {
        "CUDA of cuda-bindings": f"{version // 1000}.{version % 1000 // 10}",
        "cuda-bindings": version_of("cuda-bindings"),
        "NumPy": np.__version__,
    }
    return Findings({"identity": identity}, failures)


def kernels(_: Given) -> Findings:
    """The library of kernels has all of them, for a GPU."""
    path = find_kernels()
    library = DeformConvLibrary(path)
    if not library.has_cuda:
        raise EnvironmentMissing(f"{path} is without its CUDA kernels; build it with nvcc on PATH: make plugin")
    DetectionLibrary(path)
    PreprocessKernel(path)
    return Findings(
        {"identity": {"kernel library": f"version {library.version}, sha256 {sha256_of(path)[:16]}"}}
    )


def bundles(given: Given) -> Findings:
    """The small detector's bundle is whole; it is made of its export where that alone was copied here."""
    mini, export = given.bundles / "mini", ARTIFACTS / SPECS["mini"].model
    if not (mini / CARD).is_file() and (export / "model.json").is_file():
        pack(given.bundles, ("mini",), print)
    read_card(mini)
    cards = {name: given.bundles / name / CARD for name in CHECKED}
    found = {f"bundle {name}": sha256_of(card)[:16] for name, card in cards.items() if card.is_file()}
    return Findings({"identity": found})


def tensorrt(_: Given) -> Findings:
    """TensorRT can be imported, makes a builder and has a way to FP16."""
    BareDevice()  # without a device, TensorRT's Runtime would crash the process
    try:
        import tensorrt as trt
    except ImportError as error:
        raise EnvironmentMissing(f"TensorRT cannot be imported ({error}); see docs/tensorrt.md") from error
    abilities = capabilities_of(trt)
    identity: dict[str, Any] = {
        "TensorRT": str(trt.__version__),
        "way to FP16": choose_route(abilities, reduced=True),
        "missing tactic sources": ", ".join(unloadable_sources(abilities)) or "none",
        "onnx": version_of("onnx"),
    }
    try:
        trt.Builder(error_log(trt))
    except Exception as error:  # noqa: BLE001  (as where TensorRT has given up this GPU)
        return Findings({"identity": identity}, [f"TensorRT makes no builder: {error}"])
    return Findings({"identity": identity})


def plugins(_: Given) -> Findings:
    """The plugin library is of this TensorRT and registers its plugins."""
    import tensorrt as trt

    path = find_plugins()
    findings = Findings({"identity": {"plugin library": f"sha256 {sha256_of(path)[:16]}"}})
    try:
        load_plugins(trt, path)
    except PssDetError as error:  # it is there, so it is wrong
        findings.failures.append(str(error))
        return findings
    registry = trt.get_plugin_registry()
    # The second has the plugins of the interface that TensorRT 10 brought.
    lists = [getattr(registry, name, ()) for name in ("plugin_creator_list", "all_creators")]
    known = {creator.name for creators in lists for creator in creators}
    findings.failures.extend(f"TensorRT knows no plugin {name}" for name in sorted(set(PLUGINS) - known))
    return findings


def version_of(package: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
