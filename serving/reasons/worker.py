"""Tests "because you finished X" when a play enters the history of a listener who is here, beside the requests.

explainer = Explainer(service.state, store, fleet.of, settings)
explainer.asked(query); explainer.heard(user_id, ts)     # cheap: they only note who is to be tested
explainer.drain()                                        # by hand; or explainer.start(stop) for a thread

One test is two runs of the home pipeline for each of `later_hours`. It is the first thing that is given up: when the
process is busy, or too many wait, listeners are dropped, and then nothing is claimed to them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from recsys.ports import OnlineStore
from recsys.schemas import Surface
from recsys.types import Assignment, Context, Query, UserState
from serving.controls import allowed
from serving.reasons import claims
from serving.reasons.claims import OPTION, Claim
from serving.reasons.counterfactual import Counterfactual
from serving.recommender import Recommender
from serving.settings import ReasonSettings

logger = logging.getLogger(__name__)
_HOUR_MS = 3_600_000
_REMEMBERED = 20_000
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class _Asked:
    """How a listener last asked for a home feed."""

    context: Context
    assignment: Assignment
    now: int


class Explainer:
    """Keeps the claims of listeners who are here up to date with their histories."""

    def __init__(
        self,
        state: Callable[[str], UserState],
        store: OnlineStore,
        recommender: Callable[[Assignment], Recommender],
        settings: ReasonSettings,
    ) -> None:
        self._state, self._store, self._recommender, self._settings = state, store, recommender, settings
        self._here: OrderedDict[str, _Asked] = OrderedDict()
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._tests: WeakKeyDictionary[Recommender, Counterfactual] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self.tested = self.dropped = 0

    def asked(self, query: Query) -> None:
        """A home feed was answered: its listener is here, and is to be tested where nothing could be claimed."""
        if query.surface != Surface.HOME or not query.user.personalized:
            return
        with self._lock:
            self._here[query.user.user_id] = _Asked(query.context, query.assignment, query.now)
            self._here.move_to_end(query.user.user_id)
            if len(self._here) > _REMEMBERED:
                self._here.popitem(last=False)
            if OPTION not in query.options and not query.user.is_new:
                self._wait(query.user.user_id)

    def heard(self, user_id: str, ended: int) -> None:
        """A play that ended at `ended` (UTC ms) entered the listener's history."""
        with self._lock:
            asked = self._here.get(user_id)
            if asked is None or ended - asked.now > self._settings.active_minutes * 60_000:
                return
            self._here[user_id] = _Asked(asked.context, asked.assignment, max(asked.now, ended + 1))
            self._wait(user_id)

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drops whoever `gone` says yes to."""
        with self._lock:
            for known in (self._here, self._waiting):
                for user_id in [user_id for user_id in known if gone(user_id)]:
                    del known[user_id]

    def _wait(self, user_id: str) -> None:
        self._waiting[user_id] = None
        if len(self._waiting) > self._settings.waiting:
            self._waiting.popitem(last=False)
            self.dropped += 1
        self._wake.set()

    def drain(self) -> None:
        """Tests everybody who waits."""
        while self._one():
            pass

    def _one(self) -> bool:
        """Tests the one who has waited longest; False where nobody waits."""
        with self._lock:
            if not self._waiting:
                self._wake.clear()
                return False
            user_id, _ = self._waiting.popitem(last=False)
            asked = self._here.get(user_id)
        if asked is not None:
            try:
                self._test(user_id, asked)
            except Exception:  # a claim that cannot be tested is not made
                logger.exception("testing reasons failed")
        return True

    def _test(self, user_id: str, asked: _Asked) -> None:
        user, recommender = allowed(self._state(user_id)), self._recommender(asked.assignment)
        if claims.load(self._store, user, recommender.release.manifest.version, asked.now) is None:
            claim = examine(self._test_of(recommender), self._settings, user, asked.context, asked.now)
            if claim is not None:
                claims.save(self._store, user_id, claim)
                self.tested += 1

    def _test_of(self, recommender: Recommender) -> Counterfactual:
        if recommender not in self._tests:
            settings = recommender.settings.home
            self._tests[recommender] = Counterfactual(recommender.release, settings)
        return self._tests[recommender]

    def start(self, stop: threading.Event) -> threading.Thread:
        """Tests in a thread until `stop`, within the settings' shares of CPU."""
        thread = threading.Thread(target=self._run, args=(stop,), name="reasons", daemon=True)
        thread.start()
        return thread

    def _run(self, stop: threading.Event) -> None:
        load = _Load()
        while not stop.is_set():
            if not self._wake.wait(_LOOK_SECONDS):
                continue
            if load.others() > self._settings.busy_share:
                self._drop()
                continue
            begin = time.thread_time()
            self._one()
            spent = time.thread_time() - begin
            load.own += spent
            stop.wait(spent * (1 / self._settings.work_share - 1))

    def _drop(self) -> None:
        with self._lock:
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._wake.clear()


class _Load:
    """CPUs that the rest of this process uses, measured over half a second or more."""

    def __init__(self) -> None:
        self.own = 0.0  # seconds that the one who asks has used since the last look
        self._wall, self._cpu, self._share = time.monotonic(), time.process_time(), 0.0

    def others(self) -> float:
        wall, cpu = time.monotonic(), time.process_time()
        if wall - self._wall >= _LOOK_SECONDS:
            self._share = (cpu - self._cpu - self.own) / (wall - self._wall)
            self._wall, self._cpu, self.own = wall, cpu, 0.0
        return self._share


def examine(
    test: Counterfactual, settings: ReasonSettings, user: UserState, context: Context, now: int
) -> Claim | None:
    """What the listener's last finished track supports at each of `later_hours` after `now`; None without one."""
    items = test.release.items
    track_id = claims.last_finished(user, items, now) if user.personalized else None
    if track_id is None:
        return None
    found = []
    for hours in settings.later_hours:
        query = Query("reasons", Surface.HOME, now + int(hours * _HOUR_MS), 0, 1, user, context)
        found.append(test.effect(query, track_id).supported(settings.least_drop, settings.least_share))
    kept = found[0][np.all([np.isin(found[0], other) for other in found], axis=0)][: settings.most_tracks]
    names = [str(items.track_id(int(t))) for t in kept]
    return Claim(test.release.manifest.version, claims.history_of(user, now), track_id, names)
