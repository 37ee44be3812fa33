"""The layers' sizes and the arithmetic of the roofline, against figures computed by another program."""

from itertools import pairwise

import pytest

from benchmarks.gpu.dcnv2 import GPUS, floor_us, flop, gpu_named, least_bytes
from pssdet.validation.gpu_check.shapes import ODD, SIZES, Problem, layers, shapes

# depth, size, batch, GFLOP, least MB, floor in us on V100 and on H200
SUMS = """
50 640x640 1 24.5 58.4 196.3 31.1
50 640x640 8 196.3 310.1 1570.3 248.5
50 800x1344 1 64.4 116.8 515.3 81.5
50 800x1344 8 515.3 777.6 4122.2 652.2
50 1024x1504 1 92.3 157.6 738.1 116.8
50 1024x1504 8 738.1 1104.2 5904.5 934.3
101 640x640 1 56.6 107.8 453.0 71.7
101 640x640 8 453.0 564.7 3623.9 573.4
101 800x1344 1 148.6 213.8 1189.1 188.1
101 800x1344 8 1189.1 1413.4 9512.7 1505.2
101 1024x1504 1 212.9 287.9 1703.2 269.5
101 1024x1504 8 1703.2 2006.2 13625.8 2156.0
"""


@pytest.mark.parametrize("line", SUMS.split("\n")[1:-1])
def test_sums(line):
    depth, size, batch, *figures = line.split()
    network = layers(int(depth), tuple(map(int, size.split("x"))), int(batch))
    assert len(network) == {"50": 13, "101": 30}[depth]
    v100, h200 = GPUS["V100-SXM2"], GPUS["H200"]
    found = [sum(flop(layer.problem) for layer in network) / 1e9]
    found.append(sum(least_bytes(layer.problem) for layer in network) / 1e6)
    found += [sum(floor_us(layer.problem, gpu) for layer in network) for gpu in (v100, h200)]
    assert [f"{value:.1f}" for value in found] == figures


def test_every_layer_at_640_has_the_same_work():
    assert {f"{flop(layer.problem) / 1e9:.3f}" for layer in layers(101, (640, 640), 1)} == {"1.887"}


def test_one_layer_by_hand():
    (layer,) = [layer for layer in layers(50, (640, 640), 1) if layer.name == "c5.0"]
    problem = layer.problem
    assert (problem.height, problem.out_height, problem.stride_h, problem.depth) == (40, 20, 2, 4608)
    assert flop(problem) == 2 * 20 * 20 * 512 * 512 * 9
    moved = 2 * (512 * 40 * 40 + 27 * 20 * 20 + 512 * 512 * 9 + 512 * 20 * 20)
    assert least_bytes(problem) == moved
    gpu = GPUS["V100-SXM2"]
    assert floor_us(problem, gpu) == pytest.approx(max(flop(problem) / 125e6, moved / 900e3))


def test_names_and_counts():
    network = layers(50, SIZES[0], 8)
    assert [layer.name for layer in network] == [
        *(f"c3.{i}" for i in range(4)),
        *(f"c4.{i}" for i in range(6)),
        *(f"c5.{i}" for i in range(3)),
    ]
    counted = [problem.problem for problem in shapes(101, SIZES[2], 2) for _ in range(problem.count)]
    assert counted == [layer.problem for layer in layers(101, SIZES[2], 2)]
    for depth in (50, 101):
        assert len({layer.problem for layer in layers(depth, SIZES[1], 1)}) == 6
    assert {layer.problem for layer in shapes(50, SIZES[1], 1)} == {
        layer.problem for layer in shapes(101, SIZES[1], 1)
    }


def test_layers_follow_each_other():
    network = layers(101, (1024, 1504), 1)
    for before, after in pairwise(network):
        if before.name[:2] == after.name[:2]:
            assert (after.problem.height, after.problem.width) == (
                before.problem.out_height,
                before.problem.out_width,
            )
    assert (network[0].problem.height, network[0].problem.width) == (256, 376)


@pytest.mark.parametrize("name", ODD)
def test_odd_shapes_are_possible(name):
    problem = ODD[name]
    assert min(problem.out_height, problem.out_width) >= 1
    assert problem.channels % problem.groups == problem.out_channels % problem.groups == 0
    assert problem.channels % problem.offset_groups == 0


def test_output_size_of_a_dilated_kernel():
    problem = Problem(1, 8, 10, 9, 8, 2, 3, 1, 2, 2, 1, 0, 2, 1, 0)
    assert (problem.out_height, problem.out_width) == (9, 5)


def test_gpus_by_the_drivers_name():
    assert gpu_named("NVIDIA H200") is GPUS["H200"]
    assert gpu_named("Tesla V100-SXM2-16GB") is GPUS["V100-SXM2"]
    assert gpu_named("NVIDIA GeForce RTX 5090") is None
