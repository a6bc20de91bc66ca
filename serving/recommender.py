"""One release answering in process, without a server: what notebooks, evaluation and the service all call.

recommender = Recommender(LoadedRelease.load(folder))
decision = recommender.answer(query)
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ranking.scorer import PairHydrator
from recsys.breaker import BreakerRule
from recsys.features.pair import names
from recsys.ids import seed_of, uuid7
from recsys.pipeline import Effort, Pipeline, PipelineFailed, Result
from recsys.plays import Plays
from recsys.schemas import Surface
from recsys.turns import Budgets, Guard
from recsys.types import Decision, Query, QueryBatch
from serving import decisions
from serving.learning.states import Taught
from serving.live.late import without_withdrawn
from serving.loaded import LoadedRelease
from serving.parts.sources import LastGoodSource
from serving.parts.words import WordIndex
from serving.render import Renderer
from serving.settings import LadderSettings, ServiceSettings
from serving.surfaces import SURFACES
from serving.surfaces.seeds import Seeds, resolve
from serving.surfaces.surface import Kit
from serving.watch.drift import Drift

logger = logging.getLogger(__name__)


class Recommender:
    """All surfaces of one loaded release.

    Args:
        release: the parts in memory.
        settings: of the surfaces.
        budget_ms: time that each source and stage gets; None (offline) is without any limit.
        clock: what stage times are measured with (seconds).
    """

    def __init__(
        self,
        release: LoadedRelease,
        settings: ServiceSettings | None = None,
        budget_ms: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        settings = settings or ServiceSettings()
        self.release, self.settings = release, settings
        self.last_good = LastGoodSource()
        self.render = Renderer(release.items)
        self.drift = (
            None if release.reference is None else Drift(release.reference, names(PairHydrator.columns))
        )
        self._kit = Kit(release, settings, self.last_good, budget_ms, clock)
        self.guard = None if budget_ms is None else _guard(settings.ladder)
        self._words = WordIndex(release.items)
        self._build()

    def _build(self) -> None:
        self._pipelines = {surface: spec.build(self._kit) for surface, spec in SURFACES.items()}
        self._impersonal = {s: spec.impersonal(self._kit) for s, spec in SURFACES.items() if spec.impersonal}

    def over(self, release: LoadedRelease, render: Renderer) -> Recommender:
        """The same surfaces over the release as the catalog has changed it; dense numbers stay."""
        live = copy.copy(self)
        live.release, live.render = release, render
        live._kit = replace(self._kit, release=release)
        live._build()
        return live

    def under(self, settings: ServiceSettings) -> Recommender:
        """The same release with other settings of its surfaces; time limits stay as they are."""
        other = copy.copy(self)
        other.settings = settings
        other._kit = replace(self._kit, settings=settings)
        other._build()
        return other

    @property
    def taught(self) -> Taught | None:
        """What the learned policies of home draw from."""
        return self._kit.taught

    def after(self, taught: Taught | None) -> Recommender:
        """The same release and settings with another state of what was learned."""
        if taught is self.taught:
            return self
        other = copy.copy(self)
        other._kit = replace(self._kit, taught=taught)
        other._build()
        return other

    def relabelled(self, release: LoadedRelease) -> Recommender:
        """The same parts and surfaces under another revision of the catalog, which changed nothing of them."""
        live = copy.copy(self)
        live.release = release
        return live

    def pipeline(self, query: Query) -> Pipeline[QueryBatch]:
        """The pipeline that answers a query; a listener without the consent gets the non-personal one."""
        if not query.user.personalized and query.surface in self._impersonal:
            return self._impersonal[query.surface]
        return self._pipelines[query.surface]

    def run(self, queries: Sequence[Query]) -> tuple[QueryBatch, Result]:
        """Answers queries of one surface and one kind of listener as a batch, without time limits."""
        batch = QueryBatch.of(list(queries), self.release.items)
        return batch, self.pipeline(queries[0]).run(batch)

    def answer(
        self,
        query: Query,
        newest: Callable[[], Recommender] | None = None,
        effort: Effort = Effort.FULL,
        why: str = "shed",
    ) -> Decision:
        """The answer to one query as its complete record.

        Args:
            newest: gives this recommender as the catalog is by now: where a candidate has been withdrawn since the
                request began, the Selector runs again without it, whether or not it had been drawn (so that
                propensities are exact).
            effort: less starts lower on the ladder, for `why`.
        """
        batch = QueryBatch.of([query], self.release.items)
        result = self.pipeline(query).run(batch, self.guard, effort, why)
        if newest is not None and (now := newest()) is not self:
            try:
                result = without_withdrawn(self.pipeline(query), batch, result, now.release.items)
            except PipelineFailed:
                return now.answer(query, None, effort, why)
        self.observe(batch, result)
        release, bandit = self.release, self.state_of(query, result)
        return decisions.record(batch, 0, result, release.ref, release.items, release.revision, bandit)

    def state_of(self, query: Query, result: Result) -> str:
        """Version of what was learned, where the answer was drawn from it; else ""."""
        rungs = self.pipeline(query).rungs
        return next((getattr(r.selector, "state", "") for r in rungs if r.name == result.rung), "")

    def observe(self, batch: QueryBatch, result: Result) -> None:
        """What is kept of answers beside their records: personal home slates as last good ones, and drift."""
        if result.rung in ("full", "light", "retrieval"):
            for query, slate in zip(batch.queries, result.slates, strict=True):
                if query.surface == Surface.HOME and query.user.personalized:
                    self.last_good.remember(query.user.user_id, [i.track for i in slate.items])
        try:
            if self.drift is not None:
                self.drift.observe(batch, result)
        except Exception:  # what is watched must not cost an answer
            logger.exception("drift could not be observed")

    @property
    def words(self) -> WordIndex:
        """Full-text search over this release's tracks, as the catalog names them now."""
        if self._words.items is not self.release.items:
            self._words = self._words.over(self.release.items)
        return self._words

    def station(self, seed: str) -> Seeds:
        """A station's seed in this release; see serving.surfaces.seeds.

        Raises:
            BadInput: not of a form that is known.
            UnknownId: this release knows nothing of that name.
        """
        return resolve(seed, self.release, self.words)

    def seeds(self, seed: str) -> tuple[int, ...]:
        """The dense tracks of a station's seed; raises like `station`."""
        return self.station(seed).tracks

    def replay(self, decision: Decision, window: Plays | None = None) -> Result:
        """Scorer -> Selector again, from the record; the same slate on the same release and versions.

        `window` replaces the recorded plays of the listener, where they have been rebuilt from the log.
        """
        query = decisions.query_of(decision)
        batch = decisions.batch_of(decision, query)
        if window is not None:
            batch = replace(batch, histories=window)
        return self.pipeline(query).replay(decision.rung, batch, decisions.candidates_of(decision))


def _guard(settings: LadderSettings) -> Guard:
    budgets = Budgets(settings.rung_ms, settings.ladder_ms, settings.last_ms)
    return Guard(budgets, BreakerRule(trips=settings.trips, seconds=settings.retry_seconds))


def request_seed(request_id: str) -> int:
    """The seed of a request's draws: 63 bits of a hash of its id."""
    return seed_of(request_id)


def new_request_id(now: int) -> str:
    """A fresh UUIDv7 at the request's time."""
    return uuid7(now)
