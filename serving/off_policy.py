"""A home's logged answers as off-policy data: what another slot policy, or another utility, would have placed instead.

known = reconsider(home, under({"home.epsilon": 0.3}))
print(evaluate(known.frame, known.target, level="slot").table())

Exact, not modelled: a Decision records its eligible tracks, their score columns and its seed, so the Selector's problem
is set up again, and the target's distribution of every slot is read off along the slate that was logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from bandits.choice import slot_policy
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.ope.frame import Target
from bandits.ope.lists import Lists
from bandits.ope.reward_model import Features
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
COLUMN = "x:"
"""Prefix of score columns in the frame."""
Utility = Callable[[Candidates, str], Floats]
"""The eligible tracks with all logged columns, and the name of the selector's -> (n,) utilities."""
EXPLORING: Mapping[str, Callable[[ServiceSettings], SlotPolicy]] = {
    "home": lambda s: slot_policy(s.home.exploration, s.home.epsilon),
    "radio": lambda s: EpsilonGreedy(s.radio.epsilon),
    "recommendations": lambda s: EpsilonGreedy(s.recommendations.epsilon),
}
"""The slot policy of each surface that settings name; all that a Decision's record can answer for."""


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


def under(parameters: Mapping[str, Any], name: str | None = None) -> Change:
    """The change that settings of exploration make: `home.epsilon`, `home.exploration.rule`, `radio.epsilon`, ...

    Raises:
        BadInput: no settings, or some that change more than how slots are drawn: what they would have let in was not
            recorded.
    """
    surfaces = {path.partition(".")[0] for path in parameters}
    if len(surfaces) != 1 or not surfaces <= set(EXPLORING):
        raise BadInput(f"give settings of one surface: {', '.join(EXPLORING)}")
    [surface] = surfaces
    wrong = [p for p in parameters if p.split(".")[1:2] not in (["epsilon"], ["exploration"])]
    if wrong:
        raise BadInput(
            f"{', '.join(wrong)}: logs answer for {surface}.epsilon and {surface}.exploration; what another setting "
            "would have let in was not recorded"
        )
    policy = EXPLORING[surface](overlay(ServiceSettings(), parameters))
    return Change(name or ", ".join(f"{k}={v}" for k, v in parameters.items()), policy)


@dataclass(frozen=True)
class Reconsidered:
    """Rows for `bandits.ope.evaluate`; requests left out, by reason."""

    frame: pl.DataFrame
    target: Target
    left_out: dict[str, int] = field(default_factory=dict)

    def features(self) -> Features:
        """For `evaluate(features=...)`: the score columns that were asked for, alone and times a slot's discount.

        Raises:
            BadInput: `reconsider` was not asked for columns.
        """
        columns = [name for name in self.frame.columns if name.startswith(COLUMN)]
        if not columns:
            raise BadInput("a reward model needs score columns: reconsider(..., columns=[...])")
        eligible = Lists.of(self.frame["eligible"])
        table = np.column_stack([Lists.of(self.frame[name]).values for name in columns])
        wide = int(eligible.values.max(initial=0)) + 1
        known = eligible.owner * wide + eligible.values  # ascending: by row, and by item within a row
        discount = 1 / np.log2(2 + self.frame["slot"].to_numpy())

        def pairs(rows: NDArray[np.int64], items: NDArray[Any]) -> Floats:
            x, w = table[np.searchsorted(known, rows * wide + items)], discount[rows, None]
            return np.column_stack([x, w, w * x])

        return pairs


def reconsider(
    home: Home,
    change: Change,
    surface: str = "home",
    since: int = 0,
    until: int | None = None,
    slots: int | None = None,
    distributions: bool = False,
    columns: Sequence[str] = (),
    weights: RewardWeights | None = None,
    settings: ServiceSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> Reconsidered:
    """Logged answers of a surface with rewards (recsys/rewards.py), and the target's probability of each slot.

    Args:
        since, until: UTC ms; answers from `since` on, and nothing that happened after `until`.
        slots: of each slate the first so many alone (the target is judged on those). None: all.
        distributions: also the eligible tracks of every slot with both policies' distributions, for reward models and
            MIPS; some hundred numbers a slot.
        columns: score columns of the eligible tracks, for `Reconsidered.features`; with them, distributions too.
        settings: that the service ran with, where not the default ones.
        progress: told how many answers have been read.

    Raises:
        NotReady: no answer of that surface can be used; the message says why.
        BadInput: the surface's selector has no slot policy; its answers have no such column.
    """
    events = trainable(Lake(home.lake).scan("events"))
    if until is not None:
        events = events.filter(pl.col("ts").dt.epoch("ms") <= until)
    rewards, ends = _rewards(events, weights)
    desk, left_out = _Desk(home, settings), dict[str, int]()
    shown = _Shown(distributions or bool(columns), tuple(columns))
    rows: list[dict[str, Any]] = []
    for read, decision in enumerate(_decisions(events, surface, since)):
        if progress:
            progress(read + 1)
        reason = _unusable(decision, rewards, ends)
        if change.only is not None and not change.only(decision):
            reason = "of another policy"
        placed = [] if reason else _slots(desk.of(decision), decision, change, slots, shown)
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


@dataclass(frozen=True)
class _Shown:
    """What a row tells of the tracks that its slot might have held."""

    distributions: bool
    columns: tuple[str, ...]


def _slots(
    recommender: Recommender, decision: Decision, change: Change, most: int | None, shown: _Shown
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
            **(_over(own, was[k], now[k], shown.columns) if shown.distributions else {}),
        }
        for k, slot in enumerate(decision.slots[:most])
    ]


def _over(own: Candidates, was: Floats, now: Floats, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Both distributions over what either may place, with score columns."""
    open_ = np.flatnonzero((was > 0) | (now > 0))
    missing = [name for name in columns if name not in own.columns]
    if missing:
        raise BadInput(f"no column {', '.join(missing)}: answers have {', '.join(sorted(own.columns))}")
    return {
        **{f"{COLUMN}{name}": own.columns[name][open_].astype(np.float64).tolist() for name in columns},
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
    batch = batch_of(decision, query_of(decision))
    problem = selector.problem(batch, 0, own)
    return propensities(problem, policy or selector.policy_of(batch, 0, own), decision.seed, rows)


def _selector(recommender: Recommender, decision: Decision) -> ShelfSelector:
    for rung in recommender.pipeline(query_of(decision)).rungs:
        if rung.name == decision.rung and all(
            hasattr(rung.selector, n) for n in ("problem", "policy_of", "column")
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
        self._known: dict[tuple[str, str, str, bytes], Recommender] = {}

    def of(self, decision: Decision) -> Recommender:
        version = decision.release.version
        then, taught = decision.versions.get("catalog", ""), decision.versions.get("bandit", "")
        key = (version, then, taught, orjson.dumps(decision.parameters))
        if key not in self._known:
            if version not in self._releases:
                self._releases[version] = LoadedRelease.load(Registry(self.home).folder(version))
            recommender = as_of(self.home, self._releases[version], decision)
            if self.settings is not None:
                recommender = recommender.under(overlay(self.settings, decision.parameters))
            self._known[key] = recommender
        return self._known[key]
