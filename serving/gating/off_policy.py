"""The off-policy stage: what the challenger's ranking would have earned on the champion's logged answers.

    judged(frame, target, settings)          # from rows of bandits.ope; the live home's come from `reconsidered`

One-step value, slot by slot: given what the champion placed above, on the candidates that the champion proposed. What
the challenger would find beyond them, no log of the champion can tell; the shadow stage shows how much that is.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bandits.ope.evaluate import evaluate
from bandits.ope.frame import Target
from recsys.errors import NotReady
from recsys.home import Home
from recsys.items import Items
from recsys.pipeline import Candidates, Column
from recsys.plays import Plays
from recsys.slate import sunk
from recsys.types import Decision
from serving.decisions import batch_of, candidates_of, query_of
from serving.gating.margins import ruled
from serving.gating.record import Check
from serving.gating.settings import OffPolicySettings
from serving.off_policy import Change, reconsider
from serving.recommender import Recommender
from serving.settings import ServiceSettings

RULE = "off_policy.value"
_TRUSTED = 0.01
"""Below this p of the weights' mean being 1, propensities or support are not what the estimate assumes."""


def judged(frame: pl.DataFrame, target: Target, settings: OffPolicySettings) -> Check:
    """The paired difference of the challenger to the logging policy, on the same decisions."""
    level = 1 - 2 * settings.alpha
    report = evaluate(frame, target, [settings.estimator], level="slot", confidence=level, seed=0)
    one = report.of(settings.estimator)
    overlap = {} if one.overlap is None else asdict(one.overlap)
    numbers = {"decisions": report.decisions, "listeners": report.listeners, "overlap": overlap}
    if one.refused is not None or one.lift is None or one.lift_interval is None:
        return Check(RULE, "unclear", f"no estimate: {one.refused}", numbers)
    low, high = one.lift_interval
    check = ruled(RULE, "reward a slot", report.logging, one.lift, low, high, settings.margin)
    check = replace(check, numbers={**check.numbers, **numbers, "warnings": one.warnings})
    if check.outcome == "passed" and one.overlap is not None and one.overlap.mean_p < _TRUSTED:
        return replace(check, outcome="unclear", sentence=f"{check.sentence}; but {one.warnings[0]}")
    return check


def stage_check(
    home: Home,
    challenger: Recommender,
    champion: str,
    champion_items: Items,
    settings: OffPolicySettings,
    now: int,
    served: ServiceSettings | None = None,
) -> Check:
    """The check on a home's own logs of the last days.

    Args:
        champion: its version; answers of other releases are left out.
        now: UTC ms.
        served: settings that the service ran with, where not the default ones.
    """
    if champion_items.countries != challenger.release.items.countries:
        return Check(RULE, "unclear", "the releases number countries differently: no record fits both")
    rescored = Rescored.of(challenger, champion_items)
    change = Change(
        "challenger",
        rescored=rescored.utility,
        only=lambda decision: decision.release.version == champion and not decision.parameters,
    )
    since = now - settings.days * 86_400_000
    try:
        known = reconsider(home, change, since=since, until=now, slots=settings.slots, settings=served)
    except NotReady as error:
        return Check(RULE, "unclear", f"no logs to judge by: {error}")
    check = judged(known.frame, known.target, settings)
    return replace(check, numbers={**check.numbers, "left_out": known.left_out})


class Rescored:
    """A release's utilities of the candidates that another release's Decision recorded.

    Dense numbers belong to a release: recorded tracks and plays are named by their public ids and numbered anew. What
    the challenger does not know sinks; plays of it are forgotten.
    """

    def __init__(self, challenger: Recommender, to_own: NDArray[np.int64]) -> None:
        self._recommender, self._to_own = challenger, to_own

    @classmethod
    def of(cls, challenger: Recommender, logged: Items) -> Rescored:
        return cls(challenger, challenger.release.items.numbers(logged.track_ids).astype(np.int64))

    def utility(self, decision: Decision, own: Candidates, name: str) -> NDArray[np.float64]:
        """(n,) of the candidates `own` of a Decision; `name` is the selector's column."""
        query = query_of(decision)
        batch = batch_of(decision, query)
        mine = self._own(own.ids)
        known = np.flatnonzero(mine >= 0)
        known = known[np.argsort(mine[known], kind="stable")]  # candidates are in order of their numbers
        recorded = candidates_of(decision)
        columns: dict[str, Column] = {n: c[known] for n, c in recorded.columns.items()}
        ids = mine[known]
        asked = Candidates(ids, np.array([0, len(ids)], np.int64), columns)
        batch = replace(batch, histories=self._renumbered(batch.histories))
        found = self._recommender.pipeline(query).replay(decision.rung, batch, asked).candidates
        out = np.full(len(own.ids), -np.inf)
        out[known] = np.asarray(found.columns[name], np.float64)
        return sunk(out)

    def _renumbered(self, plays: Plays) -> Plays:
        return replace(plays, track=self._own(plays.track).astype(np.int32))

    def _own(self, track: NDArray[np.integer]) -> NDArray[np.int64]:
        """The challenger's numbers; -1 for what it does not know, and for what came after the champion was built."""
        inside = (track >= 0) & (track < len(self._to_own))
        return np.where(inside, self._to_own[np.where(inside, track, 0)], -1)
