"""Which shelf leads with which track: a bandit over (item, reason) pairs, with exact propensities of the pair.

A reason ("more like X", "new for you", a shelf's id) changes what an item is worth, so both are chosen together
(McInerney et al. 2018, "Explore, exploit, and explain"). With `cap=1` every reason comes once: the page's shelves in
order, each with the track that leads it.

own = pairs(eligible, item_features, context)
utility, policy = bandit.slots(own.features, seed)
slots = fill(Problem(own.ids, utility, artist[own.item], (Shelf("lead", 4, everything),), rules,
                     effects=(PairRules(own, cap=1),)), policy, seed)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.errors import BadInput
from recsys.slate import Shelf, Slot

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """The n pairs that may be shown.

    Attributes:
        ids: (n,) item * reasons + reason. item, reason: (n,) numbers. features: (n, dim).
    """

    ids: NDArray[np.int64]
    item: NDArray[np.int64]
    reason: NDArray[np.int64]
    features: Floats


def pairs(eligible: Bools, items: Floats, context: Floats) -> Pairs:
    """Candidates of a shelf-level bandit, and their features.

    Features: the item's; for each reason a block that is 0 but for the pair's own, of (1, context, item). So what a
    reason is worth in a situation, and for which items, is learned apart from what the item is worth.
    dim = f + r (1 + c + f).

    Args:
        eligible: (m, r) which reasons hold for which item. items: (m, f). context: (c,) of the request.

    Raises:
        BadInput: no pair, or items of another number than rows of `eligible`.
    """
    if len(items) != len(eligible) or not eligible.any():
        raise BadInput(
            f"{len(items)} items, {eligible.shape} eligible, {int(eligible.sum())} pairs: nothing to choose"
        )
    item, reason = np.nonzero(eligible)
    own = np.asarray(items, np.float64)[item]
    block = np.concatenate(
        [np.ones((len(item), 1)), np.broadcast_to(context, (len(item), len(context))), own], axis=1
    )
    blocks = np.zeros((len(item), eligible.shape[1], block.shape[1]))
    blocks[np.arange(len(item)), reason] = block
    features = np.concatenate([own, blocks.reshape(len(item), -1)], axis=1)
    return Pairs(item * eligible.shape[1] + reason, item, reason, features)


class PairRules:
    """A list effect of recsys.slate: an item comes once, a reason at most `cap` times (0: as often as it likes)."""

    def __init__(self, own: Pairs, cap: int = 1) -> None:
        self._own, self._cap = own, cap

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:  # noqa: ARG002
        """Utilities as they are."""
        return utility

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> Bools | None:  # noqa: ARG002
        """(n,) pairs whose item and reason are still open, over all shelves of the slate."""
        if not slots:
            return None
        rows = [slot.row for slot in slots]
        open_ = ~np.isin(self._own.item, self._own.item[rows])
        if self._cap:
            counts = np.bincount(self._own.reason[rows], minlength=int(self._own.reason.max()) + 1)
            open_ &= counts[self._own.reason] < self._cap
        return open_


def by_reason(probabilities: Floats, own: Pairs) -> Floats:
    """(reasons,) P(reason) of a slot from its probabilities over pairs (n,); P(item | reason) is the pair's over it."""
    return np.asarray(np.bincount(own.reason, probabilities), np.float64)
