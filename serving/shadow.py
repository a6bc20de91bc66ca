"""Shadow traffic: another release answers a share of live requests too, after the answer is fixed, and nobody sees it.

    Shadow(settings, home, release_of, log).offer(query, decision)     # on the request path: a hash and a queue

What it finds is an event of kind `shadow` of its own, whose payload holds the other release's Decision: everything that
reads answers reads the kind `decision`, so a shadow answer trains nothing, earns nothing and replays nothing. It never
slows an answer by more than what the interpreter's lock costs: it waits in a bounded queue for a thread that works a
small share of the time, and is dropped where the queue is full. Its failures are counted and go nowhere.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from recsys.errors import BadInput
from recsys.events import Event
from recsys.files import write_whole
from recsys.home import Home
from recsys.ids import UserId, seed_of
from recsys.ports import EventLog
from recsys.schemas import EventKind, Surface
from recsys.types import Decision, Query
from serving import decisions
from serving.recommender import Recommender
from serving.settings import ShadowSettings

logger = logging.getLogger(__name__)
FIRST = 10
"""Tracks of both answers that are compared."""
ReleaseOf = Callable[[str, Query], Recommender | None]
"""(alias or version, query) -> the recommender that shadows it; None where it is not loaded."""


def target_file(home: Home) -> Path:
    """Where the gate writes which release shadows running servers, and which share of requests."""
    return home.root / "gate" / "shadow.json"


def point(home: Home, release: str | None, share: float = 0.0) -> None:
    """Has the running servers of a home shadow a share of requests by a release; None: by what their settings say."""
    path = target_file(home)
    if release is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    body = ShadowSettings(release=release, share=share).model_dump(include={"release", "share"})
    write_whole(path, orjson.dumps(body))


class Shadow:
    """The shadow of one service; `background=False` answers at once, at the end of the request that it shadows."""

    def __init__(
        self, settings: ShadowSettings, home: Home, release_of: ReleaseOf, log: EventLog, background: bool
    ) -> None:
        self._settings, self._own, self._file = settings, settings, target_file(home)
        self._release_of, self._log, self._background = release_of, log, background
        self._waiting: deque[tuple[Query, Decision]] = deque(maxlen=settings.waiting)
        self._there, self._stamp = threading.Event(), -1
        self.answered = self.failed = self.dropped = self.unlogged = 0
        self._overlap = self._ms = self._served_ms = 0.0
        self.follow()

    @property
    def releases(self) -> frozenset[str]:
        """What must be loaded."""
        found = self._settings
        return frozenset({found.release} if found.release and found.share else ())

    def follow(self) -> None:
        """Reads the gate's file where it has changed."""
        try:
            stamp = self._file.stat().st_mtime_ns
        except OSError:
            stamp = 0
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._settings = self._told() if stamp else self._own
        except (OSError, ValueError, TypeError) as error:
            logger.error("%s cannot be read, no shadow: %s", self._file, error)
            self._settings = self._own.model_copy(update={"share": 0.0})

    def _told(self) -> ShadowSettings:
        told = orjson.loads(self._file.read_bytes())
        return ShadowSettings.model_validate({**self._own.model_dump(), **told})

    def offer(self, query: Query, decision: Decision) -> None:
        """Takes note of an answer that is fixed, if its request is among the sampled."""
        settings = self._settings
        if not settings.share or settings.release is None or not sampled(query, settings.share):
            return
        if not self._background:
            self._one(query, decision)
            return
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
            return
        self._waiting.append((query, decision))
        self._there.set()

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drops what waits of listeners that `gone` says yes to."""
        for one in [one for one in self._waiting if gone(one[1].user_id)]:
            with suppress(ValueError):  # it was taken meanwhile
                self._waiting.remove(one)

    def each(self, queries: Sequence[Query], decided: list[Decision]) -> list[Decision]:
        """`offer` of a batch; the decisions again."""
        for query, decision in zip(queries, decided, strict=True):
            self.offer(query, decision)
        return decided

    def start(self, stop: threading.Event) -> threading.Thread:
        """The thread that answers what waits."""
        thread = threading.Thread(target=self._work, args=(stop,), name="shadow", daemon=True)
        thread.start()
        return thread

    def _work(self, stop: threading.Event) -> None:
        while not stop.is_set():
            if not self._waiting:
                self._there.clear()
                self._there.wait(0.2)
                continue
            began = time.perf_counter()
            try:
                self._one(*self._waiting.popleft())
            except Exception:  # the thread lives as long as its service
                logger.exception("a shadow answer failed")
            took = time.perf_counter() - began
            stop.wait(took * (1 / self._settings.work_share - 1))

    def _one(self, query: Query, decision: Decision) -> None:
        """Answers and logs; whatever goes wrong stays here."""
        name = self._settings.release
        if name is None:  # withdrawn while the request waited
            return
        try:
            recommender = self._release_of(name, query)
        except Exception:
            logger.exception("no shadow of %s", name)
            recommender = None
        if recommender is None or recommender.release.ref == decision.release:
            return  # not loaded, or it gave this answer itself
        began = time.perf_counter()
        try:
            batch, result = recommender.run([replace(query, options={})])
            release = recommender.release
            found: Decision | None = decisions.record(
                batch, 0, result, release.ref, release.items, release.revision
            )
            error = ""
        except Exception as failure:
            found, error = None, type(failure).__name__
        took = (time.perf_counter() - began) * 1000
        self._count(decision, found)
        try:
            self._log.append([_event(decision, recommender, found, error, took)], wait=False)
        except Exception as failure:
            self.unlogged += 1
            logger.warning("a shadow answer was not logged: %s", type(failure).__name__)

    def _count(self, served: Decision, found: Decision | None) -> None:
        self.answered += 1
        if found is None or found.rung != "full":
            self.failed += 1
        if found is not None:
            self._overlap += overlap(served, found)
            self._ms += work_ms(found)
            self._served_ms += work_ms(served)

    def status(self) -> dict[str, Any]:
        """Counts since the start, and means over the answers that did not raise."""
        n = max(self.answered, 1)
        return {
            "release": self._settings.release or "",
            "share": self._settings.share,
            "answered": self.answered,
            "failed": self.failed,
            "dropped": self.dropped,
            "unlogged": self.unlogged,
            "waiting": len(self._waiting),
            "overlap": self._overlap / n,
            "ms": self._ms / n,
            "served_ms": self._served_ms / n,
        }


def sampled(query: Query, share: float) -> bool:
    """Whether a request is shadowed: by a hash of its id; never without consent or in incognito.

    Pages of home alone: seeds and stations are numbered by the release that answered, and another numbers otherwise.
    """
    if query.surface != Surface.HOME or not query.user.personalized or query.context.incognito:
        return False
    return seed_of(f"shadow:{query.request_id}") < share * 2.0**63


def overlap(served: Decision, found: Decision) -> float:
    """Share of the first ten tracks that both answers have."""
    a, b = ({slot["track_id"] for slot in d.slots[:FIRST]} for d in (served, found))
    return len(a & b) / max(len(a), len(b), 1)


def work_ms(decision: Decision) -> float:
    """Time that the stages of an answer took."""
    return sum(decision.stages_ms.values())


def shadow_id(request_id: str, release: str) -> str:
    """The id of a shadow event: a UUIDv7 of the request's time, the same however often it is written."""
    digest = hashlib.blake2b(f"{request_id}/{release}".encode(), digest_size=10).hexdigest()
    return f"{request_id[:14]}7{digest[:3]}-{'89ab'[int(digest[3], 16) % 4]}{digest[4:7]}-{digest[7:19]}"


