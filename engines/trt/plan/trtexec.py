"""The line with which NVIDIA's ``trtexec`` builds what ``builder.build_plan`` builds; facts: samples/common.

It is exact for float32 and for strongly typed networks. With precision flags, ``trtexec`` constrains layers by
their names alone; ``docs/how-to/trtexec.md`` says what that leaves out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from onnx import TensorProto

from pssdet.engines.trt.graph.types import tensor_types
from pssdet.engines.trt.plan.held import Held
from pssdet.engines.trt.profiles import Profile
from pssdet.errors import BadInput

if TYPE_CHECKING:
    import onnx

    from pssdet.engines.trt.plan.builder import BuildSettings

#: Names the plugin library wherever the line is run.
PLUGINS_VARIABLE = "PSSDET_PLUGINS"

_MIB = 1 << 20
_HARDWARE = {"ampere_plus": "ampere+", "same_compute_capability": "sameComputeCapability"}
#: ``trtexec`` takes these for more than a part of a layer's name.
_SPECIAL = frozenset(",*'")
_TYPES = {TensorProto.FLOAT: "fp32", TensorProto.INT32: "int32", TensorProto.INT64: "int32"}


def command(model: onnx.ModelProto, settings: BuildSettings, held: Held, network: str, plan: str) -> str:
    """The command, an option a line, for a POSIX shell in which PSSDET_PLUGINS is set.

    Args:
        held: as ``held.expected_to_hold`` gives it, since there is no network yet.
        network: file of the model.
        plan: file to write.

    Raises:
        BadInput: ``trtexec`` cannot name a layer that is to be held.
    """
    words = ["trtexec", *(shlex.quote(word) for word in _options(model, settings, held, network, plan))]
    if settings.plugins_in_plan:
        words.append(f'--setPluginsToSerialize="${PLUGINS_VARIABLE}"')
    return " \\\n  ".join([*words, f'--dynamicPlugins="${PLUGINS_VARIABLE}"'])


def _options(
    model: onnx.ModelProto, settings: BuildSettings, held: Held, network: str, plan: str
) -> Iterator[str]:
    yield f"--onnx={network}"
    yield f"--saveEngine={plan}"
    yield from ("--skipInference", "--noTF32", "--profilingVerbosity=detailed")
    yield from _shapes([each.name for each in model.graph.input], settings.profiles)
    if settings.route == "typed":
        yield "--stronglyTyped"
    if settings.route == "flags":
        yield "--fp16"
        if settings.int8:
            yield "--int8"
        yield from _constraints(model, held)
        # Always on from 10.0 on, where the option is taken and changes nothing.
        yield "--preview=+profileSharing0806"
    if settings.workspace is not None:
        yield f"--memPoolSize=workspace:{settings.workspace // _MIB}"
    if settings.timing_cache is not None:
        yield f"--timingCacheFile={settings.timing_cache}"
    if settings.version_compatible:
        yield "--versionCompatible"
    if settings.hardware is not None:
        yield f"--hardwareCompatibilityLevel={_HARDWARE[settings.hardware]}"


def _shapes(inputs: Sequence[str], profiles: Sequence[Profile]) -> Iterator[str]:
    """The options of the profiles; those of several are numbered, which 8.6 cannot do."""
    for number, profile in enumerate(profiles):
        if len(profiles) > 1:
            yield f"--profile={number}"
        ranges = {name: profile.range_of(name) for name in inputs}
        for end in ("min", "opt", "max"):
            sizes = (f"{name}:{'x'.join(map(str, getattr(each, end)))}" for name, each in ranges.items())
            yield f"--{end}Shapes={','.join(sizes)}"


def _constraints(model: onnx.ModelProto, held: Held) -> Iterator[str]:
    names = [*held.computed, *held.moved]
    if special := [name for name in names if _SPECIAL & set(name)]:
        raise BadInput(f"trtexec cannot name the layer {special[0]}; build without it, or on the route typed")
    if not names:
        return
    types = tensor_types(model)
    nodes = [node for node in model.graph.node if node.name in names]
    outputs = {node.name: [_TYPES[types[name]] for name in node.output if name] for node in nodes}
    yield "--precisionConstraints=obey"
    if held.computed:
        yield f"--layerPrecisions={','.join(f'{name}:fp32' for name in held.computed)}"
    yield f"--layerOutputTypes={','.join(f'{name}:' + '+'.join(outputs[name]) for name in names)}"
