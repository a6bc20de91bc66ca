"""What a new version of the config may do to experiments that are running: move no more units than it must.

found = list(forbidden(old, new, now))     # [] or [(place in the new config, message), ...]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.allocation import OUT, Table, fewest, moved
from experiments.check import Conflict
from experiments.config import Config, Holdout, Layer
from experiments.experiment import Experiment
from experiments.plan import Trial


def forbidden(old: Config, new: Config, now: int) -> Iterator[Conflict]:
    """Changes to running experiments that would shuffle units without need; `now` is UTC ms."""
    before = {t.experiment.name: t for t in old.plan.trials if t.start <= now < t.stop}
    after = {t.experiment.name: t for t in new.plan.trials}
    for i, experiment in enumerate(new.experiments):
        was, now_is = before.get(experiment.name), after.get(experiment.name)
        if was is not None and now_is is not None:
            yield from ((("experiments", i, *at), message) for at, message in _one(was, now_is, now))
    yield from _gates(old, new, list(before.values()), now)


def _gates(old: Config, new: Config, running: list[Trial], now: int) -> Iterator[Conflict]:
    """Layers and holdouts of running experiments, divided anew: units would leave while others enter."""
    used = {t.experiment.layer.name for t in running if t.experiment.layer is not None}
    gates = [old.plan.gates[number] for t in running for number in t.holdouts]
    used |= {gate.name for gate in gates if gate.start <= now < gate.stop}
    for part in ("layers", "holdouts"):
        before = {gate.name: gate for gate in getattr(old, part) if gate.name in used}
        for i, gate in enumerate(getattr(new, part)):
            changed = _divided_anew(before[gate.name], gate) if gate.name in before else ""
            if changed:
                yield (
                    (part, i, changed),
                    f"experiments run in {gate.name}: another {changed} would shuffle their units; stop them first",
                )


def _divided_anew(was: Layer | Holdout, becomes: Layer | Holdout) -> str:
    """What of a layer or holdout has changed that places its units; "" for nothing."""
    if (was.salt or was.name) != (becomes.salt or becomes.name):
        return "salt"
    return next((key for key in ("hash", "unit") if getattr(was, key) != getattr(becomes, key)), "")


def _one(was: Trial, becomes: Trial, now: int) -> Iterator[Conflict]:
    a, b = was.experiment, becomes.experiment
    for key in ("salt", "hash", "unit"):
        if getattr(a, key) != getattr(b, key):
            yield (
                (key,),
                f"{a.name} is running: another {key} would shuffle everybody; stop it, and start another by a new name",
            )
            return
    if a.question is not None and b.question is not None:
        yield from _treatments(a, b)
        if a.start != b.start:
            yield (
                ("start",),
                f"{a.name} is running: its report begins at its start, which cannot change any more",
            )
    if _slice_moves(was, becomes):
        yield ("layer",), f"{a.name} is running: its slice may grow or shrink, and not move"
    old, new = _as_of(was, becomes, now)
    if moved(old, new) > fewest(old, new):
        yield (
            ("arms",),
            f"{a.name} is running: this would move {moved(old, new) / len(old):.1%} of units where "
            f"{fewest(old, new) / len(old):.1%} do: write the new weights under weight_changes",
        )


def _treatments(a: Experiment, b: Experiment) -> Iterator[Conflict]:
    """Arms that would do something else than what their units have met: one name would stand for two treatments."""
    arms = {arm.name: arm for arm in a.arms}
    for j, arm in enumerate(b.arms):
        was = arms.get(arm.name)
        for key in ("release", "parameters", "value"):
            if was is not None and getattr(was, key) != getattr(arm, key):
                yield (
                    ("arms", j, key),
                    f"{a.name} is running: arm {arm.name} would be another treatment under the same name; "
                    "stop it, and start another by a new name",
                )


def _slice_moves(was: Trial, becomes: Trial) -> bool:
    """Whether units leave the slice while others enter it."""
    a, b = was.experiment.layer, becomes.experiment.layer
    if a is None or b is None:
        return False
    shared = max(0, min(was.high, becomes.high) - max(was.low, becomes.low))
    return a.name != b.name or shared < min(was.high - was.low, becomes.high - becomes.low)


def _as_of(was: Trial, becomes: Trial, now: int) -> tuple[Table, Table]:
    """Both tables at a time, with the arms numbered alike by name."""
    names = list(dict.fromkeys((*was.names, *becomes.names)))
    return _renumbered(was, names, now), _renumbered(becomes, names, now)


def _renumbered(trial: Trial, names: list[str], now: int) -> Table:
    numbers = np.array([*(names.index(name) for name in trial.names), OUT], np.int8)
    return numbers[np.frombuffer(trial.table(now), np.int8)]  # OUT, -1, is the last of the numbers
