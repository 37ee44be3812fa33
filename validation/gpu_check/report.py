"""The results of a check as Markdown and JSON that can be shown to anybody: without paths and host names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pssdet.errors import BadInput
from pssdet.validation.gpu_check.plan import Step
from pssdet.validation.gpu_check.runner import Outcome, Results

#: Where ``--record`` adds rows to a page, above this line.
MARKER = "<!-- runs -->"

_MACHINE = ("driver", "cuda", "kernels", "bundles", "tensorrt", "plugins")
_LONGEST = 640


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
