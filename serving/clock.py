"""What time a request is answered at: the machine's, or in a simulation the one that its caller says.

`recsys serve --simulated-clock` takes the header `Recsys-Now: <UTC ms>`; without it the header is refused, so that
nobody can believe in vain to have set the time. Stage times, budgets and limits of rate go by the real clock always.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import ContextVar

from recsys.errors import BadInput
from recsys.events import FIRST_POSTED, LATEST

HEADER = b"recsys-now"
NOW: ContextVar[int | None] = ContextVar("now", default=None)
"""Of the running request, UTC ms; the server's thread pool hands it on to the handler's thread. None: the machine's."""
_FIRST, _LAST = (int(at.timestamp()) * 1000 for at in (FIRST_POSTED, LATEST))


def now_ms() -> int:
    """The time of the running request, UTC ms."""
    given = NOW.get()
    return time.time_ns() // 1_000_000 if given is None else given


def told(headers: Sequence[tuple[bytes, bytes]], simulated: bool) -> int | None:
    """The time that a request's headers say, UTC ms; None where they say none.

    Args:
        simulated: whether callers may set the time.

    Raises:
        BadInput: they say it to a server that keeps its own time, twice, or not as a number of ms since 2005.
    """
    values = [value for name, value in headers if name == HEADER]
    if not values:
        return None
    if not simulated:
        raise BadInput("this server keeps its own time: Recsys-Now is for `recsys serve --simulated-clock`")
    if len(values) > 1 or not values[0].isdigit() or len(values[0]) > 13:
        raise BadInput("Recsys-Now is one number: milliseconds since 1970 (UTC)")
    now = int(values[0])
    if not _FIRST <= now < _LAST:
        raise BadInput("Recsys-Now must lie within the years 2005 to 2099, in milliseconds since 1970")
    return now
