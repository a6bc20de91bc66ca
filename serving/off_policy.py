"""A home's logged answers as off-policy data: what another slot policy, or another utility, would have placed instead.

known = reconsider(home, Change("eps0.3", policy=EpsilonGreedy(0.3)))
print(evaluate(known.frame, known.target, level="slot").table())

Exact, not modelled: a Decision records its eligible tracks, their score columns and its seed, so the Selector's problem
is set up again, and the target's distribution of every slot is read off along the slate that was logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import orjson
import polars as pl

from bandits.ope.frame import Target
from experiments.parameters import overlay
from recsys.dataset import trainable
from recsys.errors import BadInput, NotReady
from recsys.home import Home
from recsys.lake import Lake
from recsys.pipeline import Candidates
from recsys.rewards import WINDOW_MS, RewardWeights, attribute
from recsys.schemas import EventKind
from recsys.slate import Floats, SlotPolicy, propensities
from recsys.types import Decision
from serving.decisions import batch_of, candidates_of, from_payload, query_of
from serving.loaded import LoadedRelease
from serving.parts.selectors import ShelfSelector
from serving.recommender import Recommender
from serving.registry import Registry
from serving.replay import as_of
from serving.settings import ServiceSettings

SAME = 1e-9
"""How far a propensity that is computed again may be from the logged one."""
Utility = Callable[[Candidates, str], Floats]
"""The eligible tracks with all logged columns, and the name of the selector's -> (n,) utilities."""


@dataclass(frozen=True)
class Change:
    """A target policy as a change of what was served; without one it is the logging policy itself.

    Attributes:
        policy: another slot policy.
        utility: another utility of the eligible tracks; list effects are set up anew over it.
        rescored: the same, where it needs the whole Decision: (Decision, eligible tracks, column) -> (n,).
        only: which Decisions are asked about; the others are counted as "of another policy".
    """

    name: str
    policy: SlotPolicy | None = None
    utility: Utility | None = None
    rescored: Callable[[Decision, Candidates, str], Floats] | None = None
    only: Callable[[Decision], bool] | None = None


@dataclass(frozen=True)
class Reconsidered:
    """Rows for `bandits.ope.evaluate`; requests left out, by reason."""

    frame: pl.DataFrame
    target: Target
    left_out: dict[str, int] = field(default_factory=dict)


def reconsider(
    home: Home,
    change: Change,
    surface: str = "home",
    since: int = 0,
    until: int | None = None,
    slots: int | None = None,
    distributions: bool = False,
    weights: RewardWeights | None = None,
    settings: ServiceSettings | None = None,
) -> Reconsidered:
    """Logged answers of a surface with rewards (recsys/rewards.py), and the target's probability of each slot.

    Args:
        since, until: UTC ms; answers from `since` on, and nothing that happened after `until`.
        slots: of each slate the first so many alone (the target is judged on those). None: all.
        distributions: also the eligible tracks of every slot with both policies' distributions, for reward models and
            MIPS; some hundred numbers a slot.
        settings: that the service ran with, where not the default ones.

    Raises:
        NotReady: no answer of that surface can be used; the message says why.
        BadInput: the surface's selector has no slot policy.
    """
    events = trainable(Lake(home.lake).scan("events"))
    if until is not None:
        events = events.filter(pl.col("ts").dt.epoch("ms") <= until)
    rewards, ends = _rewards(events, weights)
    desk, left_out = _Desk(home, settings), dict[str, int]()
    rows: list[dict[str, Any]] = []
    for decision in _decisions(events, surface, since):
        reason = _unusable(decision, rewards, ends)
        if change.only is not None and not change.only(decision):
            reason = "of another policy"
        placed = [] if reason else _slots(desk.of(decision), decision, change, slots, distributions)
        if reason or not placed:
            reason = reason or "not rebuilt exactly"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        own = rewards[decision.request_id]
        rows += [row | {"reward": own.get(row["track_id"], 0.0)} for row in placed]
    if not rows:
        raise NotReady(
            f"no logged answer of {surface} can be evaluated; left out: {left_out or 'there is none'}"
        )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    given = [frame.drop_in_place(name) for name in ("target", "distribution") if name in frame.columns]
    return Reconsidered(frame, Target(change.name, *given), left_out)


def _rewards(events: pl.LazyFrame, weights: RewardWeights | None) -> tuple[dict[str, dict[str, float]], int]:
    """Reward by request and track of what was shown, and the time (UTC ms) until which the lake knows."""
    shown = attribute(events, weights=weights).select("request_id", "track_id", "reward")
    found: dict[str, dict[str, float]] = {}
    for request, track, reward in shown.iter_rows():
        found.setdefault(request, {})[track] = reward
    ends = events.select(pl.col("ts").max().dt.epoch("ms")).collect().item()
    return found, int(ends or 0)


