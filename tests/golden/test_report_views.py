"""Numbers, names and verdicts of a report's Markdown, page and terminal tables; the words around are free."""

import html
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
import sample_reports
from golden_files import assert_golden
from rich.console import Console

from pssdet.validation.parity_report.render import notes, parity_tables, to_html, to_markdown
from pssdet.validation.parity_report.view import view_of

REPORTS = (
    "passing_report",
    "inconclusive_report",
    "failing_report",
    "two_models_report",
    "lonely_report",
    "empty_report",
)
NUMBER = r"(?<![\w.])[-+±]?\d(?:[\d,]*\d)?(?:\.\d+)?(?:e[-+]?\d+)?"
VERDICT = r"\b(?:PASS|FAIL|INCONCLUSIVE|n/a)\b"


@pytest.mark.parametrize("name", REPORTS)
def test_facts_of_a_report(name):
    report = getattr(sample_reports, name)()
    pattern = _facts(report)
    views = {"markdown": _markdown(report), "html": _page(report), "terminal": _terminal(report)}
    found = {view: _found(pattern, text, rows) for view, (text, rows) in views.items()}
    assert_golden(f"reports/{name}.facts.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _found(pattern, text, rows):
    """How often each fact stands in a text, and the facts of each row in their order; the rows are sorted."""
    in_rows = [" | ".join(pattern.findall(row)) for row in rows]
    return {
        "facts": dict(sorted(Counter(pattern.findall(text)).items())),
        "rows": sorted(filter(None, in_rows)),
    }


def _facts(report):
    """Matches every name of the report, verdicts and numbers; a name that holds another one wins."""
    names = set(_names(report)) - {""}
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{either})(?![\w-])|{VERDICT}|{NUMBER}")


def _names(report):
    identity = report.identity
    yield from (identity.annotations_sha256, identity.images_sha256, identity.commit, identity.command)
    yield from (
        identity.machine,
        identity.created,
        *identity.versions,
        *identity.versions.values(),
        *report.warnings,
    )
    for model in identity.models:
        yield from (model.model, model.weights_sha256, model.onnx_sha256)
    for engine in report.engines:
        # "AP" is also a word of the sentences.
        yield from (engine.model, engine.name, engine.failure, *(name for name in engine.stats if name != "AP"))
    for pair in report.comparisons:
        yield from (pair.model, pair.candidate, pair.reference, pair.reason, pair.first_broken_stage)
        yield from (text for each in pair.disagreements for text in (each.image, each.reason))
    for row in report.published:
        yield from (row.model, row.published.hardware, row.published.note)


def _markdown(report):
    """Its text without escapes, and the rows of its tables and lists."""
    text = html.unescape(re.sub(r"\\([^\w\s])", r"\1", to_markdown(view_of(report))))
    return text, [line for line in text.splitlines() if line.startswith(("| ", "- "))]


def _terminal(report):
    """What a terminal shows that is wide enough to break no line; every line is a row."""
    stream = io.StringIO()
    console = Console(width=1000, file=stream, markup=False, highlight=False)
    for printed in (*parity_tables(view_of(report)), *notes(view_of(report))):
        console.print(printed)
    return stream.getvalue(), stream.getvalue().splitlines()


def _page(report):
    page = _Page()
    page.feed(to_html(view_of(report)))
    page.close()
    return " ".join(page.words), [" ".join(row) for row in page.rows]


class _Page(HTMLParser):
    """Collects what people read or hear (text, descriptions of pictures), also by row and list item."""

    def __init__(self):
        super().__init__()
        self.words, self.rows, self._open = [], [], []

    def handle_starttag(self, tag, attrs):
        self._open.append(tag)
        if tag in {"tr", "li"}:
            self.rows.append([])
        for name, value in attrs:
            if name in {"alt", "aria-label"}:
                self._add(value)
        if tag in {"meta", "br", "img"}:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self._open[-1:] == [tag]:
            self._open.pop()

    def handle_data(self, data):
        if "style" not in self._open:
            self._add(data)

    def _add(self, text):
        self.words.append(text)
        if {"tr", "li"} & set(self._open):
            self.rows[-1].append(text)
