"""The real pipeline as a policy of live listeners: in this process, a batch of requests at a time.

with Service.open(home, settings, background=False) as service:
    policy = ServicePolicy(service, track_ids)

Every answer is a logged Decision, every reaction an event that `Service.ingest` takes; the clock is the listeners'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from experiments.parameters import overlay
from recsys.errors import RecsysError
from recsys.pipeline import Candidates, Column
from recsys.schemas import Surface
from recsys.simulation.catalog import CODES, COUNTRIES, I32
from recsys.simulation.live.day import LiveDay
from recsys.simulation.live.events import request_ids
from recsys.simulation.live.ports import Arrays, Requests, Served
from recsys.simulation.population import DEVICES
from recsys.types import Ask, Context, Decision
from serving.clock import NOW
from serving.decisions import batch_of, query_of
from serving.learning.learner import Learner
from serving.learning.settings import HOUR_MS
from serving.loop.explored import Explored
from serving.recommender import Recommender
from serving.service import Service

LEARN_HOURS = 3
"""How often, in the listeners' time, a loop learns what has settled."""
ZONES = [tz for tz, _, _ in COUNTRIES.values()]


class ServicePolicy:
    """A service that answers and hears simulated listeners.

    Args:
        track_ids: public id of each track number of the world.
        learner: learns from the log every few hours of the listeners' time.
        limit: tracks a shelf that are asked for.
        slots: how many slots, in the order of the page, listeners look at.
    """

    name, hears = "service", True

    def __init__(
        self,
        service: Service,
        track_ids: Sequence[str],
        limit: int = 10,
        slots: int = 10,
        learner: Learner | None = None,
    ) -> None:
        self.service, self.limit, self.slots, self.learner = service, limit, slots, learner
        self.explored: list[Explored] = []  # of the measured pages, where a learned policy answered
        self._learned_at = 0
        self._number = {track: i for i, track in enumerate(track_ids)}
        self._twins: dict[tuple[Any, ...], Recommender] = {}

    def serve(self, requests: Requests) -> Served:
        """See recsys.simulation.live.Policy; slates are those of the one-query path."""
        ids = request_ids(requests.now, requests.key)
        with simulated(int(requests.now.max())):
            decided = self.service.many(asks(requests, self.limit), ids.tolist())
        pages = [self._page([slot["track_id"] for slot in d.slots]) for d in decided]
        return Served(
            track=np.stack(pages),
            propensity=cells([[slot["propensity"] for slot in d.slots] for d in decided], self.slots, np.nan),
            policy=decided[0].policy,
            greedy=self._greedy(decided, requests.measured),
            request_id=ids,
            shelf=words([[slot["shelf"] for slot in d.slots] for d in decided], self.slots),
            reason=words([[slot["reason"] for slot in d.slots] for d in decided], self.slots),
        )

    def _page(self, tracks: Sequence[str]) -> I32:
        """(slots,) track numbers."""
        out = np.full(self.slots, -1, np.int32)
        out[: len(tracks)] = [self._number[track] for track in tracks[: self.slots]]
        return out

    def _greedy(self, decided: list[Decision], measured: NDArray[np.bool_]) -> I32:
        """(m, slots) the measured pages again, without exploration."""
        out = np.full((len(decided), self.slots), -1, np.int32)
        for j in np.flatnonzero(measured):
            out[j] = self._page(unexplored(self._unexploring(decided[j]), decided[j]))
            recommender = self._under(decided[j], decided[j].parameters)
            explored = Explored.of(decided[j], recommender, self.slots)
            self.explored += [] if explored is None else [explored]
        return out

    def _unexploring(self, decision: Decision) -> Recommender:
        """The surfaces that a decision of just now came from, without exploration."""
        changed = {**decision.parameters, "home.epsilon": 0.0}
        if "bandit" in decision.versions:
            changed["home.learned.rule"] = "greedy"
        return self._under(decision, changed)

    def _under(self, decision: Decision, parameters: Mapping[str, Any]) -> Recommender:
        """The champion's surfaces, and what they had learned, under some settings."""
        release = self.service.release()
        learned = decision.versions.get("bandit", "")
        key = release.manifest.digest, release.revision, learned, orjson.dumps(parameters)
        if key not in self._twins:
            if len(self._twins) > 8:
                self._twins.clear()
            made = Recommender(release, overlay(self.service.settings, parameters))
            self._twins[key] = self.service.learned.fresh(made)
        return self._twins[key]

    def hear(self, events: pl.DataFrame, now: int) -> None:
        """Hands listeners' events to the service.

        Raises:
            RecsysError: an event was refused; listeners send none that should be.
        """
        with simulated(now):
            told = self.service.ingest(bodies(events))
        if told["refused"]:
            raise RecsysError(f"a simulated event was refused: {told['refused'][0]['reason']}")
        if self.learner is not None and now - self._learned_at >= LEARN_HOURS * HOUR_MS:
            self._learned_at = now
            self.learner.follow(self.service.log, now)
            self.service.learned.follow()

    def learn(self, _day: LiveDay) -> None:
        """What is left of the day's log; models are trained between days (serving.loop.retrain)."""
        if self.learner is not None:
            self.learner.follow(self.service.log, self._learned_at)

    def state(self) -> Arrays:
        """Nothing here: the home holds it all."""
        return {}

    def restore(self, state: Arrays) -> None:
        """Nothing here."""


def asks(requests: Requests, limit: int) -> list[Ask]:
    """The requests as clients make them."""
    rows = zip(
        requests.user_id.tolist(),
        requests.session_id.tolist(),
        requests.now.tolist(),
        requests.country.tolist(),
        requests.device.tolist(),
        requests.incognito.tolist(),
        strict=True,
    )
    return [
        Ask(
            Surface.HOME,
            user,
            limit,
            Context(CODES[country], ZONES[country], DEVICES[device], incognito=incognito, session_id=session),
            now,
        )
        for user, session, now, country, device, incognito in rows
    ]


def bodies(events: pl.DataFrame) -> list[dict[str, Any]]:
    """Events as clients post them: no nulls, and no word of when the server got them."""
    told = events.drop("received_at")
    return [{name: value for name, value in row.items() if value is not None} for row in told.to_dicts()]


def unexplored(recommender: Recommender, decision: Decision) -> list[str]:
    """The tracks that a recommender without exploration selects from the candidates and scores of a record."""
    query = query_of(decision)
    batch = batch_of(decision, query)
    ids = np.array(decision.eligible, np.int64)
    columns: dict[str, Column] = dict(decision.scores)
    candidates = Candidates(ids, np.array([0, len(ids)], np.int64), columns)
    rungs = {rung.name: rung for rung in recommender.pipeline(query).rungs}
    [slate] = rungs[decision.rung].selector.select(replace(batch, memo={}), candidates)
    return [recommender.release.items.track_id(item.track) for item in slate.items]


@contextmanager
def simulated(now: int) -> Iterator[None]:
    """What is done inside happens at `now` (UTC ms)."""
    token = NOW.set(now)
    try:
        yield
    finally:
        NOW.reset(token)


def cells(rows: list[list[float]], width: int, blank: float) -> NDArray[np.float64]:
    """(m, width) rows of any length, cut or filled up."""
    out = np.full((len(rows), width), blank)
    for i, row in enumerate(rows):
        out[i, : len(row[:width])] = row[:width]
    return out


def words(rows: list[list[str]], width: int) -> NDArray[np.object_]:
    """The same for text; "" where there is none."""
    out = np.full((len(rows), width), "", object)
    for i, row in enumerate(rows):
        out[i, : len(row[:width])] = row[:width]
    return out
