"""What a running server does about erasures: refuses, forgets what it has in memory, and performs those asked of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from music.privacy.model import Request, State
from music.privacy.service import Privacy
from recsys.errors import Erased
from recsys.events import Event
from recsys.home import Home
from recsys.ids import public_id
from recsys.ports import Appended, EventLog
from recsys.steady_store import SteadyStore
from recsys.types import Ask
from recsys.vault import Newcomers, Vault
from serving.clock import now_ms
from serving.privacy.wiring import privacy_of

logger = logging.getLogger(__name__)
Placed = list[tuple[int, Event]]
"""Events with their places in a batch."""
ERASED = "user_id: this listener was erased; give them a new id"


class Remembering(Protocol):
    """Something in memory that is of listeners."""

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drops what is of listeners that `gone` says yes to."""
        ...


class Forgetting:
    """One server's view of who was erased; checks cost a microsecond where nobody was lately."""

    def __init__(
        self, home: Home, store: SteadyStore, remembering: Sequence[Remembering], vault: Vault
    ) -> None:
        """`store` and `remembering`: what this process has in memory of listeners; `vault`: the home's."""
        self._vault, self._newcomers = vault, Newcomers(vault)
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

    def nobody(self, ask: Ask, request_id: str | None) -> str:
        """The made-up id of an answer that is not to be under the asker's own; "" where it is.

        Of a request whose id is given it follows from that, so that a simulation can be repeated.
        """
        if request_id is not None:
            return public_id("anonymous", request_id)
        return self._newcomers.take() if ask.user_id is None or ask.context.incognito else ""

    def all_named(self, asks: Sequence[Ask]) -> list[Ask]:
        """`named` of a batch."""
        return [self.named(ask) for ask in asks]

    def append(self, log: EventLog, offered: Placed) -> tuple[Placed, list[Appended], list[tuple[int, str]]]:
        """Logs events; those of erased listeners are refused one by one, also of who is erased just now.

        Returns the events that were offered to the log, what became of each, and the places of the others.

        Raises:
            LogUnavailable: nothing was made durable.
        """
        self.follow()
        gone = {event.user_id for _, event in offered if self._vault.erased(event.user_id)}
        while True:
            good = [(place, event) for place, event in offered if event.user_id not in gone]
            try:
                results = log.append([event for _, event in good]) if good else []
            except Erased:  # since the look above, and before anything was written
                more = self._vault.erased_of({event.user_id for _, event in good})
                if not more:
                    raise
                gone |= more
            else:
                refused = [(place, ERASED) for place, event in offered if event.user_id in gone]
                return good, results, refused

    def status(self, log: EventLog) -> dict[str, int]:
        """Erasures that are not done, those of them whose last try failed, others whose file cannot be read, and
        sealed records that reads of this process passed over."""
        left, unreadable = self.privacy.requests.open(), len(self.privacy.requests.unreadable())
        failed = sum(request.problem is not None for request in left)
        return {"open": len(left), "failed": failed, "unreadable": unreadable, "shredded": log.shredded}

    def start(self) -> None:
        """Goes on with what an earlier process left open."""
        if self.privacy.requests.open() or self.privacy.requests.unreadable():
            self._resume_beside()

    def begun(self, request: Request) -> None:
        """Does the rest of a request in a thread of its own."""
        if request.state != State.DONE:
            self._resume_beside()

    def _resume_beside(self) -> None:
        threading.Thread(target=self.resume, name="erasing", daemon=True).start()

    def resume(self) -> None:
        """Ends what is open; what fails stays open, for the next start or `recsys privacy resume`."""
        with self._performing:
            for request_id, failure in self.privacy.resume(now_ms).failed.items():
                logger.error(
                    "erasure %s is not done yet (%s); `recsys privacy resume` goes on with it\n%s",
                    *(request_id, failure.why, failure.where),
                )
