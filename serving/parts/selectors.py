"""From scored candidates to slates: which shelf may show what, in which order, with which propensity and reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.epsilon_greedy import EpsilonGreedy
from recsys.items import Items
from recsys.pipeline import Candidates
from recsys.slate import ListEffect, Problem, Quota, Rules, Shelf, Slot, SlotPolicy, fill
from recsys.types import QueryBatch, RankedItem, Slate

Bools = NDArray[np.bool_]
Member = Callable[[QueryBatch, int, Candidates], Bools]
Reason = Callable[[int], str]
"""Candidate row -> reason code."""
Reasons = Callable[[QueryBatch, int, Candidates], Reason]
Effect = Callable[[QueryBatch, int, Candidates], ListEffect]
"""Builds a list effect for request j over its candidates."""
QuotaOf = Callable[[QueryBatch, int, Candidates], Quota]
"""Builds a quota for request j over its candidates."""
Drawing = Callable[[QueryBatch, int, Candidates], SlotPolicy]
"""Builds the slot policy of request j over its candidates."""


@dataclass(frozen=True)
class ShelfSpec:
    """One shelf of a surface: its id, which candidates it may show, and why it shows each."""

    name: str
    member: Member
    reasons: Reasons


@dataclass(frozen=True)
class ShelfSelector:
    """Fills the shelves of a surface from one score column under list rules.

    `drawing` replaces the one policy by one of each request, and `state` is the version of what it has learned.
    """

    shelves: tuple[ShelfSpec, ...]
    column: str
    policy: SlotPolicy
    items: Items
    rules: Rules
    name: str
    effects: tuple[Effect, ...] = ()
    quotas: tuple[QuotaOf, ...] = ()
    drawing: Drawing | None = None
    state: str = ""

    def select(self, batch: QueryBatch, candidates: Candidates) -> list[Slate]:
        return [self._one(batch, j, candidates.of(j)) for j in range(len(batch))]

    def _one(self, batch: QueryBatch, j: int, own: Candidates) -> Slate:
        problem = self.problem(batch, j, own)
        why = {spec.name: spec.reasons(batch, j, own) for spec in self.shelves}
        slots = fill(problem, self.policy_of(batch, j, own), batch.queries[j].seed)
        placed = ranked(own, self.column, slots, lambda slot: why[slot.shelf](slot.row))
        return Slate(placed, self.name, shortfalls(problem, slots))

    def policy_of(self, batch: QueryBatch, j: int, own: Candidates) -> SlotPolicy:
        """What request j is drawn from."""
        return self.policy if self.drawing is None else self.drawing(batch, j, own)

    def problem(self, batch: QueryBatch, j: int, own: Candidates) -> Problem:
        """Request j as a list-making problem; also what tests of propensities and estimators start from."""
        limit = batch.queries[j].limit
        shelves = [Shelf(s.name, limit, s.member(batch, j, own)) for s in self.shelves]
        return Problem(
            ids=own.ids,
            utility=np.asarray(own.columns[self.column], np.float64),
            artist=self.items.artist[own.ids].astype(np.int64),
            shelves=tuple(shelves),
            rules=self.rules,
            recent_artists=batch.queries[j].recent_artists,
            effects=tuple(effect(batch, j, own) for effect in self.effects),
            quotas=tuple(quota(batch, j, own) for quota in self.quotas),
        )


def one_list(
    items: Items, name: str, reasons: Reasons, column: str, epsilon: float, rules: Rules, policy: str
) -> ShelfSelector:
    """A selector of one shelf, best first with some exploration; `policy` is the name that answers state."""
    shelf = ShelfSpec(name, everything, reasons)
    return ShelfSelector((shelf,), column, EpsilonGreedy(epsilon), items, rules, policy)


def ranked(
    own: Candidates, column: str, slots: Sequence[Slot], reason: Callable[[Slot], str]
) -> tuple[RankedItem, ...]:
    """Filled slots over one request's candidates, with the scores of a column."""
    score = own.columns[column]
    return tuple(
        RankedItem(
            track=int(own.ids[slot.row]),
            shelf=slot.shelf,
            position=slot.position,
            score=float(score[slot.row]),
            propensity=slot.propensity,
            reason=reason(slot),
        )
        for slot in slots
    )


def shortfalls(problem: Problem, slots: Sequence[Slot]) -> dict[str, int]:
    """ "shelf:floor" -> slots by which it fell short, over all quotas of a filled problem."""
    return {
        f"{shelf.name}:{name}": count
        for quota in problem.quotas
        for shelf in problem.shelves
        for name, count in quota.short(shelf, slots).items()
    }


def always(code: str) -> Reasons:
    """The same reason for every candidate."""
    return lambda _batch, _j, _own: lambda _row: code


def proposed_by(source: str) -> Member:
    """Membership: the source of that name proposed the candidate."""
    return lambda _batch, _j, own: own.proposed_by(source)


def everything(_batch: QueryBatch, _j: int, own: Candidates) -> Bools:
    return np.ones(len(own), bool)