def _event(
    served: Decision, recommender: Recommender, found: Decision | None, error: str, took: float
) -> Event:
    now = datetime.fromtimestamp(served.now / 1000, UTC)
    ref = recommender.release.ref
    payload = {
        "of": served.request_id,
        "release": ref.version,
        "over": served.release.version,
        "surface": served.surface,
        "error": error,
        "rung": "" if found is None else found.rung,
        "finite": found is not None and finite(found),
        "slots": 0 if found is None else len(found.slots),
        "overlap": None if found is None else overlap(served, found),
        "ms": None if found is None else work_ms(found),
        "served_ms": work_ms(served),
        "took_ms": took,
        "decision": None if found is None else decisions.body(found),
    }
    return Event.model_construct(
        event_id=shadow_id(served.request_id, ref.version),
        kind=EventKind.SHADOW,
        user_id=UserId(served.user_id),
        ts=now,
        received_at=now,
        surface=Surface(served.surface),
        consent_personalization=True,
        consent_analytics=True,
        payload=orjson.dumps(payload).decode(),
    )


def finite(decision: Decision) -> bool:
    """Whether all scores of the slots are numbers."""
    return bool(np.isfinite([slot["score"] for slot in decision.slots]).all())


def read(payload: str) -> tuple[dict[str, Any], Decision | None]:
    """The facts of a shadow event, and the Decision that nobody saw.

    Raises:
        BadInput: not the payload of a shadow event.
    """
    body = orjson.loads(payload)
    if "of" not in body:
        raise BadInput("not a shadow event")
    found = body.pop("decision")
    return body, None if found is None else decisions.of_body(found)
