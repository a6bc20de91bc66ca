"""The whole service over one home folder: state, releases, surfaces, the log. Synchronous and thread-safe.

    with Service.open(Home.of("var")) as service:
        service.home("7vTzQm...", limit=10, context=Context(country="SE"))

HTTP (serving/api) and Ray Serve (serving/ray_app.py) are thin covers of this class; the clock is read here, at
the edge, and nowhere below.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from experiments.config import Config
from music.catalog.service import Catalog
from recsys.engines import open_log, open_store
from recsys.errors import LogUnavailable, StoreUnavailable
from recsys.events import by_clients, parse_batch, split_by_clock
from recsys.home import Home
from recsys.ingest import Mover
from recsys.lake import Lake
from recsys.ports import Appended
from recsys.schemas import EventKind, Surface
from recsys.state_store import StateStore, StateUpdater
from recsys.state_tail import read_state
from recsys.steady_store import SteadyStore
from recsys.types import Ask, Assignment, Context, Decision, Query, UserState
from recsys.vault import Vault
from serving import batched
from serving.background import repeating
from serving.clock import now_ms
from serving.controls import allowed
from serving.decisions import from_payload, read_decision, to_event, to_json
from serving.fleet import Fleet, Loader
from serving.folding import Folder
from serving.learning.following import Following
from serving.listeners import sketch
from serving.live.live import Live
from serving.loaded import LoadedRelease
from serving.privacy.forgetting import Forgetting
from serving.privacy.gone import Gone
from serving.reasons.worker import Explainer
from serving.recommender import Recommender, new_request_id, request_seed
from serving.remembered import Remembered
from serving.settings import ServiceSettings
from serving.shadow import Shadow
from serving.shedding import ADMITTED, Admitted
from serving.surfaces import SURFACES
from serving.surfaces.surface import Desk
from serving.trials import Trials
from serving.watch import Freshness, arrival, part

logger = logging.getLogger(__name__)
STARTUP_SECONDS = 60.0
"""How long a start waits for events that are not in the states yet."""
UNKNOWN = -2
"""Offset of a state that could not be looked up."""


class Service:
    """Everything that answers requests, wired once."""

    def __init__(
        self, home: Home, settings: ServiceSettings, given: Config | None, background: bool, load: Loader
    ) -> None:
        self.settings, self.place, keys = settings, home, Vault.of_home(home)
        self._trials = Trials(home, settings, given)
        self.catalog, self.log = Catalog.open(home.catalog_url), open_log(home, vault=keys)
        self.store = _patient_store(home)
        self.quick = SteadyStore(open_store(home, patience=settings.ladder.state_ms / 1000))
        self._lake, self._freshness = Lake(home.lake), Freshness()
        self._updater = StateUpdater(self.log, self.store, told=self._freshness.folded)
        self.live = Live(self.catalog, settings.live, background)
        self.learned = Following(home)
        self._shadow = Shadow(settings.shadow, home, self._shadowing, self.log, background)
        also = lambda: self._trials.releases() | self._shadow.releases  # noqa: E731
        self._fleet = Fleet(home, settings, background, self.live.prepare, load, also)
        self._recent, self._stop = Remembered(), threading.Event()
        self.unlogged = 0
        self.observers: list[Callable[[Decision], None]] = []
        self._fleet.load()
        self._folder = Folder(self._updater, self.log, settings.poll_seconds) if background else None
        self._explainer = Explainer(self.state, self.store, self._trials.of(self._fleet.of), settings.reasons)
        remembering = (self._recent, self._explainer, self._shadow)
        self.forgetting = Forgetting(home, self.quick, remembering, keys)
        self._threads: list[threading.Thread] = []
        self._fold(STARTUP_SECONDS)
        if background:
            self.forgetting.start()
            self._threads = [
                repeating("following the releases", self._follow, settings.poll_seconds, self._stop)
            ]
            self._threads += [self._explainer.start(self._stop), self._shadow.start(self._stop)]
            # A request gives the interpreter lock up at every numpy call; with Python's 5 ms it waits long to
            # get it back from a background thread.
            sys.setswitchinterval(0.0005)

    @classmethod
    def open(
        cls,
        home: Home,
        settings: ServiceSettings | None = None,
        experiments: Config | None = None,
        background: bool = True,
        load: Loader = LoadedRelease.load,
    ) -> Service:
        """Opens a home that holds a promoted release.

        Args:
            experiments: what runs; None: what the home's folder `experiments` says, followed as it changes.
            load: how a release is read; drills of failure (benchmarks/faults.py) wrap its parts here.
            background: follow the log and the registry in threads; otherwise call `refresh()` by hand. Events
                reach the lake when the service closes, or earlier by a `recsys.ingest.mover_process` beside it.

        Raises:
            NotReady: no release has been promoted.
            ReleaseRefused: the champion is damaged.
            BadInput: the experiments cannot be used, and no earlier version of them is kept.
        """
        return cls(home, settings or ServiceSettings(), experiments, background, load)

    # --- surfaces -----------------------------------------------------------------------------------------

    def recommend(self, ask: Ask) -> dict[str, Any]:
        """The answer of any surface, JSON-able.

        Raises:
            BadInput: a seed or cursor of the wrong form.
            UnknownId: a seed or station that is not known here.
        """
        began, ask = arrival(), self.forgetting.named(ask)
        with part("query"):
            query = self._query(ask)
        recommender = self._answering(query)
        desk = Desk(recommender, self.quick, lambda query: self._answer(recommender, query, began))
        return SURFACES[ask.surface].respond(desk, ask, query)

    def home(
        self, user_id: str | None, limit: int, context: Context, now: int | None = None
    ) -> dict[str, Any]:
        """The home feed: `limit` tracks a shelf; `now` (UTC ms) is given by callers in simulation only."""
        return self.recommend(Ask(Surface.HOME, user_id, limit, context, now))

    def radio(
        self,
        seed: str,
        cursor: str | None,
        user_id: str | None,
        limit: int,
        context: Context,
        now: int | None = None,
    ) -> dict[str, Any]:
        """The next `limit` tracks of a station; without a cursor a new one starts."""
        return self.recommend(Ask(Surface.RADIO, user_id, limit, context, now, seed, cursor))

    def similar(self, track_id: str, limit: int) -> dict[str, Any]:
        """The tracks nearest to one track.

        Raises:
            UnknownId: the release does not know the track.
        """
        return self.recommend(Ask(Surface.SIMILAR, None, limit, seed=f"track:{track_id}"))

    def release(self) -> LoadedRelease:
        """The parts that answer a listener who is in no experiment, as the catalog is by now."""
        return self.live.fresh(self._fleet.of(Assignment())).release

    def many(self, asks: Sequence[Ask], request_ids: Sequence[str]) -> list[Decision]:
        """Home pages of a batch of listeners, decided and logged as one by one, in one pass (serving.batched).

        `request_ids` (UUIDv7) decide the draws, so that a simulation can be repeated.
        """
        began = time.perf_counter()
        named = zip(self.forgetting.all_named(asks), request_ids, strict=True)
        queries = [self._query(ask, request_id) for ask, request_id in named]
        decided = batched.answer(queries, self._answering, self.quick)
        kept = self._kept(decided, (time.perf_counter() - began) * 1000 / max(len(queries), 1))
        return self._shadow.each(queries, kept)

    def _answering(self, query: Query) -> Recommender:
        return self.learned.fresh(self._trials.answering(self._fleet.of, self.live.fresh, query.assignment))

    def _query(self, ask: Ask, request_id: str | None = None) -> Query:
        now = now_ms() if ask.now is None else ask.now
        anonymous = self.forgetting.nobody(ask, request_id)
        request_id = request_id or new_request_id(now)
        known = self.state(ask.user_id or anonymous)
        looked_up = "state" if known.offset == UNKNOWN else "stale_state" if self.quick.stood_in else ""
        user = allowed(known, anonymous if ask.context.incognito else None)
        return Query(
            request_id=request_id,
            surface=ask.surface,
            now=now,
            seed=request_seed(request_id),
            limit=ask.limit,
            user=user,
            context=ask.context,
            assignment=self._trials.assign(user, ask.context, ask.surface, now, user.user_id != anonymous),
            degraded=(looked_up,) if looked_up else (),
        )

    def _answer(self, recommender: Recommender, query: Query, began: float) -> Decision:
        admitted = ADMITTED.get() or Admitted()
        now = self.learned.newest(self._trials.newest(self.live.fresh, recommender, query.assignment))
        with part("ladder"):
            decision = recommender.answer(query, now, admitted.effort, admitted.why)
        [decision] = self._kept([decision], (time.perf_counter() - began) * 1000)
        self._explainer.asked(query)
        self._shadow.offer(query, decision)
        return decision

    def _shadowing(self, name: str, query: Query) -> Recommender | None:
        """A release under the settings of the query's own arms; None where it is not loaded."""
        found = self._fleet.named(name)
        return found and self._trials.answering(lambda _: found, self.live.fresh, query.assignment)

    def _kept(self, decided: list[Decision], took_ms: float) -> list[Decision]:
        """Logs decisions, and remembers them for a while."""
        try:
            with part("log.append"):
                # Whatever refers to them will wait for both.
                self.log.append([to_event(decision, round(took_ms, 3)) for decision in decided], wait=False)
        except LogUnavailable as error:  # answers are still given; they are marked, and left out of replay
            logger.warning("decision %s not logged: %s", decided[0].request_id, error)
            self.unlogged += len(decided)
            decided = [replace(decision, logged=False) for decision in decided]
        self._recent.add(decided)
        for observe in self.observers:
            for decision in decided:
                observe(decision)
        return decided

    # --- events and state ---------------------------------------------------------------------------------

    def ingest(self, bodies: list[Any]) -> dict[str, Any]:
        """Makes the good events of a batch durable; refuses the others one by one.

        Raises:
            LogUnavailable: nothing was made durable.
        """
        good, refused = parse_batch(bodies)
        good, forbidden = by_clients(good)
        received = datetime.fromtimestamp(now_ms() / 1000, UTC)
        good, untimely = split_by_clock(good, received)
        good = [(place, event.model_copy(update={"received_at": received})) for place, event in good]
        good, results, erased = self.forgetting.append(self.log, good)
        refused += forbidden + untimely + erased
        events = [event for _, event in good]
        for (place, _), result in zip(good, results, strict=True):
            if result == Appended.CONFLICT:
                refused.append((place, "event_id was used before with another body"))
        if events:
            self.quick.forget([e.user_id for e in events if not e.consent_personalization])
            self._fold(self.settings.ladder.state_ms / 1000)
        for event in events:
            if event.kind == EventKind.PLAY_END and not event.incognito_mode:
                self._explainer.heard(event.user_id, int(event.ts.timestamp() * 1000))
        return {
            "accepted": results.count(Appended.ACCEPTED),
            "duplicates": results.count(Appended.DUPLICATE),
            "refused": [{"index": place, "reason": reason} for place, reason in sorted(refused)],
        }

    def state(self, user_id: str) -> UserState:
        """What is known of a listener; an empty state for one never seen.

        Where the store does not answer in time: what this process saw last, if recent; else offset UNKNOWN.
        """
        try:
            return read_state(self.quick, user_id)
        except StoreUnavailable:
            return UserState(user_id, personalized=False, offset=UNKNOWN)

    def _fold(self, seconds: float) -> None:
        """Brings what is durable into the states: at once in the foreground, else waiting `seconds` at most."""
        if self._folder is None:
            self._updater.catch_up()
        else:
            self._folder.wait(seconds)

    def refresh(self) -> None:
        """Brings listener states and releases up to date; without threads, what may be claimed to listeners too."""
        self._updater.catch_up()
        self._follow()
        if not self._threads:
            self._explainer.drain()

    # --- records and status -------------------------------------------------------------------------------

    def decision(self, request_id: str) -> dict[str, Any]:
        """The whole record of one answer.

        Raises:
            UnknownId: no such decision. Erased: its listener was erased.
        """
        return to_json(self.decision_record(request_id))

    def decision_record(self, request_id: str) -> Decision:
        """Like `decision`, typed; from memory, else from the log's end or the lake partition of the id's day."""
        self.forgetting.follow()
        found = self._recent.get(request_id)
        if found is not None:
            return found
        Gone(self.place).check(request_id)
        event = self.log.find(request_id, self.log.committed("lake"))  # of another replica, just now
        if event is not None and event.kind == EventKind.DECISION and event.payload is not None:
            return from_payload(event.payload)
        return read_decision(self._lake, request_id)

    def listeners(self, limit: int) -> list[dict[str, Any]]:
        """Some listeners to look at, those with most plays first: id, plays in the window, most played genres."""
        recommender = self._fleet.of(Assignment())
        rows = [sketch(self.state(user_id), recommender) for user_id in self.store.keys(8 * limit)]
        return sorted(rows, key=lambda row: -row["plays"])[:limit]

    def status(self) -> dict[str, Any]:
        """Releases in memory, log end, how far lake and states are behind it."""
        end = self.log.end
        try:
            folded = self._updater.offset
        except StoreUnavailable:
            folded = 0
        return {
            "ready": self.ready(),
            "releases": self._fleet.describe(),
            "catalog": self.live.status(),
            "log_end": end,
            "lake_lag": end - self.log.committed("lake"),
            "state_lag": end - folded,
            "state_store": {"down": int(self.quick.down), "failures": self.quick.failures},
            "unlogged": self.unlogged,
            "freshness": self._freshness.report(),
            "drift": self._fleet.drift(),
            "experiments": self._trials.status(),
            "learned": self.learned.status(),
            "reasons_tested": self._explainer.tested,
            "reasons_dropped": self._explainer.dropped,
            "shadow": self._shadow.status(),
            "erasures": self.forgetting.status(self.log),
        }

    def ready(self) -> bool:
        """Whether a verified release is loaded and warmed."""
        return self._fleet.ready

    def reload(self) -> dict[str, Any]:
        """Re-reads aliases now; a corrupt release is refused and the old one stays."""
        self._fleet.load()
        return self.status()

    def close(self) -> None:
        """Stops the threads and moves what is left of the log to the lake."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        if self._folder is not None:
            self._folder.stop()
        Mover(self.log, self._lake).attempt()
        self.log.close()
        self.store.close()
        self.live.close()
        self.quick.close()
        self.catalog.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self) -> None:
        """Releases as their aliases and the catalog have it, experiments as their files have them."""
        self.forgetting.follow()
        self._shadow.follow()
        self._trials.follow(self._fleet.follow)
        self._fleet.follow()
        self._trials.keep(self._fleet.loaded())
        self.learned.follow()
        self.live.keep(self._fleet.loaded())
        for recommender in self._fleet.loaded():
            self.live.fresh(recommender)  # ahead of the next request where nobody has asked since a change


def _patient_store(home: Home) -> StateStore:
    """The store for bulk work; one that is down at the start does not keep a replica from answering without it."""
    try:
        return open_store(home)
    except StoreUnavailable as error:
        logger.error("starting without the listener states: %s", error)
        return open_store(home, patience=5.0)
