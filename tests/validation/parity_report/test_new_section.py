"""The section of docs/how-to/add-a-report-section.md: a field of the view, and a block in each of the two templates."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest
import sample_reports as samples
from pages import blocks

from pssdet.validation.parity_report import render, view

SECTION = "".join(blocks("add-a-report-section.md", "diff"))


@pytest.fixture
def changed_view(tmp_path, monkeypatch):
    """The view module of a copy of the package with the section; the templates of the copy are in use."""
    folder = tmp_path / "validation" / "parity_report"
    shutil.copytree(render.TEMPLATES.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    outside = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    subprocess.run(["git", "apply"], input=SECTION, cwd=tmp_path, text=True, check=True, env=outside)
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
    (engine, *_) = report.engines
    expected = f"{engine.detections / report.identity.images:.1f}"
    title = "## Detections per image\n\n| engine | detections per image |\n| - | - |\n"
    assert f"{title}| {engine.model}/{engine.name} | {expected} |\n" in markdown
    assert f"<li>{engine.model}/{engine.name}: {expected}</li>" in html
    # Names that were chosen elsewhere are escaped without further ado.
    assert "<script" not in html
    assert "<script" not in markdown
    assert len(set(re.findall(r"^\+\+\+ b/(.+)", SECTION, re.MULTILINE))) == 3


def test_the_sections_before_stay_as_they_are(changed_view, monkeypatch):
    report = samples.two_models_report()
    longer = render.to_markdown(changed_view.view_of(report))
    monkeypatch.undo()
    before, _, after = render.to_markdown(view.view_of(report)).partition("## Warnings")
    assert longer.startswith(before)
    assert longer.endswith(after)
