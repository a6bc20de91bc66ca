"""What happened on one simulated day, as columns; and one tick of it: listeners look at their pages and play.

Randomness is by counter (listener, day, session, slot or step), so the same listener meets the same luck under any
policy, in any batch, and whatever the others do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.simulation import behaviour, listen
from recsys.simulation.catalog import I32
from recsys.simulation.listen import Played
from recsys.simulation.market import Market
from recsys.simulation.memory import Memory
from recsys.simulation.pages import Pages, scores
from recsys.simulation.population import Listeners
from recsys.simulation.rng import F64, keys, stream, uniforms
from recsys.simulation.sessions import Sessions

I64 = NDArray[np.int64]
OPENED_MS = 5_000
"""How long before its first play a session opens the home page."""


@dataclass(frozen=True)
class Shown:
    """r home pages with k slots; `session` points into the day's sessions."""

    session: I64  # (r,)
    track: I32  # (r, k) -1: an empty slot
    propensity: F64  # (r, k)
    seen: NDArray[np.bool_]  # (r, k) slots that were looked at
    played: NDArray[
        np.bool_
    ]  # (r, k) slots that were chosen; those left when the session ends are not played
    z: F64  # (r, k) the hidden score of a play of each slot's track; nan where empty
    known: NDArray[np.bool_]  # (r, k) whether the listener knows the track
    measured: NDArray[np.bool_]  # (r,)
    greedy: I32  # (r, k) the page without exploration; -1 where the policy did not say


@dataclass(frozen=True)
class LiveDay:
    """One day of everyone: sessions in order of listener and time, their pages, and their plays."""

    day: int
    sessions: Sessions
    shown: Shown
    played: Played

    @property
    def listener(self) -> I64:
        """(m,) row of the listener of each session."""
        return self.sessions.row


def take(sessions: Sessions, rows: I64) -> Sessions:
    """Some of the sessions."""
    return Sessions(**{f.name: getattr(sessions, f.name)[rows] for f in fields(Sessions)})


def look(
    market: Market,
    listeners: Listeners,
    memory: Memory,
    sessions: Sessions,
    page: Shown,
    seed: int,
) -> Shown:
    """Who looks at which slots of the pages and chooses what; the law is that of the logs' pages (pages.py)."""
    r, k = page.track.shape
    z, known = np.full((r, k), np.nan), np.zeros((r, k), bool)
    row, slot = np.nonzero(page.track >= 0)
    z[row, slot], known[row, slot] = scores(
        market, listeners, memory, sessions, page.session[row], page.track[row, slot]
    )
    key = keys(stream(seed, "live-page"), sessions.key[page.session]) if r else sessions.key[:0]
    u = uniforms(key, 2 * k).reshape(k, 2, r)  # draws 2j and 2j + 1 belong to slot j, however many there are
    seen = (behaviour.examine(np.arange(k)) > u[:, 0].T) & (page.track >= 0)
    chosen = seen & (behaviour.click(np.nan_to_num(z, nan=-np.inf)) > u[:, 1].T)
    return replace(page, z=z, known=known, seen=seen, played=chosen)


def react(
    market: Market, listeners: Listeners, memory: Memory, sessions: Sessions, page: Shown, seed: int
) -> tuple[Shown, Played]:
    """Everything that some sessions do; `page.session` and the result's point into them."""
    shown = look(market, listeners, memory, sessions, page, seed)
    kinds = np.zeros(shown.track.shape, np.int64)
    pages = Pages(shown.session, shown.track, kinds, shown.propensity, shown.played)
    return shown, listen.play(market, listeners, memory, sessions, pages)


def logged(pages: Pages) -> Shown:
    """A page of the log generator's, as far as a log has it: all its slots were on screen."""
    on, blank = np.ones(pages.track.shape, bool), np.full(pages.track.shape, np.nan)
    return Shown(
        session=pages.session,
        track=pages.track,
        propensity=pages.propensity,
        seen=on,
        played=pages.played,
        z=blank,
        known=~on,
        measured=np.zeros(len(pages.track), bool),
        greedy=np.full(pages.track.shape, -1, np.int32),
    )


def joined(day: int, sessions: Sessions, parts: list[tuple[I64, Shown, Played]]) -> LiveDay:
    """One day from its ticks: `parts` hold the sessions' rows, their pages and plays. Order does not depend on how
    the day was cut.
    """
    if not parts:
        return LiveDay(day, sessions, _nothing(), _no_plays())
    shown = _columns(Shown, [replace(s, session=rows[s.session]) for rows, s, _ in parts])
    played = _columns(Played, [replace(p, session=rows[p.session]) for rows, _, p in parts])
    by_session = np.argsort(shown.session, kind="stable")
    by_step = np.lexsort((played.step, played.session))
    return LiveDay(
        day,
        sessions,
        Shown(*(getattr(shown, f.name)[by_session] for f in fields(Shown))),
        Played(*(getattr(played, f.name)[by_step] for f in fields(Played))),
    )


T = TypeVar("T", Shown, Played)


def _columns(kind: type[T], parts: list[T]) -> T:
    return kind(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(kind)))


def _nothing() -> Shown:
    empty = np.zeros((0, 1))
    whole = empty.astype(np.int32)
    mask = empty.astype(bool)
    return Shown(np.zeros(0, np.int64), whole, empty, mask, mask, empty, mask, np.zeros(0, bool), whole)


def _no_plays() -> Played:
    nothing = {"track": np.int32, "source": np.int8, "slot": np.int8, "ms": np.int32, "outcome": np.int8}
    kinds = {**nothing, "saved": np.bool_, "reward": np.float32}
    return Played(**{f.name: np.zeros(0, kinds.get(f.name, np.int64)) for f in fields(Played)})
