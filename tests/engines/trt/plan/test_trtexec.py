"""The line for trtexec: each setting of a build as the options of NVIDIA's samples/common/sampleOptions.cpp."""

import shlex

import pytest
import small_graph as small

from pssdet.engines.trt.graph.rewrite import plugin_graph
from pssdet.engines.trt.plan.builder import BuildSettings
from pssdet.engines.trt.plan.capabilities import graph_for
from pssdet.engines.trt.plan.held import Held, expected_to_hold
from pssdet.engines.trt.plan.trtexec import command
from pssdet.engines.trt.profiles import Profile
from pssdet.errors import BadInput

ONE = Profile((1, 32, 32), (1, 64, 96), (4, 128, 128))
SHAPES = {
    "--minShapes=image:1x3x32x32,image_size:1x2",
    "--optShapes=image:1x3x64x96,image_size:1x2",
    "--maxShapes=image:4x3x128x128,image_size:4x2",
}
ALWAYS = {
    "--onnx=network.onnx",
    "--saveEngine=model.plan",
    "--skipInference",
    "--noTF32",
    "--profilingVerbosity=detailed",
    "--dynamicPlugins=$PSSDET_PLUGINS",
}


def words(route="plain", profiles=(ONE,), held=None, **settings):
    graph, float32 = graph_for(
        plugin_graph(small.exported()), route, [small.PREDICTOR], reduced=route != "plain"
    )
    chosen = BuildSettings(profiles, route, float32=float32, **settings)
    line = command(graph, chosen, held or expected_to_hold(graph, float32), "network.onnx", "model.plan")
    program, *options = shlex.split(line.replace("\\\n", " "))
    assert program == "trtexec"
    return options


def test_float32():
    assert set(words()) == ALWAYS | SHAPES


def test_strongly_typed():
    assert set(words("typed")) == ALWAYS | SHAPES | {"--stronglyTyped"}


def test_flags_with_constraints_by_layer():
    names = (small.PREDICTOR, small.SUM, "flatten")
    assert set(words("flags")) == ALWAYS | SHAPES | {
        "--fp16",
        "--precisionConstraints=obey",
        "--preview=+profileSharing0806",
        f"--layerPrecisions={small.PREDICTOR}:fp32,{small.SUM}:fp32",
        f"--layerOutputTypes={','.join(f'{name}:fp32' for name in names)}",
    }
    assert "--int8" in words("flags", int8=True)
    assert "--int8" not in words("typed", int8=True)


def test_settings():
    options = words(
        "typed", workspace=512 << 20, version_compatible=True, hardware="ampere_plus", plugins_in_plan=True
    )
    assert set(options) - ALWAYS - SHAPES == {
        "--stronglyTyped",
        "--memPoolSize=workspace:512",
        "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+",
        "--setPluginsToSerialize=$PSSDET_PLUGINS",
    }


def test_several_profiles_are_numbered_in_front_of_their_shapes():
    options = words(profiles=(ONE, Profile((8, 64, 64), (8, 64, 64), (8, 64, 64))))
    first = options.index("--profile=0")
    assert set(options[first + 1 : first + 4]) == SHAPES
    assert options[first + 4] == "--profile=1"
    assert options[first + 5] == "--minShapes=image:8x3x64x64,image_size:8x2"


def test_names_that_trtexec_would_take_apart():
    with pytest.raises(BadInput, match=r"trtexec cannot name the layer a,b"):
        words("flags", held=Held(("a,b",), (), {}))
