"""Code and text in the pages of ``docs/how-to``, so that a page and its test cannot differ."""

import importlib.util
import re
import sys
from pathlib import Path

HOW_TO = Path(__file__).resolve().parent.parent / "docs" / "how-to"


def blocks(page, language):
    """The code blocks of one language, in their order."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def module_of(code, name, folder, monkeypatch):
    """Code as a module of that name, as long as the test runs."""
    file = folder / f"{name}.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module
