"""What of the stored results is wrong: failed checks in words."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.gpu.results import Results


def failures(results: Results) -> list[str]:
    """Every check that did not hold."""
    return [*_checks(results), *_streams(results), *_opinions(results)]


def checks(results: Results) -> int:
    """How many launches were compared with float64."""
    return sum(len(row["errors"]) for stage in _checked(results) for row in results.stages[stage]["result"]["rows"])


def _checked(results: Results) -> list[str]:
    return [name for name in results.stages if name == "odd shapes" or name.startswith("correctness")]


def _checks(results: Results) -> Iterator[str]:
    for stage in _checked(results):
        for row in results.stages[stage]["result"]["rows"]:
            where = f"{stage}, {row['layer']}, N={row['batch']}, {row['format']}, {row['reach']} offsets"
            yield from (f"{where}: {failure}" for failure in row["failures"])


def _streams(results: Results) -> Iterator[str]:
    for row in (results.result("two streams") or {"rows": []})["rows"]:
        if row["different"]:
            yield f"two streams, {row['layers']}, {row['format']}: {row['different']} of {row['runs']} results differ"


def _opinions(results: Results) -> Iterator[str]:
    for row in (results.result("second opinion") or {"rows": []})["rows"]:
        difference = row["difference"]
        if difference is None or difference > row["limit"]:
            yield f"second opinion, {row['layer']}: the float64 reference differs from torchvision's by {difference}"
