"""Interleaving: one list made of two rankings, so that every listener compares them. Generators with their credits.

shown = team_draft(a, b, 10, rng)                    # shown.items, shown.credit: > 0 counts for a, < 0 for b
mixture = optimised(a, b, 8); shown = mixture.draw(rng)
Team-draft: Radlinski, Kurup & Joachims, CIKM 2008. Optimised: Radlinski & Craswell, WSDM 2013. The test is in
experiments.analysis.preference. Neither list is longer than the shorter ranking allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from experiments.analysis.moments import F64
from recsys.errors import BadInput

I64 = NDArray[np.int64]
Credit = Literal["inverse_rank", "rank_difference"]
"""The paper's binary credit (who ranks it higher) is left out: often no mixture is unbiased under it."""
DEEPEST = 12
"""Slots of an optimised list: up to 2^12 lists are weighed."""


@dataclass(frozen=True)
class Interleaved:
    """A list to show and, per slot, what a click or stream there counts for a (positive) or b (negative)."""

    items: I64  # (k,)
    credit: F64  # (k,)


@dataclass(frozen=True)
class Mixture:
    """Lists with the probabilities that make clicks without preference count for nobody.

    `bias`: greatest expected credit of a click on any one slot; 0 unless no mixture can do it.
    """

    items: I64  # (lists, k)
    credit: F64  # (lists, k)
    probability: F64  # (lists,)
    bias: float

    def draw(self, rng: np.random.Generator) -> Interleaved:
        row = int(rng.choice(len(self.probability), p=self.probability))
        return Interleaved(self.items[row], self.credit[row])


def team_draft(a: Sequence[int], b: Sequence[int], k: int, rng: np.random.Generator) -> Interleaved:
    """Two captains pick in turn, each its best item not yet picked; a coin says who starts each round.

    Raises:
        BadInput: a ranking names an item twice.
    """
    _check(a, b)
    items: list[int] = []
    credit: list[float] = []
    while len(items) < k:
        picks_a, picks_b = credit.count(1.0), credit.count(-1.0)
        first = picks_a < picks_b or (picks_a == picks_b and rng.random() < 0.5)
        best = _next(a if first else b, items)
        if best is None:
            break
        items.append(best)
        credit.append(1.0 if first else -1.0)
    return Interleaved(np.array(items, np.int64), np.array(credit))


def optimised(a: Sequence[int], b: Sequence[int], k: int, credit: Credit = "inverse_rank") -> Mixture:
    """The most sensitive unbiased mixture of lists.

    Allowed lists take at each slot the best unused item of a or of b. A click's credit compares the item's two ranks
    (an item that the other ranking lacks stands just below its end). Unbiased: in every slot the expected credit is
    0, so a listener who clicks any slots at random prefers nobody. Of the unbiased mixtures, the one whose lists
    leave the winner most open, as the paper's entropy of the winner under one click of probability 1/slot, is taken
    by linear programming. Where none is unbiased, the least biased one; see Mixture.bias.

    Raises:
        BadInput: an item twice in a ranking, or more than 12 slots.
    """
    _check(a, b)
    if k > DEEPEST:
        raise BadInput(f"optimised interleaving weighs every allowed list: at most {DEEPEST} slots")
    lists = np.array(sorted(_allowed(a, b, k)), np.int64)
    values = {item: _value(a, b, item, credit) for item in {*a, *b}}
    credits = np.array([[values[int(item)] for item in row] for row in lists]).reshape(lists.shape)
    n, slots = lists.shape
    # Variables: probabilities, then the part of each slot's bias above and below 0, at a price that nothing outweighs.
    cost = np.concatenate([-_sensitivity(credits), np.full(2 * slots, 1e4)])
    equal = np.vstack(
        [
            np.concatenate([np.ones(n), np.zeros(2 * slots)]),
            np.hstack([credits.T, -np.eye(slots), np.eye(slots)]),
        ]
    )
    solved = linprog(cost, A_eq=equal, b_eq=np.concatenate([[1.0], np.zeros(slots)]), method="highs")
    probability = np.maximum(solved.x[:n], 0)
    probability /= probability.sum()
    keep = probability > 1e-12
    bias = float(np.abs(probability @ credits).max(initial=0.0))
    return Mixture(
        lists[keep], credits[keep], probability[keep] / probability[keep].sum(), bias if bias > 1e-6 else 0.0
    )


def _allowed(a: Sequence[int], b: Sequence[int], k: int) -> set[tuple[int, ...]]:
    lists: set[tuple[int, ...]] = {()}
    for _ in range(k):
        longer = set()
        for row in lists:
            picks = {_next(a, row), _next(b, row)} - {None}
            longer |= {(*row, pick) for pick in picks if pick is not None}
        lists = longer or lists
    return lists


def _next(ranking: Sequence[int], used: Sequence[int]) -> int | None:
    return next((int(item) for item in ranking if item not in used), None)


def _value(a: Sequence[int], b: Sequence[int], item: int, credit: Credit) -> float:
    rank_a = list(a).index(item) + 1 if item in a else len(a) + 1
    rank_b = list(b).index(item) + 1 if item in b else len(b) + 1
    if credit == "inverse_rank":
        return 1 / rank_a - 1 / rank_b
    return float(rank_b - rank_a)


def _sensitivity(credits: F64) -> F64:
    """Chance that a click decides, times the entropy (bits) of whom it decides for."""
    click = 1 / np.arange(1, credits.shape[1] + 1)
    click /= click.sum()
    wins = np.stack([(credits > 0) @ click, (credits < 0) @ click])
    decided = wins.sum(0)
    share = wins / np.where(decided > 0, decided, 1)
    entropy: F64 = -(share * np.log2(np.where(share > 0, share, 1))).sum(0)
    out: F64 = decided * entropy
    return out


def _check(a: Sequence[int], b: Sequence[int]) -> None:
    if any(len(set(ranking)) < len(ranking) for ranking in (a, b)):
        raise BadInput("a ranking names an item twice: give each item once")
