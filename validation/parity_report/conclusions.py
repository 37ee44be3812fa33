"""What a report concludes, in words: the overall verdict, its reasons, and the engines that no comparison covers."""

from __future__ import annotations

from collections.abc import Sequence

from pssdet.validation.parity_report.number_format import points
from pssdet.validation.parity_report.schema import Comparison, EngineResult, Report, Verdict

_WORST_FIRST: tuple[Verdict, ...] = ("FAIL", "INCONCLUSIVE", "PASS")


def several(report: Report) -> bool:
    """Whether the report is of several models, so that an engine's name alone does not identify it."""
    return len(report.identity.models) > 1


def label_of(report: Report, model: str, engine: str) -> str:
    """An engine's name, and its model's too if there are several."""
    return f"{model}/{engine}" if several(report) else engine


def overall_verdict(report: Report) -> Verdict | None:
    """The worst verdict; an engine without a result is a FAIL. None if nothing was compared."""
    verdicts = {comparison.verdict for comparison in report.comparisons}
    if any(engine.failure for engine in report.engines):
        verdicts.add("FAIL")
    return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None)


def summary(report: Report) -> str:
    """How many comparisons have which verdict, by model if there are several."""
    counts = _verdict_counts(report.comparisons)
    text = f"{_counted(len(report.comparisons), 'comparison')}: {counts}" if counts else "Nothing was compared"
    if counts and several(report):
        parts = []
        for each in report.identity.models:
            part = _verdict_counts([pair for pair in report.comparisons if pair.model == each.model])
            parts.append(f"{each.model}: {part}" if part else f"{each.model} was not compared")
        text += f" ({'; '.join(parts)})"
    failed = sum(1 for engine in report.engines if engine.failure)
    return f"{text}; {_counted(failed, 'engine')} without a result" if failed else text


def _verdict_counts(comparisons: Sequence[Comparison]) -> str:
    verdicts = [comparison.verdict for comparison in comparisons]
    return ", ".join(f"{verdicts.count(each)} {each}" for each in _WORST_FIRST if each in verdicts)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def fail_reasons(report: Report) -> tuple[str, ...]:
    """Everything that makes the verdict a FAIL: which engine, and why."""
    pairs = [(pair.model, pair.candidate, pair.reason) for pair in report.comparisons if pair.verdict == "FAIL"]
    pairs += [(each.model, each.name, each.failure) for each in unreported_failures(report)]
    return tuple(f"{label_of(report, model, name)}: {why}" for model, name, why in pairs)


def uncompared(report: Report) -> list[EngineResult]:
    """The engines with a result that no comparison is about: each the only engine of its model."""
    compared = {(pair.model, name) for pair in report.comparisons for name in (pair.candidate, pair.reference)}
    return [each for each in report.engines if not each.failure and (each.model, each.name) not in compared]


def unreported_failures(report: Report) -> list[EngineResult]:
    """The failed engines whose failure no comparison of theirs gives as its reason."""
    reported = [
        ((pair.model, name), pair.reason) for pair in report.comparisons for name in (pair.candidate, pair.reference)
    ]
    return [
        each
        for each in report.engines
        if each.failure and not any(who == (each.model, each.name) and each.failure in why for who, why in reported)
    ]


def ap_alone(report: Report, engine: EngineResult) -> str:
    """What is known of an engine that was not compared."""
    return f"AP {points(engine.stats.get('AP'))} on {report.identity.images:,} images, compared with nothing"


def reason(comparison: Comparison) -> str:
    """The verdict's reason, and how many images would decide an open one if the reason does not say so."""
    images = f"{comparison.images_to_decide:,}"
    complete = comparison.verdict != "INCONCLUSIVE" or comparison.images_to_decide <= 0 or images in comparison.reason
    return comparison.reason if complete else f"{comparison.reason.rstrip('.')}; about {images} images would decide"
