"""Which arm holds which slot of a hash, now and after every change: as few slots as possible change hands.

Without a change of weights the ranges are GrowthBook's. For three arms or more no rule that looks at the new weights
alone moves the fewest: with weights (1/2, 1/2, 0), (1/2, 0, 1/2) and (0, 1/2, 1/2) it would need three sets of slots,
each a half, each disjoint from both others. So changes are written down in the config (`weight_changes`, `ramp`), and a
table is found by going through them from the start: stateless, for the config holds its own history.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.bucketing import bucket_ranges

Table = NDArray[np.int8]
"""(steps,) the number of the arm that holds each slot; OUT where none does."""
OUT = -1


def ranged(weights: Sequence[float], coverage: float, steps: int) -> Table:
    """GrowthBook's ranges as a table: arm i holds `coverage` of its own stretch."""
    places = np.arange(steps) / steps
    table = np.full(steps, OUT, np.int8)
    for i, (start, end) in reversed(list(enumerate(bucket_ranges(len(weights), coverage, weights)))):
        table[(start <= places) & (places < end)] = i
    return table


def moved(before: Table, after: Table) -> int:
    """Slots that change hands, those that enter or leave the experiment included."""
    return int((before != after).sum())


def fewest(before: Table, after: Table) -> int:
    """The fewest slots that any change with the same sizes must move: what the shrinking parts lose."""
    return int(np.maximum(_sizes(before, after) - _sizes(after, before), 0).sum())


def changed(before: Table, weights: Sequence[float], coverage: float) -> Table:
    """The table after a change: GrowthBook's ranges where they move the fewest slots, else what does."""
    plain = ranged(weights, coverage, len(before))
    return plain if moved(before, plain) == fewest(before, plain) else _carried(before, plain)


def _sizes(table: Table, other: Table) -> NDArray[np.int64]:
    """Slots of OUT, arm 0, arm 1, ... (as many as either table knows)."""
    return np.bincount(table + 1, minlength=int(max(table.max(), other.max())) + 2)


def _carried(before: Table, wanted: Table) -> Table:
    """Sizes as in `wanted`: who shrinks gives its last slots, who grows takes them in order."""
    need = _sizes(wanted, before) - _sizes(before, wanted)
    after = before.copy()
    given = [np.flatnonzero(before == i - 1)[-int(-n) :] for i, n in enumerate(need) if n < 0]
    pool = np.sort(np.concatenate(given)) if given else np.zeros(0, np.int64)
    after[pool] = np.repeat(np.arange(len(need)) - 1, np.maximum(need, 0))
    return after
