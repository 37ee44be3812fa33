"""A report by models: what is of which, and how engines are called where there are several models."""

from __future__ import annotations

import msgspec

from pssdet.validation.parity_report.schema import EngineResult, Report


def models(report: Report) -> list[str]:
    """The configuration names, in the order of the report."""
    return [each.model for each in report.identity.models]


def several(report: Report) -> bool:
    """Whether an engine's name alone does not say which it is."""
    return len(report.identity.models) > 1


def label(report: Report, model: str, engine: str) -> str:
    """What an engine is called: by its name, and by its model's too if there are several."""
    return f"{model}/{engine}" if several(report) else engine


def by_model(report: Report) -> list[Report]:
    """The report in parts of one model each; what is not of a model is in all of them."""
    return [
        msgspec.structs.replace(
            report,
            identity=msgspec.structs.replace(report.identity, models=(each,)),
            engines=tuple(engine for engine in report.engines if engine.model == each.model),
            comparisons=tuple(pair for pair in report.comparisons if pair.model == each.model),
        )
        for each in report.identity.models
    ]


def uncompared(report: Report) -> list[EngineResult]:
    """The engines with a result that no comparison is about: each the only engine of its model."""
    compared = {(pair.model, name) for pair in report.comparisons for name in (pair.candidate, pair.reference)}
    return [each for each in report.engines if not each.failure and (each.model, each.name) not in compared]
