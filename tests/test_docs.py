"""The documents: links resolve, and the files and commands that they name exist."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: Folders whose files the documents name; a path below them in backticks is a file of this repository.
FOLDERS = "benchmarks|cmake|docker|docs|engines|export|models|plugins|runtime|src|tests|training|validation"
#: Files that readers of a how-to write themselves, and one of PaddleDetection.
PLACEHOLDERS = {
    *("toy.py", "scale.py", "scale.h", "scale.cuh", "scale.cu", "scale.cpp"),
    *("scale/scale.cu", "scale/scale.h", "operators/scale.cpp", "test_scale_kernel.py", "tools/eval.py"),
}
#: Options in the documents that are another tool's, or of a backend that readers write themselves.
OTHER_OPTIONS = {
    *("--help", "--scale", "--strict", "--build", "--target", "--extra-index-url"),
    *("--backend-config", "--dynamicPlugins", "--staticPlugins", "--setPluginsToSerialize"),
    *("--stronglyTyped", "--tacticSources", "--preview", "--profile"),  # trtexec's
    *("--file", "--gpus", "--rm", "--tag", "--user", "--volume"),  # docker's
    *("--no-deps", "--no-build-isolation"),  # pip's
}
DECISION = re.compile(r"# (\d+)\. (.+)\n\nDate: (\d{4}-\d\d-\d\d)\n")


def listed(*arguments):
    """Files in the working tree that git lists."""
    said = subprocess.run(
        ["git", "ls-files", "-z", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in said.stdout.split("\0") if (ROOT / name).is_file()]


def documents():
    names = listed("*.md")
    # Results are written by programs, on whatever version of the sources they measured.
    return [name for name in names if not name.startswith("benchmarks/results/")]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def without_code(text):
    return re.sub(r"^```.*?^```|^    [^\n]*$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(text, folder):
    """Targets of relative links that lead nowhere: no such file, or no such heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (folder / path).resolve()
        if path and not file.exists():
            yield target
            continue
        if anchor and anchor not in anchors(file.read_text(encoding="utf-8") if path else text):
            yield target


def unknown_files(text):
    """Paths in backticks or after ``python`` that are no file here; patterns such as ``x/*`` are left out."""
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text)
    named += re.findall(r"\bpython ([\w/]+\.py)\b", text)
    return [path for path in named if not (ROOT / path).exists()]


@cache
def source_files():
    return tuple(f"/{name}" for name in listed("--cached", "--others", "--exclude-standard"))


def unknown_sources(text):
    """Source files in backticks, by name or by the end of their path, that are nowhere in the tree."""
    named = set(re.findall(r"`([\w./-]+\.(?:py|cuh|h|cu|cpp))`", text)) - PLACEHOLDERS
    return [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in source_files())]


def unknown_targets(text):
    """Targets of ``make``, in code, that the Makefile lacks."""
    code = re.findall(r"`make ([\w-]+)[^`\n]*`|^    make ([\w-]+)", text, re.MULTILINE)
    known = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    return [target for target in (first or second for first, second in code) if target not in known]


@cache
def options():
    """Of all commands and entry scripts, by every name."""
    commands = json.loads(read("tests/data/golden/command_line.json")).values()
    found = {name: option for command in commands for name, option in command.items()}
    return set(found).union(*(option.get("other names", ()) for option in found.values()))


def unknown_options(text):
    named = set(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", text))
    return sorted(named - options() - OTHER_OPTIONS)


def test_there_are_documents():
    assert {"README.md", "README.zh-CN.md", "CONTRIBUTING.md", "docs/architecture.md"} <= set(documents())


@pytest.mark.parametrize("name", documents())
def test_links_resolve(name):
    assert list(broken_links(read(name), (ROOT / name).parent)) == []


# A decision names the files of its day.
@pytest.mark.parametrize("name", [name for name in documents() if not name.startswith("docs/decisions/")])
def test_files_targets_and_options_exist(name):
    assert unknown_files(read(name)) == []
    assert unknown_sources(read(name)) == []
    assert unknown_targets(read(name)) == []
    assert unknown_options(read(name)) == []


def test_what_is_broken_is_found():
    text = """# A b, `c`

[x](nowhere.md) [y](#no) [z](#a-b-c) [u](README.md#no) `[w](code.md)` `make nothing` `tests/none.py` `tests/`

    make venv    # [v](code.md)
"""
    assert list(broken_links(text, ROOT)) == ["nowhere.md", "#no", "README.md#no"]
    assert unknown_files(text) == ["tests/none.py"]
    assert unknown_sources(text) == ["tests/none.py"]
    assert unknown_sources("`tensor_core.cuh` `mma.cuh` `dcnv2/mma.cuh` `other/mma.cuh` `toy.py`") == [
        "other/mma.cuh",
        "tensor_core.cuh",
    ]
    assert unknown_targets(text) == ["nothing"]
    assert unknown_options("`detect --no-engine` --self-test; a -- b --nosuch-option") == [
        "--no-engine",
        "--nosuch-option",
    ]


def test_both_readmes_have_the_same_parts():
    english, chinese = (read(name) for name in ("README.md", "README.zh-CN.md"))
    assert english.count("\n## ") == chinese.count("\n## ")
    links = [re.findall(r"\]\(([^)]+)\)", text) for text in (english, chinese)]
    assert set(links[0]) - {"README.zh-CN.md"} == set(links[1]) - {"README.md"}
    assert re.findall(r"^\| \d \| (`\w+` \| [\d.]+ \| [\d.]+)", english, re.MULTILINE) == re.findall(
        r"^\| \d \| (`\w+` \| [\d.]+ \| [\d.]+)", chinese, re.MULTILINE
    )


def test_decisions_are_numbered_dated_and_listed():
    files = sorted(path for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name != "README.md")
    rows = []
    for place, path in enumerate(files, 1):
        number, title, date = DECISION.match(path.read_text(encoding="utf-8")).groups()
        assert (int(number), int(path.name[:4])) == (place, place)
        rows.append(f"| {number} | [{title}]({path.name}) | {date} |")
    dates = [row.split(" | ")[-1] for row in rows]
    assert dates == sorted(dates)
    table = [line for line in read("docs/decisions/README.md").splitlines() if re.match(r"\| \d", line)]
    assert table == rows
