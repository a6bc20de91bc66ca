"""List-making inside the Selector: shelves, caps and separation as masks before each draw.

A slot policy states a distribution over the allowed candidates of one slot; `fill` draws slot by slot
from it and records its exact propensity P(item at this slot | everything placed
before it). Nothing touches a slate afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I64

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rules:
    """List constraints; a cap of 0 is no cap."""

    artist_cap_shelf: int = 2
    artist_cap_slate: int = 4
    artist_gap: int = 0  # slots that must lie between two tracks of one artist (radio)


@dataclass(frozen=True)
class Shelf:
    """A row of `size` slots that may show the candidates of `member`."""

    name: str
    size: int
    member: Bools  # (n,)


class ListEffect(Protocol):
    """What the slots placed so far do to the next one; built for one problem, asked before each draw."""

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:
        """(n,) utilities of the next slot, from those that the effects before this one left."""
        ...

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> Bools | None:
        """(n,) mask of what may come next; None: no objection."""
        ...


class Quota(Protocol):
    """Narrows what may come next when everything else about the slot is known; asked last, before each draw."""

    def narrow(self, utility: Floats, allowed: Bools, shelf: Shelf, slots: Sequence[Slot]) -> Bools:
        """(n,) a part of `allowed` that is not empty; all of it where there is no objection.

        `utility` is what the effects left, `allowed` what shelf, rules and effects left. Asked once for every slot,
        in order.
        """
        ...

    def short(self, shelf: Shelf, slots: Sequence[Slot]) -> dict[str, int]:
        """What a filled shelf lacks, in slots by name; empty where nothing."""
        ...


@dataclass(frozen=True)
class Problem:
    """One request's n candidates and the shelves to fill, top to bottom."""

    ids: I64  # (n,)
    utility: Floats  # (n,) finite
    artist: I64  # (n,)
    shelves: tuple[Shelf, ...]
    rules: Rules
    recent_artists: tuple[int, ...] = ()  # artists just before this slate (radio pages), newest last
    effects: tuple[ListEffect, ...] = ()
    quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True)
class Slot:
    """One filled slot."""

    row: int  # candidate row in the problem
    shelf: str
    position: int
    propensity: float


class SlotPolicy(Protocol):
    """A distribution for one slot given the allowed set."""

    @property
    def name(self) -> str: ...

    def distribution(self, utility: Floats, allowed: Bools) -> Floats:
        """(n,) probabilities, 0 outside `allowed` (which is not empty), summing to 1.

        `utility` is without ties: equal scores have been ordered by the request's seeded tie-break.
        """
        ...

    def pick(self, utility: Floats, allowed: Bools, u: float) -> tuple[int, float]:
        """The candidate at quantile `u` of that distribution (in order of row), and its probability.

        `at_quantile(self.distribution(...), u)` is always right; a policy may know a shorter way.
        """
        ...


def fill(problem: Problem, policy: SlotPolicy, seed: int) -> list[Slot]:
    """Fills all slots in order; a slot for which nothing is allowed ends its shelf early."""
    draws = np.random.Generator(np.random.Philox(key=seed))
    utility = break_ties(problem.utility, problem.ids, seed)
    slots: list[Slot] = []
    for shelf, position, allowed in _allowed_slots(problem, slots):
        now, open_ = _next(problem, utility, allowed, shelf, slots)
        row, probability = policy.pick(now, open_, draws.random())
        slots.append(Slot(row, shelf.name, position, probability))
    return slots


def propensities(problem: Problem, policy: SlotPolicy, seed: int, rows: list[int]) -> list[Floats]:
    """The conditional distribution of every slot, along a given slate (for replay, tests and estimators)."""
    utility = break_ties(problem.utility, problem.ids, seed)
    slots: list[Slot] = []
    out = []
    for shelf, position, allowed in _allowed_slots(problem, slots):
        out.append(policy.distribution(*_next(problem, utility, allowed, shelf, slots)))
        slots.append(Slot(rows[len(slots)], shelf.name, position, float(out[-1][rows[len(slots)]])))
    return out


def _next(
    problem: Problem, utility: Floats, allowed: Bools, shelf: Shelf, slots: Sequence[Slot]
) -> tuple[Floats, Bools]:
    """What a policy sees of the next slot: the utilities that the effects leave, the mask that the quotas leave."""
    for effect in problem.effects:
        utility = effect.utility(utility, shelf, slots)
    for quota in problem.quotas:
        allowed = quota.narrow(utility, allowed, shelf, slots)
    return utility, allowed


def _allowed_slots(problem: Problem, slots: list[Slot]) -> Iterator[tuple[Shelf, int, Bools]]:
    """Each slot with its allowed set, given the `slots` placed so far; the caller appends to them."""
    rules = problem.rules
    free = np.ones(len(problem.ids), bool)
    per_slate: dict[int, int] = {}
    recent = list(problem.recent_artists)
    for shelf in problem.shelves:
        per_shelf: dict[int, int] = {}
        open_ = free & shelf.member
        for position in range(shelf.size):
            allowed = open_
            if rules.artist_gap and recent:
                allowed = allowed & ~np.isin(problem.artist, recent[-rules.artist_gap :])
            for effect in problem.effects:
                mask = effect.allowed(shelf, slots)
                allowed = allowed if mask is None else allowed & mask
            if not allowed.any():
                break
            yield shelf, position, allowed
            row = slots[-1].row
            artist = int(problem.artist[row])
            free[row] = open_[row] = False
            recent.append(artist)
            per_shelf[artist] = per_shelf.get(artist, 0) + 1
            per_slate[artist] = per_slate.get(artist, 0) + 1
            if per_shelf[artist] == rules.artist_cap_shelf:
                open_ &= problem.artist != artist
            if per_slate[artist] == rules.artist_cap_slate:
                free &= problem.artist != artist
                open_ &= free


def at_quantile(probabilities: Floats, u: float) -> tuple[int, float]:
    """The candidate at quantile u of a distribution (inverse of its cumulative sum), and its probability."""
    cumulative = probabilities.cumsum()
    row = int(cumulative.searchsorted(u * cumulative[-1], side="right"))
    row = row if row < len(probabilities) else int(np.flatnonzero(probabilities)[-1])
    return row, float(probabilities[row])


def sunk(utility: NDArray[np.floating]) -> Floats:
    """Utilities with those that are not finite below all others."""
    return np.where(np.isfinite(utility), utility, -np.finfo(np.float32).max).astype(np.float64)


def break_ties(utility: Floats, ids: I64, seed: int) -> Floats:
    """Utilities without ties: equal scores are ordered by a hash of (seed, id), others stay untouched.

    Returned values are the utilities themselves where distinct; tied ones are moved to the next representable
    doubles, which changes no order between distinct scores.
    """
    finite = sunk(utility)
    order = np.lexsort((scramble(ids, seed), finite))
    ranked = finite[order]
    tied = np.flatnonzero(ranked[1:] == ranked[:-1]) + 1
    if not len(tied):
        return finite
    for i in tied:
        ranked[i] = np.nextafter(ranked[i - 1], np.inf)
    out = np.empty_like(finite)
    out[order] = np.maximum.accumulate(ranked)
    return out


def scramble(ids: I64, seed: int) -> NDArray[np.uint64]:
    """A 64-bit hash of (seed, id): splitmix64's finaliser (Steele et al. 2014), the same on every machine."""
    x = ids.astype(np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