def _decisions(events: pl.LazyFrame, surface: str, since: int) -> Iterator[Decision]:
    """Decisions of a surface by time; a day of them in memory at once."""
    own = events.filter(
        pl.col("kind") == EventKind.DECISION.value,
        pl.col("surface") == surface,
        pl.col("ts").dt.epoch("ms") >= since,
    )
    for day in own.select(pl.col("day").unique().sort()).collect()["day"]:
        rows = own.filter(pl.col("day") == day).select("ts", "event_id", "payload").collect()
        yield from map(from_payload, rows.sort("ts", "event_id")["payload"])


def _unusable(decision: Decision, rewards: dict[str, dict[str, float]], ends: int) -> str:
    """Why a decision is no off-policy data; "" where it is."""
    if decision.rung != "full":
        return "below the full rung"
    if not decision.logged:
        return "not logged"
    if decision.now > ends - WINDOW_MS:
        return "reward window still open"
    return "" if decision.request_id in rewards else "never shown"


def _slots(
    recommender: Recommender, decision: Decision, change: Change, most: int | None, distributions: bool
) -> list[dict[str, Any]]:
    """One row a slot; empty where the logged propensities do not come out again."""
    selector = _selector(recommender, decision)
    own = candidates_of(decision)
    own = replace(own, columns={**own.columns, **decision.scores})
    rows = np.searchsorted(own.ids, [s["track"] for s in decision.slots]).tolist()
    was = _distributions(selector, decision, own, rows)
    stated = [s["propensity"] for s in decision.slots]
    if len(was) != len(rows) or any(abs(p[r] - s) > SAME for p, r, s in zip(was, rows, stated, strict=True)):
        return []
    now = _changed(selector, decision, own, rows, change)
    return [
        {
            "request_id": decision.request_id,
            "listener": decision.user_id,
            "ts": decision.now,
            "slot": k,
            "shelf": slot["shelf"],
            "position": slot["position"],
            "item": slot["track"],
            "track_id": slot["track_id"],
            "propensity": slot["propensity"],
            "target": float(now[k][rows[k]]),
            **(_over(own, was[k], now[k]) if distributions else {}),
        }
        for k, slot in enumerate(decision.slots[:most])
    ]


def _over(own: Candidates, was: Floats, now: Floats) -> dict[str, list[Any]]:
    """Both distributions over what either may place."""
    open_ = np.flatnonzero((was > 0) | (now > 0))
    return {
        "eligible": own.ids[open_].tolist(),
        "logging": was[open_].tolist(),
        "distribution": now[open_].tolist(),
    }


def _changed(
    selector: ShelfSelector, decision: Decision, own: Candidates, rows: list[int], change: Change
) -> list[Floats]:
    """The target's distribution of every slot along the logged slate."""
    utility: Floats | None = None
    if change.utility is not None:
        utility = np.asarray(change.utility(own, selector.column), np.float64)
    if change.rescored is not None:
        utility = np.asarray(change.rescored(decision, own, selector.column), np.float64)
    if utility is not None:
        own = replace(own, columns={**own.columns, selector.column: utility})
    return _distributions(selector, decision, own, rows, change.policy)


def _distributions(
    selector: ShelfSelector,
    decision: Decision,
    own: Candidates,
    rows: list[int],
    policy: SlotPolicy | None = None,
) -> list[Floats]:
    """A fresh problem each time: effects and quotas remember the slots that they have seen."""
    problem = selector.problem(batch_of(decision, query_of(decision)), 0, own)
    return propensities(problem, policy or selector.policy, decision.seed, rows)


def _selector(recommender: Recommender, decision: Decision) -> ShelfSelector:
    for rung in recommender.pipeline(query_of(decision)).rungs:
        if rung.name == decision.rung and all(
            hasattr(rung.selector, n) for n in ("problem", "policy", "column")
        ):
            return cast(ShelfSelector, rung.selector)  # a station's selector has the same three
    raise BadInput(
        f"{decision.surface} is not filled by a slot policy: it cannot be reconsidered slot by slot"
    )


class _Desk:
    """Recommenders as decisions were taken: release, catalog revision, settings of arms; each is set up once."""

    def __init__(self, home: Home, settings: ServiceSettings | None) -> None:
        self.home, self.settings = home, settings
        self._releases: dict[str, LoadedRelease] = {}
        self._known: dict[tuple[str, str, bytes], Recommender] = {}

    def of(self, decision: Decision) -> Recommender:
        version = decision.release.version
        key = (version, decision.versions.get("catalog", ""), orjson.dumps(decision.parameters))
        if key not in self._known:
            if version not in self._releases:
                self._releases[version] = LoadedRelease.load(Registry(self.home).folder(version))
            then = as_of(self.home, self._releases[version], decision)
            if self.settings is not None:
                then = then.under(overlay(self.settings, decision.parameters))
            self._known[key] = then
        return self._known[key]
