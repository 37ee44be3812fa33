"""A new section of the report costs three files: a field of the view, and a block in each of the two templates."""

import importlib.util
import shutil
import sys

import pytest
import sample_reports as samples

from pssdet.validation.parity_report import render, view

#: Each file's places where the section is added: the text before which it stands, and the addition.
VIEW = {
    "    report: Report\n": "    size: tuple[tuple[str, str], ...]\n",
    "        report=report,\n": "        size=_size(report),\n",
    "def _identity(": (
        "def _size(report: Report) -> tuple[tuple[str, str], ...]:\n"
        "    return tuple((each.name, f'{each.detections:,}') for each in report.engines)\n\n\n"
    ),
}
MARKDOWN = {
    "## Warnings\n": (
        "## Size\n\n"
        "| engine | detections |\n| - | - |\n"
        "{% for name, count in view.size %}\n| {{ name }} | {{ count }} |\n{% endfor %}\n\n"
    )
}
HTML = {
    '<h2 id="warnings">': (
        "<h2>Size</h2>\n<ul>\n"
        "{% for name, count in view.size %}\n<li>{{ name }}: {{ count }}</li>\n{% endfor %}\n</ul>\n\n"
    )
}
SECTION = {"view.py": VIEW, "templates/report.md.j2": MARKDOWN, "templates/report.html.j2": HTML}


@pytest.fixture
def changed_view(tmp_path, monkeypatch):
    """The view module of a copy of the package with the section; the templates of the copy are in use."""
    folder = tmp_path / "parity_report"
    shutil.copytree(render.TEMPLATES.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, additions in SECTION.items():
        text = (folder / name).read_text()
        for place, addition in additions.items():
            assert text.count(place) == 1
            text = text.replace(place, addition + place)
        (folder / name).write_text(text)
    monkeypatch.setattr(render, "TEMPLATES", folder / "templates")
    spec = importlib.util.spec_from_file_location("changed_view", folder / "view.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_three_files_make_a_section(changed_view):
    report = samples.hostile_report()
    shown = changed_view.view_of(report)
    markdown, html = render.to_markdown(shown), render.to_html(shown)
    assert "## Size\n\n| engine | detections |\n| - | - |\n| paddle-fp32 | 4,321 |\n" in markdown
    assert "<li>paddle-fp32: 4,321</li>" in html
    # Names that were chosen elsewhere are escaped without further ado.
    assert "<script" not in html
    assert "<script" not in markdown
    assert len(SECTION) == 3


def test_the_sections_before_stay_as_they_are(changed_view, monkeypatch):
    report = samples.two_models_report()
    longer = render.to_markdown(changed_view.view_of(report))
    monkeypatch.undo()
    before, _, after = render.to_markdown(view.view_of(report)).partition("## Warnings")
    assert longer.startswith(before)
    assert longer.endswith(after)
