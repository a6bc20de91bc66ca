"""What is known of the request that is being answered: for its spans, its log lines and the admin page.

with part("log.append"):      # a span where the request is traced, else next to nothing
    ...
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType

from recsys.types import Decision

FACTS: ContextVar[Facts | None] = ContextVar("facts", default=None)
"""Of the running request; the server's thread pool hands it on to the handler's thread."""


@dataclass(frozen=True)
class Timed:
    """One part of a request, wall-clock ns."""

    name: str
    begin: int
    end: int
    inside: str = ""  # the part that it is inside of; empty: the request itself


@dataclass
class Facts:
    """Of one request; no personal data."""

    begin: float = field(default_factory=time.perf_counter)  # seconds: when it arrived
    trace_id: str = ""
    request_id: str = ""
    route: str = ""
    surface: str = ""
    rung: str = ""
    release: str = ""
    parts: list[Timed] | None = None  # None: not traced
    failure: str = ""  # type of the error that was answered with 5xx
    extra: dict[str, str] = field(default_factory=dict)

    def decided(self, decision: Decision) -> None:
        """Takes over what an answer says of itself, and its stages as parts of the ladder.

        Stages know how long they took, not when they began: they are laid end to end in the order they ran in.
        """
        self.request_id, self.surface, self.rung = decision.request_id, decision.surface, decision.rung
        self.release = decision.release.version
        if self.parts is None:
            return
        at = next((p.begin for p in self.parts if p.name == "ladder"), None)
        if at is None:
            return
        order = sorted(decision.stages_ms, key=lambda name: not name.startswith("source:"))
        for name in order:
            end = at + int(decision.stages_ms[name] * 1e6)
            self.parts.append(Timed(name, at, end, "ladder"))
            at = end


class part:
    """Times a block of the running request as one part of its trace."""

    __slots__ = ("_begin", "_facts", "_name")

    def __init__(self, name: str) -> None:
        self._name, self._facts = name, FACTS.get()

    def __enter__(self) -> None:
        if self._facts is not None and self._facts.parts is not None:
            self._begin = time.time_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._facts is not None and self._facts.parts is not None:
            self._facts.parts.append(Timed(self._name, self._begin, time.time_ns()))


def arrival() -> float:
    """When the running request arrived (time.perf_counter); now, where it did not come over HTTP."""
    facts = FACTS.get()
    return time.perf_counter() if facts is None else facts.begin


def note(decision: Decision) -> None:
    """An observer of decisions: the running request learns what its answer was."""
    facts = FACTS.get()
    if facts is not None:
        facts.decided(decision)
