"""What a new version of the config may do to experiments that are running: move no more units than it must.

found = list(forbidden(old, new, now))     # [] or [(place in the new config, message), ...]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.allocation import OUT, Table, fewest, moved
from experiments.check import Conflict
from experiments.config import Config
from experiments.experiment import Experiment
from experiments.plan import Trial, span


def forbidden(old: Config, new: Config, now: int) -> Iterator[Conflict]:
    """Changes to running experiments that would shuffle units without need; `now` is UTC ms."""
    before = {t.experiment.name: t for t in old.plan.trials if t.start <= now < t.stop}
    after = {t.experiment.name: t for t in new.plan.trials}
    for i, experiment in enumerate(new.experiments):
        was, now_is = before.get(experiment.name), after.get(experiment.name)
        if was is not None and now_is is not None:
            yield from ((("experiments", i, *at), message) for at, message in _one(was, now_is, now))


def _one(was: Trial, becomes: Trial, now: int) -> Iterator[Conflict]:
    a, b = was.experiment, becomes.experiment
    for key in ("salt", "hash", "unit"):
        if getattr(a, key) != getattr(b, key):
            yield (
                (key,),
                f"{a.name} is running: another {key} would shuffle everybody; stop it, and start another by a new name",
            )
            return
    if _slice_moves(a, b):
        yield ("layer",), f"{a.name} is running: its slice may grow or shrink, and not move"
    old, new = _as_of(was, becomes, now)
    if moved(old, new) > fewest(old, new):
        yield (
            ("arms",),
            f"{a.name} is running: this would move {moved(old, new) / len(old):.1%} of units where "
            f"{fewest(old, new) / len(old):.1%} do: write the new weights under weight_changes",
        )


def _slice_moves(a: Experiment, b: Experiment) -> bool:
    """Whether units leave the slice while others enter it."""
    if (a.layer and a.layer.name) != (b.layer and b.layer.name):
        return a.layer is not None and b.layer is not None
    (low, high), (new_low, new_high) = span(a.layer, a.hash), span(b.layer, b.hash)
    shared = max(0, min(high, new_high) - max(low, new_low))
    return shared < min(high - low, new_high - new_low)


def _as_of(was: Trial, becomes: Trial, now: int) -> tuple[Table, Table]:
    """Both tables at a time, with the arms numbered alike by name."""
    names = list(dict.fromkeys((*was.names, *becomes.names)))
    return _renumbered(was, names, now), _renumbered(becomes, names, now)


def _renumbered(trial: Trial, names: list[str], now: int) -> Table:
    numbers = np.array([*(names.index(name) for name in trial.names), OUT], np.int8)
    return numbers[np.frombuffer(trial.table(now), np.int8)]  # OUT, -1, is the last of the numbers
