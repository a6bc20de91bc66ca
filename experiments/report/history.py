"""What was done to an experiment and decided in it, when, and under which version or rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from experiments.experiment import Experiment
from experiments.report.record import Happening, MetricRow, SampleRatio
from experiments.report.words import number
from experiments.store import Store
from recsys.errors import RecsysError


def changes(store: Store, name: str) -> list[Happening]:
    """What each version of the config that ran changed in an experiment; versions that cannot be read are named."""
    out: list[Happening] = []
    before: Experiment | None = None
    for entry in store.versions():
        at = datetime.fromtimestamp(entry.at / 1000, UTC).isoformat(timespec="seconds")
        try:
            now = store.load(entry.version).experiment(name)
        except RecsysError as error:
            out.append(Happening(at, f"a version that cannot be read: {error}", entry.version))
            continue
        out += [Happening(at, what, entry.version) for what in _differences(before, now)]
        before = now
    return out


def _differences(before: Experiment | None, now: Experiment | None) -> Iterable[str]:
    if before == now:
        return
    if before is None or now is None:
        yield "was written down" if now is not None else "was taken out"
        return
    if now.active != before.active or now.start != before.start:
        yield "was started" if now.active and now.start is not None else "became a draft"
    if now.stopped != before.stopped and now.stopped is not None:
        yield "was stopped"
    if now.stop != before.stop:
        yield f"its planned end became {now.stop:%Y-%m-%d}" if now.stop else "its planned end was taken away"
    for part in ("ramp", "coverage", "weight_changes", "arms", "targeting", "layer", "question", "surfaces"):
        if getattr(now, part) != getattr(before, part):
            yield f"its {part.replace('_', ' ')} changed"


def schedule_of(experiment: Experiment) -> list[Happening]:
    """The steps that the config itself plans: ramp and weights."""
    out = [
        Happening(step.at.isoformat(), f"ramp: {step.share:.0%} of units take part")
        for step in experiment.ramp
    ]
    for change in experiment.weight_changes:
        weights = ", ".join(f"{name} {weight:g}" for name, weight in change.weights.items())
        out.append(Happening(change.at.isoformat(), f"weights: {weights}"))
    return out


def decisions(rows: Sequence[MetricRow], ratio: SampleRatio | None, rule: str) -> list[Happening]:
    """What the rule said of the primary metric at each planned look and when it stopped, alarms and breaches."""
    out = []
    for row in rows:
        stopped = False
        for point in (p for p in row.trail if p.planned):
            if stopped or (row.role != "primary" and point.outcome == "running"):
                continue
            stopped = point.outcome != "running"
            if row.role == "primary" and (stopped or len([p for p in row.trail if p.planned]) <= 20):
                bound = "" if point.bound is None else f", {number(point.bound)} needed"
                z = "" if point.z is None else f" (z {number(point.z)}{bound})"
                said = point.outcome if stopped else "goes on"
                out.append(Happening(point.day, f"{row.metric} in {row.arm}: {said}{z}", rule))
    if ratio is not None and ratio.first is not None:
        out.append(Happening(ratio.first, "sample-ratio alarm", f"sequential check, alpha {ratio.alpha:g}"))
    return out


def ordered(*parts: Iterable[Happening]) -> tuple[Happening, ...]:
    return tuple(sorted((h for part in parts for h in part), key=lambda h: h.at))
