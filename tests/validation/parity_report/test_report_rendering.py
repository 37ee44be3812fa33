import io
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest
import sample_reports as samples
from rich.console import Console

from pssdet.models.zoo import PUBLISHED
from pssdet.validation.parity_report import view as numbers
from pssdet.validation.parity_report.render import notes, parity_tables, to_html, to_markdown
from pssdet.validation.parity_report.schema import Histogram
from pssdet.validation.parity_report.view import view_of

ALL = (
    samples.passing_report,
    samples.inconclusive_report,
    samples.failing_report,
    samples.empty_report,
    samples.hostile_report,
    samples.two_models_report,
    samples.lonely_report,
)
VOID = {"meta", "br", "img", "path", "line", "rect", "circle", "polygon"}


class Page(HTMLParser):
    """Checks that elements close in order; collects tags, attributes and what people read."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words, self.stack = [], [], [], []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def terminal(report, width=120):
    stream = io.StringIO()
    console = Console(width=width, file=stream, markup=False, highlight=False)
    for printed in (*parity_tables(view_of(report)), *notes(view_of(report))):
        console.print(printed)
    return stream.getvalue()


def renderings(report):
    view = view_of(report)
    return to_markdown(view), Page(to_html(view)).text


@pytest.mark.parametrize("make", ALL)
def test_the_page_is_well_formed_and_needs_nothing_else(make):
    html = to_html(view_of(make()))
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in {"src", "href"}:
            assert value.startswith(("#", "data:image/jpeg;base64,"))
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("make", ALL)
def test_the_plots_are_well_formed(make):
    for drawing in re.findall(r"<svg.*?</svg>", to_html(view_of(make())), re.DOTALL):
        ElementTree.fromstring(drawing)


@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (samples.passing_report, "PASS"),
        (samples.inconclusive_report, "INCONCLUSIVE"),
        (samples.failing_report, "FAIL"),
        (samples.empty_report, "NO VERDICT"),
    ],
)
def test_the_verdict_comes_first(make, verdict):
    report = make()
    markdown, page = renderings(report)
    assert markdown.splitlines()[2].startswith(f"**{verdict}**")
    assert page.index(f"{verdict} {view_of(report).summary}") < page.index("Box AP")
    assert (view_of(report).overall or "NO VERDICT") == verdict


def test_an_open_verdict_says_how_many_images_would_decide():
    for text in renderings(samples.inconclusive_report()):
        assert "the difference on 300 images is not settled; about 2,600 images would decide" in text


def reason(pair):
    return view_of(samples.report(pair)).comparisons[0].reason


def test_a_reason_that_says_how_many_images_would_decide_is_left_as_it_is():
    pair = msgspec.structs.replace(
        samples.inconclusive(), reason="not settled; about 2,600 images would decide"
    )
    assert reason(pair) == pair.reason
    nobody_knows = msgspec.structs.replace(pair, images_to_decide=0, reason="nothing to compare")
    assert reason(nobody_knows) == "nothing to compare"


def test_the_first_broken_stage_is_named():
    for text in renderings(samples.failing_report()):
        assert re.search(r"[Ff]irst broken stage: rpn_scores", text)


def test_every_number_of_the_table_is_the_reports():
    report = samples.passing_report()
    wanted = ("62.134", "62.146", "+0.012", "-0.018", "+0.041", "±0.062", "99.87 %", "0.011", "PASS")
    for text in (*renderings(report), terminal(report)):
        for number in wanted:
            assert number in text
    other = samples.report(
        samples.comparison(delta_ap=0.00987, ci90=(0.00876, 0.01098), ci95=(0.00765, 0.01209), margin=0.02),
        engines=(samples.engine("onnxruntime-fp32", 0.00987),),
    )
    for text in (*renderings(other), terminal(other)):
        for number in ("63.121", "+0.987", "+0.876", "+1.098", "±2.000"):
            assert number in text


def test_all_statistics_of_all_engines_are_shown():
    for text in renderings(samples.passing_report()):
        for name, value in samples.engine("x").stats.items():
            assert re.search(rf"\b{name}\b", text)
            assert (f"{100 * value:.3f}" if value >= 0 else "n/a") in text


def test_a_failed_engine_gives_its_reason_and_no_numbers():
    report = samples.failing_report()
    for text in (*renderings(report), terminal(report)):
        assert "nan" not in text.lower()
        assert re.search(r"tensorrt-fp16.*62\.134.*n/a", text, re.DOTALL)
    for text in renderings(report):
        assert "the process ended with signal 11" in text


def test_a_failed_engine_without_a_comparison_is_a_fail_with_its_reason():
    report = samples.report(
        samples.comparison(), engines=(samples.broken("tensorrt-fp16", "no GPU was found"),)
    )
    assert view_of(report).overall == "FAIL"
    for text in renderings(report):
        assert re.search(r"tensorrt-fp16\W+gave no result\W+no GPU was found", text)


def test_a_failure_that_a_comparison_reports_is_not_repeated():
    assert view_of(samples.failing_report()).failures == ()


def test_speed_says_what_it_includes_and_what_it_is_not():
    for text in renderings(samples.inconclusive_report()):
        assert re.search(
            r"paddle-fp32[ |]+23\.5[ |]+41\.9[ |]+47\.2[ |]+1[ |]+decoding, preprocessing, network", text
        )
        assert re.search(r"onnxruntime-fp32[ |]+not measured", text)
        assert re.search(r"onnxruntime-fp16[ |]+not a speed of this precision", text)


def test_published_figures_stand_with_hardware_and_year_beside_what_was_measured():
    report = samples.passing_report()
    measured = msgspec.structs.replace(report.published[0], measured_ap=0.41587, measured_fps=31.25)
    mixed = msgspec.structs.replace(report, published=(measured, *report.published[1:]))
    for text in renderings(mixed):
        for entry, published in PUBLISHED:
            assert all(word in text for word in (entry.name, f"{published.box_ap:g} %", str(published.fps)))
        assert text.count("not measured") == 6
        assert text.count("Tesla V100") == len(PUBLISHED)
        assert "41.6 %" in text
        assert "31.2" in text
        assert "tools/eval.py" in text


def test_warnings_identity_and_disagreements_are_shown_in_either_script():
    report = samples.failing_report()
    markdown, page = renderings(report)
    for text in (markdown, page):
        for wanted in (*report.warnings, report.identity.commit, report.identity.images_sha256, "1.25.0"):
            assert wanted in text
        assert "街景_0007.jpg" in text
        assert "分数相差 0.087" in text
    assert f"data:image/jpeg;base64,{samples.picture(1)}" in to_html(view_of(report))


def test_hostile_texts_stay_texts():
    report = samples.hostile_report()
    html = to_html(view_of(report))
    assert "<script" not in html.lower()
    assert '"onerror=' not in html
    assert "&lt;script&gt;alert(&#39;x&#39;)" in html
    markdown = to_markdown(view_of(report))
    assert "<" not in markdown
    assert not re.search(r"(?<!\\)[`\[]|\n# f", markdown)
    tables = re.findall(r"^\|.*\|\n(?:\|.*\|\n?)+", markdown, re.MULTILINE)
    assert len(tables) == len(re.findall(r"^\|(?: ?:?-+:? ?\|)+$", markdown, re.MULTILINE)) > 0
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "[b](c)" in terminal(report, width=400)


def test_a_report_without_comparisons_says_so():
    report = samples.report()
    for text in renderings(report):
        assert "Nothing was compared" in text
    assert parity_tables(view_of(report)) == []
    assert view_of(report).overall is None


def test_one_engine_alone_shows_its_ap():
    report = samples.report()
    for text in (*renderings(report), terminal(report)):
        assert re.search(r"paddle-fp32\W+AP 62\.134 on 300 images, compared with nothing", text)


class TestSeveralModels:
    def test_every_verdict_says_of_which_model_it_is(self):
        markdown, page = renderings(samples.two_models_report())
        assert re.search(r"\*\*FAIL\*\* mini_cascade/onnxruntime-fp16 against paddle-fp32: The 95 %", markdown)
        assert re.search(r"\*\*PASS\*\* mini_faster/onnxruntime-fp32 against paddle-fp32: The 90 %", markdown)
        assert "FAIL mini_cascade onnxruntime-fp16 against paddle-fp32 The 95 %" in page
        assert "PASS mini_faster onnxruntime-fp32 against paddle-fp32 The 90 %" in page

    def test_engines_of_one_name_have_their_own_models_ap(self):
        report = samples.two_models_report()
        for text in (*renderings(report), terminal(report)):
            table = text[max(0, text.find("Box AP")) :]
            of_model = [table.index(name) for name in ("mini_faster", "mini_cascade")]
            first, second = table[slice(*of_model)], table[of_model[1] :]
            for number in ("62.134", "62.146", "62.103"):
                assert number in first
                assert number not in second.partition("COCO")[0]
            for number in ("42.134", "40.704", "-1.430"):
                assert number not in first
                assert number in second

    def test_rows_of_the_whole_report_are_of_their_own_models(self):
        rows = view_of(samples.two_models_report()).comparisons
        assert [row.ap_reference for row in rows] == ["62.134", "62.134", "42.134", "42.134"]
        assert [row.ap_candidate for row in rows] == ["62.146", "62.103", "42.134", "40.704"]

    def test_statistics_speed_agreement_and_disagreements_are_shown_by_model(self):
        markdown, page = renderings(samples.two_models_report())
        for section in ("COCO statistics", "Agreement of the detections", "Speed"):
            assert re.search(rf"## {section}\n\n### mini_faster\n\n(?s:.*?)### mini_cascade\n", markdown)
        assert page.count("mini_cascade Statistic paddle-fp32 onnxruntime-fp32 onnxruntime-fp16 AP") == 1
        assert "mini_cascade onnxruntime-fp16 against paddle-fp32 Matched" in page
        assert "mini_cascade paddle-fp32 23.5" in page[page.index("Engine Images/s") :]
        html = to_html(view_of(samples.two_models_report()))
        assert "scene_0099.jpg: boxes of paddle-fp32 and onnxruntime-fp16 of mini_cascade" in html
        assert 'aria-label="mini_cascade/onnxruntime-fp16: difference -1.430' in html

    def test_the_summary_counts_by_model(self):
        view = view_of(samples.two_models_report())
        assert view.summary == (
            "4 comparisons: 1 FAIL, 1 INCONCLUSIVE, 2 PASS"
            " (mini_faster: 1 INCONCLUSIVE, 1 PASS; mini_cascade: 1 FAIL, 1 PASS)"
        )
        assert view.overall == "FAIL"
        assert view.fail_reasons == (
            "mini_cascade/onnxruntime-fp16: The 95 % interval lies outside of the margin.",
        )

    def test_a_model_of_one_engine_has_its_ap_and_no_verdict(self):
        report = samples.lonely_report()
        assert view_of(report).summary.endswith("mini_cascade was not compared)")
        for text in (*renderings(report), terminal(report)):
            assert re.search(
                r"mini_cascade\W+onnxruntime-fp32\W+AP 42\.134 on 300 images, compared with nothing", text
            )

    def test_a_failure_of_one_models_engine_does_not_hide_the_others(self):
        name, reason = "tensorrt-fp16", "no GPU was found"
        pair = samples.unfinished(name, reason)
        engines = (samples.broken(name, reason), samples.broken(name, reason, model="mini_cascade"))
        report = samples.two_models_report(comparisons=(pair,), engines=engines)
        view = view_of(report)
        assert [(each.result.model, each.result.name) for each in view.failures] == [("mini_cascade", name)]
        assert view.fail_reasons == tuple(f"{each.model}/{name}: {reason}" for each in engines)
        markdown, page = renderings(report)
        assert f"**mini_cascade/{name} gave no result**: {reason}" in markdown
        assert f"FAIL mini_cascade {name} gave no result {reason}" in page

    def test_the_identity_tells_the_hashes_of_each(self):
        for text in renderings(samples.two_models_report()):
            for wanted in ("mini_faster weights sha256", "mini_cascade onnx sha256", "e5" * 32, "b2" * 32):
                assert wanted in text

    def test_the_tables_fit_into_a_log_file_and_have_the_same_columns(self):
        report = samples.two_models_report()
        lines = terminal(report).splitlines()
        rows = [line for line in lines if re.search(r"PASS|FAIL|INCONCLUSIVE", line)]
        assert len(rows) == 4
        assert all(len(line) <= 120 for line in lines)
        assert len({re.search(r"PASS|FAIL|INCONCLUSIVE", row).start() for row in rows}) == 1
        assert len({row.index("99.87 %") for row in rows}) == 1


def test_a_histogram_of_nothing_is_said_to_be_none():
    nothing = msgspec.structs.replace(samples.agreement(), score_histogram=Histogram((), ()))
    assert "Nothing to draw." in to_html(view_of(samples.report(samples.comparison(agreement=nothing))))


def test_the_terminal_table_keeps_one_line_per_comparison_in_a_log_file():
    lines = [line for line in terminal(samples.failing_report()).splitlines() if "62.134" in line]
    assert len(lines) == 4
    assert "INCONCLUSIVE" in lines[1]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_read_na(value):
    for written in (
        *(numbers.points, numbers.difference, numbers.signed, numbers.margin, numbers.percent),
        *(numbers.ap_percent, numbers.small, numbers.rate),
    ):
        assert written(value) == "n/a"
    assert numbers.interval((0.0, value)) == "n/a"
    assert numbers.points(-1) == numbers.percent(-1) == numbers.rate(None) == "n/a"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (numbers.signed(-1e-9), "0.00000"),
        (numbers.signed(0.5), "+0.50000"),
        (numbers.percent(0.999999), "99.99 %"),
        (numbers.percent(1.0), "100.00 %"),
        (numbers.percent(0.29), "29.00 %"),
        (numbers.rate(1234.5), "1,234.5"),
        (numbers.rate(0.567), "0.57"),
        (numbers.small(3.21e-7), "3.2e-07"),
    ],
)
def test_numbers_read_well(written, text):
    assert written == text
