"""The results of a check as Markdown and JSON that can be shown to anybody: without paths and host names."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pssdet.errors import BadInput
from pssdet.validation.gpu_check.plan import Step
from pssdet.validation.gpu_check.runner import Outcome, Results

#: Where ``--record`` adds rows to a page, above this line.
MARKER = "<!-- runs -->"

#: The last part of an absolute path stays; names of ONNX nodes such as ``trunk/Conv_1`` are none.
_PATH = re.compile(r"(?<![\w./<>-])~?/(?:[\w.+@~,=-]+/)+([\w.+@~,=-]*)")
_MACHINE = ("driver", "cuda", "kernels", "bundles", "tensorrt", "plugins")
_LONGEST = 640

_Value = TypeVar("_Value")


def shareable(value: _Value, host: str = "") -> _Value:
    """A value of JSON whose texts have no absolute paths and not this machine's name."""
    if isinstance(value, str):
        text = _PATH.sub(r".../\1", value)
        name = host or platform.node()
        # A shorter name would be a word, or a part of a version.
        return re.sub(rf"\b{re.escape(name)}\b", "HOST", text) if len(name) > 3 else text  # type: ignore[return-value]
    if isinstance(value, Mapping):
        return {key: shareable(each, host) for key, each in value.items()}  # type: ignore[return-value]
    if isinstance(value, Sequence):
        return [shareable(each, host) for each in value]  # type: ignore[return-value]
    return value


def markdown(results: Results, steps: Sequence[Step]) -> str:
    """The page: the machine, a row for each step, and whatever is known of each that failed."""
    about = {step.name: step.about for step in steps}
    rows = [
        f"| {name} | {about.get(name, '')} | {outcome.status} | {outcome.seconds:.1f} | {_cell(outcome)} |"
        for name, outcome in results.outcomes.items()
    ]
    parts = [
        f"# GPU check: {_figure(results, 'driver', 'GPU')}",
        f"{counts(results)}; pss-det {results.version}, {results.date[:10]}",
        "\n".join(["| machine | |", "|-|-|", *_machine(results)]),
        "\n".join(["| step | what | result | s | what was found |", "|-|-|-|-|-|", *rows]),
        *(_failure(name, outcome) for name, outcome in results.outcomes.items() if outcome.status == "FAIL"),
    ]
    return "\n\n".join(parts) + "\n"


def counts(results: Results) -> str:
    """How many steps had each result, in words."""
    found = Counter(outcome.status for outcome in results.outcomes.values())
    return ", ".join(f"{number} {status}" for status, number in found.most_common())


def row(results: Results) -> str:
    """The run as one row: GPU; driver, CUDA, TensorRT; date; result; what ran."""
    versions = [
        f"{label} {_figure(results, step, name)}"
        for label, step, name in (
            ("driver", "driver", "driver"),
            ("CUDA", "driver", "CUDA of the driver"),
            ("TensorRT", "tensorrt", "TensorRT"),
        )
    ]
    failed = [name for name, outcome in results.outcomes.items() if outcome.status == "FAIL"]
    passed = [name for name, outcome in results.outcomes.items() if outcome.status == "PASS"]
    result = counts(results) + (f" ({', '.join(failed)} failed)" if failed else "")
    cells = (
        _figure(results, "driver", "GPU"),
        ", ".join(versions),
        results.date[:10],
        result,
        ", ".join(passed) or "nothing",
    )
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def recorded(page: str, line: str) -> str:
    """A page with the row above its marker, once.

    Raises:
        BadInput: the page has no marker.
    """
    lines = page.splitlines()
    if MARKER not in lines:
        raise BadInput(f"the page has no line {MARKER}, above which rows are added")
    if line in lines:
        return page
    lines.insert(lines.index(MARKER), line)
    return "\n".join(lines) + "\n"


def _machine(results: Results) -> list[str]:
    found = {
        name: value
        for step in _MACHINE
        if step in results.outcomes
        for name, value in _flat(results.outcomes[step].figures).items()
    }
    return [f"| {name} | {_escaped(value)} |" for name, value in found.items()]


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with those of the machine's identity among them."""
    return {
        **figures.get("identity", {}),
        **{name: each for name, each in figures.items() if name != "identity"},
    }


def _figure(results: Results, step: str, name: str) -> str:
    outcome = results.outcomes.get(step)
    return str(_flat(outcome.figures).get(name) or "not known") if outcome else "not known"


def _cell(outcome: Outcome) -> str:
    """The reason, or the figures in one line."""
    if outcome.reason:
        return _escaped(outcome.reason)
    if "identity" in outcome.figures:  # the table above has them
        return ""
    return _escaped("; ".join(f"{name}: {_short(value)}" for name, value in outcome.figures.items()))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(each)}" for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_short, value))
    return str(value)


def _failure(name: str, outcome: Outcome) -> str:
    parts = [f"## {name}: {outcome.status}", outcome.reason]
    for title, lines in (
        ("TensorRT's last messages", outcome.warnings),
        ("What it printed last", outcome.output),
    ):
        if lines:
            parts += [f"{title}:", "\n".join(f"    {line}" for line in lines)]
    return "\n\n".join(parts)


def _escaped(value: object) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
