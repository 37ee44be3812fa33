"""An engine tests itself: one inference of its probe must give what it gave when the engine was proved."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pssdet.engines.backend import CPU, Tensors
from pssdet.engines.registry import OpenEngine, backend_named, open_engine
from pssdet.errors import BadInput, GateFailed
from pssdet.models.card import EngineCard, Precision, StageRecord
from pssdet.models.probe import Inputs, Probe, read_probe
from pssdet.models.stages import BFLOAT, LIMITS, Limits, first_broken

#: How far the answers of one engine may lie apart on two machines. In int8 both were rounded alike: a build's
#: limits, which leave room for rounding, are too wide, and sums that overflow without VNNI keep to them. In
#: bfloat16 the kernels of another CPU change what an engine finds, within its limits but not within float16's.
_LIMITS: dict[Precision, Limits] = {**LIMITS, "int8": BFLOAT}


def self_test(folder: Path, engine: OpenEngine, *, wanted: bool | None) -> str:
    """Test an engine that was just opened, in the very session that will find detections.

    That session returns no stages. They are asked of a second one where the test was asked for, to say where a
    failure begins, and where the model finds nothing in the probe. Detections alone miss a fault in parts that
    none of them depends on, such as a level of the FPN that holds no object of this size.

    Args:
        wanted: None tests only where this machine is not as the one of the build was.

    Returns:
        Result of the self-test, as a sentence for people; empty if no test was due.

    Raises:
        BadInput: the test is wanted, but the engine cannot be tested.
        GateFailed: the engine gives something else.
    """
    card = engine.card
    if wanted is False or (wanted is None and card.model.probe is None):
        return ""
    changed = changes(card.environment, backend_named(card.backend).environment(card))
    if wanted is None and not changed:
        return ""
    since = f"since the build, {', '.join(changed)}" if changed else "this machine is as it was at the build"
    try:
        probe, inputs = _prepared(folder, card)
    except BadInput as error:
        if wanted:
            raise
        return f"no self-test, although {since}: {error}"
    records = _compared(card, probe, engine.session.run(inputs))
    if (wanted or first_broken(records) or probe.finds_nothing) and probe.has_stages:
        records = [*_stages_compared(folder, probe, inputs), *records]
    if broken := first_broken(records):
        raise GateFailed(
            f"the engine in {folder} fails its self-test {broken}; {since}; build the engine again"
        )
    return f"self-test passed; {since}"


def _prepared(folder: Path, card: EngineCard) -> tuple[Probe, Inputs]:
    cannot = f"the engine in {folder} cannot test itself because"
    if card.model.probe is None:
        raise BadInput(f"{cannot} its export has no probe; export again")
    if card.probe is None:
        why = "no profile of it takes the export's probe" if card.profiles else "its card names no probe"
        raise BadInput(f"{cannot} {why}; build it again")
    probe = read_probe(folder, card.probe)
    if probe.finds_nothing and not probe.has_stages:
        raise BadInput(f"{cannot} it finds nothing in its probe")
    return probe, probe.inputs(card.model.preprocessing, card.profiles)


def _stages_compared(folder: Path, probe: Probe, inputs: Inputs) -> list[StageRecord]:
    """The stages without the detections, which in bfloat16 are others where layers return their results."""
    card, session = open_engine(folder, stages=True)
    with closing(session):
        records = _compared(card, probe, session.run(inputs))
    return [record for record in records if record.stage != "detections"]


def _compared(card: EngineCard, probe: Probe, tensors: Tensors) -> list[StageRecord]:
    return probe.compare(card.model.architecture, tensors, _LIMITS[card.precision])


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """How two environments differ, in words; see ``Backend.environment``."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return [_change(name, then.get(name, ""), now.get(name, "")) for name in names]


def _change(name: str, then: str, now: str) -> str:
    if name != CPU:
        return f"{name} {then or 'none'} became {now or 'none'}"
    lost, new = sorted({*then.split()} - {*now.split()}), sorted({*now.split()} - {*then.split()})
    parts = [f"{word} {' '.join(flags)}" for word, flags in (("lacks", lost), ("has", new)) if flags]
    return f"the CPU {' and '.join(parts)}"
