"""What a running server does about erasures: refuses, forgets what it has in memory, and performs those asked of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from music.privacy.model import Request, State
from music.privacy.service import Privacy
from recsys.events import Event
from recsys.home import Home
from recsys.ports import EventLog
from recsys.steady_store import SteadyStore
from recsys.types import Ask
from recsys.vault import Vault
from serving.clock import now_ms
from serving.privacy.wiring import privacy_of

logger = logging.getLogger(__name__)
Placed = list[tuple[int, Event]]


class Remembering(Protocol):
    """Something in memory that is of listeners."""

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drops what is of listeners that `gone` says yes to."""
        ...


class Forgetting:
    """One server's view of who was erased; checks cost a microsecond where nobody was lately."""

    def __init__(self, home: Home, store: SteadyStore, remembering: Sequence[Remembering]) -> None:
        """`store` and `remembering`: what this process has in memory of listeners."""
        self._vault = Vault.of_home(home)
        self.privacy: Privacy = privacy_of(home, vault=self._vault)
        self._store, self._remembering, self._epoch = store, remembering, self._vault.epoch
        self._performing = threading.Lock()

    def follow(self) -> None:
        """Forgets whoever was erased since the last call, by any process."""
        epoch = self._vault.epoch
        if epoch != self._epoch:
            self._store.purge_listeners(self._vault.erased)
            for one in self._remembering:
                one.forget(self._vault.erased)
            self._epoch = epoch

    def named(self, ask: Ask) -> Ask:
        """The ask; somebody who was erased asks as somebody new, under a made-up id."""
        self.follow()
        if ask.user_id is not None and self._vault.erased(ask.user_id):
            return replace(ask, user_id=None)
        return ask

    def all_named(self, asks: Sequence[Ask]) -> list[Ask]:
        """`named` of a batch."""
        return [self.named(ask) for ask in asks]

    def living(self, good: Placed) -> tuple[Placed, list[tuple[int, str]]]:
        """Events that may be logged, and the places of those that may not."""
        self.follow()
        gone = [place for place, event in good if self._vault.erased(event.user_id)]
        if not gone:
            return good, []
        reason = "user_id: this listener was erased; give them a new id"
        return [pair for pair in good if pair[0] not in gone], [(place, reason) for place in gone]

    def status(self, log: EventLog) -> dict[str, int]:
        """Erasures that are not done, those of them whose last try failed, and sealed records that reads of this
        process passed over."""
        left = self.privacy.requests.open()
        failed = sum(request.problem is not None for request in left)
        return {"open": len(left), "failed": failed, "shredded": log.shredded}

    def start(self) -> None:
        """Goes on with what an earlier process left open."""
        for request in self.privacy.requests.open()[:1]:
            self.begun(request)

    def begun(self, request: Request) -> None:
        """Does the rest of a request in a thread of its own."""
        if request.state != State.DONE:
            threading.Thread(target=self.resume, name="erasing", daemon=True).start()

    def resume(self) -> None:
        """Ends what is open; what fails stays open, for the next start or `recsys privacy resume`."""
        with self._performing:
            for request_id, failure in self.privacy.resume(now_ms).failed.items():
                logger.error(
                    "erasure %s is not done yet (%s); `recsys privacy resume` goes on with it\n%s",
                    *(request_id, failure.why, failure.where),
                )
