"""What can be asked: erase a listener, see how far it is, read the receipt, check a receipt.

privacy = Privacy(Requests(folder), steps, key)
request = privacy.request(user_id, now)      # durable; the same request for the same listener
receipt = privacy.run(request.id, clock)     # all steps, going on where an earlier run was killed

Which steps there are is wired by the composition root (serving/privacy): each removes the listener from one place,
can be repeated, and says in numbers what it found.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, Protocol

from music.privacy.model import Case, Receipt, Request, State, Step
from music.privacy.store import Requests
from recsys.errors import BadInput, NotReady, RecsysError
from recsys.ids import is_public_id, uuid7

Facts = dict[str, Any]
Clock = Callable[[], int]
"""UTC ms."""


class Work(Protocol):
    """One step of an erasure."""

    @property
    def name(self) -> str: ...

    def __call__(self, case: Case) -> Facts:
        """Removes the listener from one place. Doing it twice removes nothing more. Raises RecsysError."""
        ...


class Hashing(Protocol):
    """The home's keyed hashes."""

    def listener(self, user_id: str) -> str: ...

    def seal(self, digest: str) -> str: ...


@dataclass(frozen=True)
class Failure:
    """Why a request could not be ended, without whom it is about."""

    why: str
    where: str  # lines of code, innermost last


@dataclass(frozen=True)
class Resumed:
    """What became of the requests that were open."""

    receipts: list[Receipt]
    failed: dict[str, Failure]  # by request; each stays open and is tried again next time


@dataclass(frozen=True)
class Privacy:
    """The requests of one home, and the steps that serve them; safe for several processes.

    A request is made, and its steps at once are done, under a short lock, so that nobody who asks waits for the
    erasure of another. `run` does those steps under the same lock where they are missing; from then on the request
    is written by the run alone.
    """

    requests: Requests
    steps: Sequence[Work]
    hashing: Hashing
    at_once: frozenset[str] = frozenset()  # names of steps that `request` does before it returns

    def request(self, user_id: str, now: int) -> Request:
        """Notes that a listener is to be erased, and does what is to take effect at once.

        The same listener again gives the same request, done or not. It does not wait for a run.

        Raises:
            BadInput: not a public id.
        """
        if not is_public_id(user_id):
            raise BadInput(f"{user_id!r} is no listener's id: 22 characters of 0-9A-Za-z")
        with self.requests.alone():
            listener = self.hashing.listener(user_id)
            found = self.requests.of(listener)
            if found is None:
                found = Request(
                    id=uuid7(now),
                    state=State.REQUESTED,
                    listener=listener,
                    user_id=user_id,
                    requested_at=now,
                )
                self.requests.put(found)
            return self._through(found, lambda: now, self.at_once)

    def run(self, request_id: str, clock: Clock) -> Receipt:
        """Does all steps that are not done, and writes the receipt; of a request that is done, its receipt.

        Raises:
            UnknownId: no such request.
            RecsysError: a step could not be done; the request stays and says why, and `run` goes on there.
        """
        with self.requests.running():
            if self.requests.get(request_id).state == State.DONE:
                return self.requests.receipt(request_id)
            try:
                with self.requests.alone():
                    request = self._through(self.requests.get(request_id), clock, self.at_once)
                return self._ended(request, clock)
            except Exception as error:
                with self.requests.alone():
                    self.requests.put(self.requests.get(request_id).failed(_said(error)))
                raise

    def resume(self, clock: Clock) -> Resumed:
        """Tries every request that was asked for and is not done (after a crash); none keeps others from it.

        A request that cannot be read but has its receipt is done, and is made again from that.
        """
        receipts, failed = [], {}
        for request_id in self.requests.ids():
            try:
                if not self._done(request_id):
                    receipts.append(self.run(request_id, clock))
            except Exception as error:
                failed[request_id] = self._failure(request_id, error)
        return Resumed(receipts, failed)

    def checked(self, receipt: Receipt) -> None:
        """Whether a receipt is as it was written, by this home.

        Raises:
            BadInput: it was changed, or is another home's.
        """
        if receipt.digested() != receipt.digest:
            raise BadInput(f"receipt {receipt.id} was changed: its digest is of another text")
        if not compare_digest(self.hashing.seal(receipt.digest), receipt.seal):
            raise BadInput(f"receipt {receipt.id} was not written by this home")

    def _done(self, request_id: str) -> bool:
        try:
            return self.requests.get(request_id).state == State.DONE
        except (BadInput, OSError):
            try:
                receipt = self.requests.receipt(request_id)
                self.checked(receipt)
            except (RecsysError, OSError):
                receipt = None
            if receipt is None or receipt.id != request_id:
                raise
            with self.requests.alone():
                self.requests.put(receipt.request())
            return True

    def _ended(self, request: Request, clock: Clock) -> Receipt:
        ended = self._through(request, clock, None).ended(clock())
        receipt = self._receipt(ended)
        self.requests.put_receipt(receipt)
        self.requests.put(ended)
        return receipt

    def _failure(self, request_id: str, error: Exception) -> Failure:
        try:
            noted = self.requests.get(request_id).problem
        except (RecsysError, OSError):  # the request itself cannot be read
            noted = None
        return Failure(noted or _said(error), "".join(traceback.format_tb(error.__traceback__)))

    def _through(self, request: Request, clock: Clock, only: frozenset[str] | None) -> Request:
        for work in self.steps:
            if request.did(work.name) or request.state == State.DONE:
                continue
            if only is not None and work.name not in only:
                continue
            if request.user_id is None:
                raise NotReady(
                    f"request {request.id} no longer names its listener: ask for the erasure again"
                )
            facts = work(Case(request.user_id, request, clock()))
            request = request.after(Step(name=work.name, at=clock(), facts=facts))
            self.requests.put(request)
        return request

    def _receipt(self, request: Request) -> Receipt:
        assert request.done_at is not None
        bare = Receipt(
            id=request.id,
            listener=request.listener,
            requested_at=request.requested_at,
            done_at=request.done_at,
            removed={step.name: {"at": step.at, **step.facts} for step in request.steps},
        )
        digest = bare.digested()
        return bare.model_copy(update={"digest": digest, "seal": self.hashing.seal(digest)})


def _said(error: Exception) -> str:
    """What an error says; of one that is not ours its kind too."""
    return str(error) if isinstance(error, RecsysError) else f"{type(error).__name__}: {error}"
