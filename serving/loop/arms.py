"""A mixed world: every request of live listeners is answered by the policy of its listener's arm.

arms = Arms(config, {"control": old, "treatment": new}, experiment="mix")
for lived in days(world, arms, settings, 14): log = pl.concat([log, arms.log(world, lived.day)])

Who is in which arm is the product's own word (serving.trials), asked at each request: nobody before the start, and
whoever is in no arm gets the control's policy. All arms live in one world: what they show moves the same popularity,
and every policy learns from everybody's days, as models trained on one log do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.config import Config
from experiments.exposure import told
from experiments.running import Live
from recsys.errors import BadInput
from recsys.schemas import EventKind, Surface, conform
from recsys.simulation.catalog import CODES
from recsys.simulation.live.day import LiveDay
from recsys.simulation.live.events import events_of, request_ids
from recsys.simulation.live.policies import learners
from recsys.simulation.live.ports import Arrays, Policy, Requests, Served
from recsys.simulation.live.world import LiveWorld
from recsys.simulation.population import DEVICES
from recsys.types import Assignment, Context
from serving.trials import assigned


@dataclass
class Arms:
    """One experiment's arms as a policy of live listeners (recsys.simulation.live.Policy), without a service.

    Attributes:
        policies: by arm; arms may share one, or parts of their blends, and each learns once. Arms set nothing else: a
            release or a parameter needs a service.
        whole: whether the log holds all plays; else only what belongs to an answer, which is enough for metrics of what
            was shown, and read faster.
        decisions: what a service would have logged of its answers of the running day.

    Raises:
        BadInput: no such experiment, an arm without a policy, or one that a service would have to serve.
    """

    config: Config
    policies: Mapping[str, Policy]
    experiment: str
    whole: bool = True
    decisions: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        found = self.config.experiment(self.experiment)
        if found is None or set(self.policies) != {arm.name for arm in found.arms} or found.sets():
            raise BadInput(f"{self.experiment}: needs one policy for each arm, and arms that set nothing")
        self.running = found
        self._live = Live.of(self.config)
        self._distinct = learners(self.policies.values())

    @property
    def name(self) -> str:
        return self.experiment

    @property
    def hears(self) -> bool:
        return any(policy.hears for policy in self._distinct)

    def serve(self, requests: Requests) -> Served:
        """Each arm's policy is asked for its own listeners' pages."""
        assigned = [self._assigned(requests, i) for i in range(len(requests))]
        arm = np.array([a.arms.get(self.experiment, self.running.control) for a in assigned], object)
        self.decisions.append(_decisions(requests, assigned))
        parts = [(rows, self.policies[name].serve(requests.take(rows))) for name, rows in _groups(arm)]
        width = max(part.track.shape[1] for _, part in parts)
        track = np.full((len(requests), width), -1, np.int32)
        propensity, greedy = np.full(track.shape, np.nan), np.full(track.shape, -1, np.int32)
        for rows, part in parts:
            slots = part.track.shape[1]
            track[rows, :slots], propensity[rows, :slots] = part.track, part.propensity
            if part.greedy is not None:
                greedy[rows, : part.greedy.shape[1]] = part.greedy
        return Served(track, propensity, self.name, greedy)

    def _assigned(self, requests: Requests, i: int) -> Assignment:
        """What the service says of this request; nobody is in a cohort, for no listener's state is kept here."""
        context = Context(
            country=CODES[requests.country[i]],
            device=DEVICES[requests.device[i]],
            incognito=bool(requests.incognito[i]),
            session_id=str(requests.session_id[i]),
        )
        asked = {"country": context.country, "tier": context.tier, "platform": context.device, "cohort": ()}
        now = int(requests.now[i])
        return assigned(self._live, str(requests.user_id[i]), asked, context, Surface.HOME, now)

    def stop(self, now: datetime) -> None:
        """Ends the test: from `now` on everybody gets the control's policy."""
        self.running = self.running.model_copy(update={"stopped": now})
        others = [self.running if e.name == self.experiment else e for e in self.config.experiments]
        parts = {name: getattr(self.config, name) for name in Config.model_fields}
        self.config = Config(**{**parts, "experiments": tuple(others)})
        self._live = Live.of(self.config)

    def hear(self, events: pl.DataFrame, now: int) -> None:
        """Every policy hears everybody: they share one log."""
        for policy in self._distinct:
            policy.hear(events, now)

    def learn(self, day: LiveDay) -> None:
        """Every policy learns from everybody's day."""
        for policy in self._distinct:
            policy.learn(day)

    def state(self) -> Arrays:
        """Of all policies, by number."""
        return {f"{i}.{name}": v for i, p in enumerate(self._distinct) for name, v in p.state().items()}

    def restore(self, state: Arrays) -> None:
        for i, policy in enumerate(self._distinct):
            own = {k.partition(".")[2]: v for k, v in state.items() if k.partition(".")[0] == str(i)}
            policy.restore(own)

    def log(self, world: LiveWorld, day: LiveDay) -> pl.DataFrame:
        """The day's rows of `events`, as the lake would hold them: answers with who was exposed, and what listeners
        did. Forgets the answers."""
        answers, self.decisions = self.decisions, []
        shown = day.shown
        served = Served(shown.track, shown.propensity, self.name)
        events = events_of(world, day.sessions, shown, day.played, served)
        if not self.whole and len(events):
            events = events.filter(pl.col("request_id").is_not_null())
        rows = pl.concat([events, *answers], how="diagonal_relaxed")
        return conform(rows.with_columns(day=pl.col("ts").dt.date()), "events")


def _groups(arm: NDArray[Any]) -> list[tuple[str, NDArray[np.int64]]]:
    return [(str(name), np.flatnonzero(arm == name)) for name in np.unique(arm.astype(str))]


def _decisions(requests: Requests, assigned: list[Assignment]) -> pl.DataFrame:
    """What a report reads of decisions; their records are of pipelines, and there is none here."""
    ids = pl.Series(request_ids(requests.now, requests.key).tolist(), dtype=pl.String)
    at = pl.Series(requests.now).cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {
            "event_id": ids,
            "kind": pl.repeat(EventKind.DECISION.value, len(requests), eager=True),
            "user_id": pl.Series(requests.user_id.tolist(), dtype=pl.String),
            "session_id": pl.Series(requests.session_id.tolist(), dtype=pl.String),
            "request_id": ids,
            "ts": at,
            "received_at": at,
            "surface": pl.repeat(Surface.HOME.value, len(requests), eager=True),
            "incognito_mode": pl.Series(requests.incognito),
            "consent_analytics": pl.Series(~requests.incognito),
            "exposed": pl.Series([told(a) for a in assigned], dtype=pl.String),
        }
    )
