"""The table of plugins says what the C++ sources of the plugins say."""

import re
from pathlib import Path

import pytest
from onnx import helper

from pssdet.engines.precision.half import half_inputs, half_outputs
from pssdet.engines.trt.graph import plugins
from pssdet.engines.trt.graph.plugins import PLUGINS

SOURCES = Path(__file__).resolve().parents[4] / "plugins"
#: An attribute of an operator's table: its name, whether it is an integer, and its least and largest values.
ATTRIBUTE = re.compile(r'\{"(\w+)", Kind::k(Integer|Real), (\d+), ([^,]+),')


def operators():
    """The source of each operator, by the name that it registers."""
    sources = [path.read_text() for path in (SOURCES / "tensorrt" / "operators").glob("*.cpp")]
    parts = [re.split(r'"(PssDet\w+)"', source)[1:] for source in sources]
    return {name: body for part in parts for name, body in zip(part[::2], part[1::2], strict=True)}


def test_names_are_those_of_the_operators():
    assert set(operators()) == set(PLUGINS)


@pytest.mark.parametrize("name", PLUGINS)
def test_fields_are_those_of_the_operators(name):
    expected = {}
    for attribute, kind, least, most in ATTRIBUTE.findall(operators()[name]):
        expected[attribute] = kind.lower() + ("" if least == most == "1" else "s")
    assert expected == {field.name: field.kind for field in PLUGINS[name].fields}


def test_limits_are_those_of_the_kernels():
    header = (SOURCES / "detection" / "detection.h").read_text()
    defined = dict(line.split()[1:3] for line in header.splitlines() if line.startswith("#define PSSDET_MAX_"))
    assert {name: int(value) for name, value in defined.items()} == {
        "PSSDET_MAX_LEVELS": plugins.MAX_LEVELS,
        "PSSDET_MAX_ANCHORS": plugins.MAX_ANCHORS,
        "PSSDET_MAX_CANDIDATES": plugins.MAX_CANDIDATES,
        "PSSDET_MAX_OUTPUT_SIZE": plugins.MAX_OUTPUT_SIZE,
        "PSSDET_MAX_SAMPLING_RATIO": plugins.MAX_SAMPLING_RATIO,
    }


@pytest.mark.parametrize(
    ("name", "inputs", "flags", "half"),
    [
        ("PssDetDeformConv2d", 4, {"has_bias": 1}, ([0, 1], [0])),
        ("PssDetDeformConv2d", 4, {"has_mask": 1}, ([0, 1], [0])),
        ("PssDetGenerateProposals", 5, {}, ([0, 1, 2, 3], [])),
        ("PssDetMultilevelRoiAlign", 5, {}, ([0, 1, 2, 3], [0])),
        ("PssDetMulticlassNms", 3, {}, ([], [])),
    ],
)
def test_maps_and_weights_are_half_and_nothing_else(name, inputs, flags, half):
    outputs = [f"y{index}" for index in range(len(PLUGINS[name].outputs))]
    node = helper.make_node(name, [f"x{index}" for index in range(inputs)], outputs, **flags)
    assert (half_inputs(node, {}), list(half_outputs(node))) == half
