"""The section of docs/how-to/add-a-report-section.md: a field of the view, and a block in both templates."""

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest
import sample_reports as samples
from pages import HOW_TO, blocks

from pssdet.validation.parity_report import render, view

SECTION = "".join(blocks("add-a-report-section.md", "diff"))


def hunks(diff):
    """File, line before, new lines and line after of every hunk; each hunk inserts lines at one place."""
    for part in re.split(r"^--- .+\n", diff, flags=re.MULTILINE)[1:]:
        heading, *changes = re.split(r"^@@ .+\n", part, flags=re.MULTILINE)
        for change in changes:
            before, *new, after = change.splitlines()
            assert before[0] == after[0] == " "
            assert {line[0] for line in new} == {"+"}
            yield heading.strip().removeprefix("+++ b/"), before[1:], [line[1:] for line in new], after[1:]


def with_hunk(text, before, new, after):
    """Insert the lines where the hunk says, also if sections of other people have come between."""
    if "\n".join(new) in text:
        return text  # somebody added this very section
    lines = text.splitlines()
    assert lines.count(after) == 1
    place = lines.index(after)
    assert before in lines[:place]
    return "\n".join([*lines[:place], *new, *lines[place:]]) + "\n"


@pytest.fixture
def changed_view(tmp_path, monkeypatch):
    """The view module of a copy of the package with the section; the templates of the copy are in use."""
    folder = tmp_path / "validation" / "parity_report"
    shutil.copytree(render.TEMPLATES.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, *hunk in hunks(SECTION):
        (tmp_path / name).write_text(
            with_hunk((tmp_path / name).read_text(encoding="utf-8"), *hunk), encoding="utf-8"
        )
    monkeypatch.setattr(render, "TEMPLATES", folder / "templates")
    spec = importlib.util.spec_from_file_location("changed_view", folder / "view.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_three_files_make_a_section(changed_view):
    report = samples.hostile_report()
    changed = changed_view.view_of(report)
    markdown, html = render.to_markdown(changed), render.to_html(changed)
    (engine, *_) = report.engines
    expected = f"{engine.detections / report.identity.images:.1f}"
    title = "## Detections per image\n\n| engine | detections per image |\n| - | - |\n"
    assert f"{title}| {engine.model}/{engine.name} | {expected} |\n" in markdown
    assert f"<li>{engine.model}/{engine.name}: {expected}</li>" in html
    # Names that were chosen elsewhere are escaped without further ado.
    assert "<script" not in html
    assert "<script" not in markdown


def test_the_page_is_a_diff_of_three_files():
    words = ["git", "apply", "--numstat"]
    root = HOW_TO.parents[1]
    done = subprocess.run(words, input=SECTION, cwd=root, capture_output=True, text=True, check=True)
    names = [line.split("\t")[2] for line in done.stdout.splitlines()]
    assert names == list(dict.fromkeys(name for name, *_ in hunks(SECTION)))
    assert len(names) == 3


def test_the_sections_before_stay_as_they_are(changed_view, monkeypatch):
    report = samples.two_models_report()
    longer = render.to_markdown(changed_view.view_of(report))
    monkeypatch.undo()
    before, _, after = render.to_markdown(view.view_of(report)).partition("## Warnings")
    assert longer.startswith(before)
    assert longer.endswith(after)
