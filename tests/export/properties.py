"""What the property tests of the three ONNX functions share.

Most cases lie on a lattice: coordinates are multiples of a fraction of a pixel and small enough that float32
computes them exactly, so boxes coincide, scores tie and overlaps meet the threshold often,
and each such case has one right answer. Cases off the lattice may come so near a threshold that rounding
decides; see ``assert_agrees``.
"""

import itertools

import numpy as np
from hypothesis import currently_in_test_context, event, settings

#: The same cases in every run, and no deadline: a loaded machine is not a defect.
DETERMINISTIC = settings(derandomize=True, deadline=None)


def show(what):
    """Count the case among the statistics (``pytest --hypothesis-show-statistics``)."""
    if currently_in_test_context():
        event(what)


def differences(obtained, expected, atol):
    """Which of the named arrays differ by more than ``atol``, as text; empty if none."""
    found = []
    for name, wanted in expected.items():
        got = obtained[name]
        if np.shape(got) != np.shape(wanted) or not np.allclose(got, wanted, rtol=0, atol=atol.get(name, 0)):
            found.append(f"{name}: expected\n{wanted}\nobtained\n{got}")
    return "\n".join(found)


def assert_agrees(obtained, oracle, slacks, atol):
    """The result is the oracle's, or the one that the oracle gives on the other side of a near-tie.

    Args:
        obtained: arrays by name.
        oracle: gives the expected arrays for thresholds moved by so much; there is one argument per threshold.
        slacks: how far rounding may carry a value across each threshold. On the lattice these are 0, and
            nothing but the oracle's own result will do.
        atol: what values may differ by, by name; the others are equal.
    """
    plain = differences(obtained, oracle(*[0.0] * len(slacks)), atol)
    if not plain:
        return
    for moved in itertools.product(*[(-slack, 0.0, slack) for slack in slacks]):
        if any(moved) and not differences(obtained, oracle(*moved), atol):
            show("a near-tie decided the result")
            return
    raise AssertionError(plain)


def assert_images_stand_alone(call, arrays, order):
    """Each image of the batch, taken in that order, gives bit for bit what it gives alone.

    Args:
        call: arrays with the batch on axis 0 to a list of such arrays.
        order: indices of images, any number and any order.
    """
    together = call(*[x[order] for x in arrays])
    for place, image in enumerate(order):
        alone = call(*[x[image : image + 1] for x in arrays])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[place], b[0])
