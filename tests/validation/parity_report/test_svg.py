import math
import re
from xml.etree import ElementTree

import pytest

from pssdet.validation.parity_report import svg

EVEN = (0.0, 0.25, 0.5, 0.75, 1.0)


def plot(delta, ci90, ci95, margin=0.001, reach=2.0):
    return svg.interval_plot(delta, ci90, ci95, margin, reach=reach, label="a < b & c")


def drawn(edges, counts):
    return svg.histogram(edges, counts, x_label="x <label>", y_label="pairs")


def shapes(markup, kind):
    return [element for element in ElementTree.fromstring(markup).iter() if element.get("class") == kind]


def ticks(markup):
    return [element.text for element in shapes(markup, "tick")]


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (1.256, "1.26"), (-0.001, "0"), (120.5, "120.5"), (100, "100")]
)
def test_coordinates_are_short(value, text):
    assert svg.number(value) == text


def test_an_interval_stands_where_its_numbers_say():
    markup = plot(0.0, (-0.0005, 0.0005), (-0.001, 0.001))
    (band,), (thin,), (thick,), (dot,) = (shapes(markup, kind) for kind in ("band", "ci95", "ci90", "dot"))
    left, width = float(band.get("x")), float(band.get("width"))
    assert float(thin.get("x1")) == pytest.approx(left)
    assert float(thin.get("x2")) == pytest.approx(left + width)
    assert float(thick.get("x2")) == pytest.approx(left + 0.75 * width)
    assert float(dot.get("cx")) == pytest.approx(left + 0.5 * width)
    assert not shapes(markup, "arrow")


@pytest.mark.parametrize(("sign", "edge"), [(-1, min), (1, max)])
def test_what_lies_beyond_the_plot_becomes_an_arrow_on_its_side(sign, edge):
    bounds = tuple(sorted((sign * 0.01, sign * 0.03)))
    markup = plot(sign * 0.02, bounds, bounds)
    (arrow,) = shapes(markup, "arrow")
    corners = [float(pair.split(",")[0]) for pair in arrow.get("points").split()]
    assert edge(corners) == edge([2.0, 218.0])
    assert not shapes(markup, "dot")
    assert not shapes(markup, "ci95")


def test_half_an_interval_beyond_the_plot_is_drawn_up_to_the_edge():
    markup = plot(0.001, (0.0005, 0.003), (0.0, 0.005))
    assert len(shapes(markup, "arrow")) == len(shapes(markup, "ci95")) == len(shapes(markup, "dot")) == 1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_not_plotted(number):
    assert plot(number, (0, 0), (0, 0)) == ""
    assert plot(0, (number, 0), (0, 0)) == ""
    assert plot(0, (0, 0), (0, number)) == ""
    assert plot(0, (0, 0), (0, 0), margin=number) == ""
    assert drawn((0.0, number), (1,)) == ""


def test_without_a_margin_there_is_no_plot():
    assert plot(0, (0, 0), (0, 0), margin=0) == ""


@pytest.mark.parametrize(("edges", "counts"), [((), ()), (EVEN, (0, 0, 0, 0)), (EVEN, (1, 2)), ((0.0,), ())])
def test_a_histogram_of_nothing_is_empty(edges, counts):
    assert drawn(edges, counts) == ""


def test_similar_counts_stand_on_a_linear_scale():
    markup = drawn(EVEN, (10, 20, 40, 0))
    heights = [float(bar.get("height")) for bar in shapes(markup, "bar")]
    assert heights == pytest.approx([heights[2] / 4, heights[2] / 2, heights[2], 0], abs=0.01)
    assert ticks(markup)[:5] == ["0", "10", "20", "30", "40"]
    assert "log scale" not in markup


def test_counts_that_differ_much_stand_on_a_logarithmic_scale_that_says_so():
    markup = drawn(EVEN, (1, 10, 1000, 100_000))
    heights = [float(bar.get("height")) for bar in shapes(markup, "bar")]
    assert heights == sorted(heights)
    assert heights[0] > 5
    assert {"0", "1", "100", "10,000"} <= set(ticks(markup))
    assert "pairs, log scale" in markup


def test_every_column_says_its_edges_and_count():
    titles = re.findall("<title>(.*?)</title>", drawn(EVEN, (1, 2, 3, 4000)))
    assert titles == ["0 to 0.25: 1", "0.25 to 0.5: 2", "0.5 to 0.75: 3", "0.75 to 1: 4,000"]


def test_the_axis_has_the_edges():
    names = ticks(drawn((0.5, 0.9, 0.99, 0.999, 1.0), (1, 1, 1, 1)))
    assert names[-5:] == ["0.5", "0.9", "0.99", "0.999", "1"]


@pytest.mark.parametrize("edges", [(0.0, 0.0, 0.0), (1.0, 0.5, 0.0), (5.0, 5.0, 6.0)])
def test_strange_edges_are_drawn_all_the_same(edges):
    assert len(shapes(drawn(edges, (1, 2)), "bar")) == 2


@pytest.mark.parametrize("most", [1, 2, 3, 7, 19, 99, 1001])
def test_the_scale_has_a_few_whole_ticks(most):
    names = [int(name.replace(",", "")) for name in ticks(drawn((0.0, 1.0), (most,)))[:-2]]
    assert 2 <= len(names) <= 6
    assert names[0] == 0
    assert names[-1] <= most


def test_texts_are_escaped():
    assert "a &lt; b &amp; c" in plot(0, (0, 0), (0, 0))
    assert "x &lt;label&gt;" in drawn(EVEN, (1, 1, 1, 1))
