"""Listeners play: every session of a day stepped in lockstep, one play a step, until all have ended.

What comes next depends on the kind of session (an album in order, one artist, one's own library, discovery), on
the play before and on whether it was skipped; how it ends is drawn from `behaviour`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from recsys.simulation import behaviour
from recsys.simulation.audio import F32
from recsys.simulation.catalog import I32, NEIGHBOURS
from recsys.simulation.market import Market, explore
from recsys.simulation.memory import EMPTY, Memory
from recsys.simulation.pages import Pages, scores
from recsys.simulation.population import Listeners
from recsys.simulation.rng import F64, U64, uniforms
from recsys.simulation.sessions import Sessions

NEXT, SAME, NEAR, LIBRARY, EXPLORE, AGAIN, HOME = range(7)
"""Where a play came from: next on the album, same artist, a neighbour, the library, discovery, repeat, home."""
_FOLLOW = np.cumsum(
    [
        # NEXT, SAME, NEAR, LIBRARY, EXPLORE, AGAIN by mode, while a run goes on
        [0.91, 0.03, 0.01, 0.02, 0.023, 0.007],
        [0.18, 0.66, 0.04, 0.06, 0.053, 0.007],
        [0.04, 0.08, 0.09, 0.64, 0.143, 0.007],
        [0.03, 0.08, 0.30, 0.04, 0.543, 0.007],
    ],
    axis=1,
)
_START = np.cumsum(
    [
        # the same, where a session starts or a run breaks
        [0.0, 0.0, 0.0, 0.70, 0.30, 0.0],
        [0.0, 0.0, 0.0, 0.60, 0.40, 0.0],
        [0.0, 0.0, 0.0, 0.85, 0.15, 0.0],
        [0.0, 0.0, 0.0, 0.15, 0.85, 0.0],
    ],
    axis=1,
)
_BREAK = 0.25
"""Chance that a skip breaks the run."""
_WISH = np.array([0.5, 0.0, 0.0, 0.2, -0.2, 3.0, 0.0])
"""Shift of the score by source: what one puts on oneself is skipped less than what turns up."""
_LOOP, _OBSESSION = 0.75, 0.985
"""Chance that a track on repeat is repeated once more, and the same in an obsessed session."""
_ALBUM_START = 0.7
"""Chance that, in an album session, a track of the library stands for its album, played from the start."""
_NEAREST = np.cumsum(0.6 ** np.arange(NEIGHBOURS)) / np.sum(0.6 ** np.arange(NEIGHBOURS))
RECENT = 12
"""Plays within which a session does not come back to a track, unless it is put on repeat."""
DRAWS = 12


@dataclass
class Played:
    """One row a play, in order of step; `session` points into the day's sessions."""

    session: NDArray[np.int64]
    step: NDArray[np.int64]
    track: I32
    source: NDArray[np.int8]
    slot: NDArray[np.int8]  # home slot; -1 elsewhere
    start: NDArray[np.int64]  # UTC ms
    ms: I32
    outcome: NDArray[np.int8]  # recsys.plays.Outcome
    saved: NDArray[np.bool_]
    reward: F32


@dataclass
class _Cursor:
    """Where each session stands."""

    clock: NDArray[np.int64]
    track: I32
    skipped: NDArray[np.bool_]
    looping: NDArray[np.bool_]
    streak: NDArray[np.int64]
    recent: I32  # (m, RECENT)
    queue: I32  # (m, slots of a page) home plays to come; slot of each in `queue_slot`
    queue_slot: NDArray[np.int8]
    queued: NDArray[np.int64]


def play(market: Market, listeners: Listeners, memory: Memory, sessions: Sessions, pages: Pages) -> Played:
    """All plays of the day."""
    cursor = _cursor(sessions, pages)
    shelf = _Shelf.of(market, memory, sessions)
    active = np.arange(len(sessions))
    steps: list[Played] = []
    step = 0
    while len(active):
        u = uniforms(sessions.key[active], DRAWS, 20 + step * DRAWS)
        track, source, slot, usable = _choose(market, sessions, shelf, cursor, active, u, step)
        active, u = active[usable], u[:, usable]
        wish = _WISH[source[usable]]
        done = _end(market, listeners, memory, sessions, cursor, active, track[usable], wish, step, u)
        rows = Played(
            active, np.full(len(active), step), track[usable], source[usable], slot[usable], *done[:5]
        )
        steps.append(rows)
        cursor.looping[active] = rows.source == AGAIN
        active = active[_goes_on(sessions, cursor, active, step, u)]
        step += 1
    return _join(steps)


def _cursor(sessions: Sessions, pages: Pages) -> _Cursor:
    m, width = len(sessions), pages.track.shape[1]
    queue, queue_slot = np.full((m, width), EMPTY), np.full((m, width), -1, np.int8)
    queued = np.zeros(m, np.int64)
    order = np.argsort(~pages.played, axis=1, kind="stable")
    queue[pages.session] = np.take_along_axis(pages.track, order, axis=1)
    queue_slot[pages.session] = order
    queued[pages.session] = pages.played.sum(1)
    return _Cursor(
        clock=sessions.start.copy(),
        track=np.full(m, -1, np.int32),
        skipped=np.zeros(m, bool),
        looping=np.zeros(m, bool),
        streak=np.zeros(m, np.int64),
        recent=np.full((m, RECENT), -1, np.int32),
        queue=queue,
        queue_slot=queue_slot,
        queued=queued,
    )


@dataclass
class _Shelf:
    """What comes to mind in each session from the listener's library, as cumulative weights."""

    track: I32  # (m, L)
    cumulative: F32  # (m, L)

    @classmethod
    def of(cls, market: Market, memory: Memory, sessions: Sessions) -> _Shelf:
        track = memory.track[sessions.row]
        safe = np.where(track == EMPTY, 0, track)
        cosine = np.einsum("mld,md->ml", market.catalog.latent[safe], sessions.preference)
        row = sessions.row
        weight = behaviour.retrieval_weight(memory.slow[row], memory.fast[row], memory.fatigue[row], cosine)
        weight *= (track != EMPTY) & market.open[safe, sessions.country[:, None]]
        return cls(track, np.cumsum(weight, axis=1).astype(np.float32))

    def draw(self, rows: NDArray[np.int64], u: F64) -> tuple[I32, NDArray[np.bool_]]:
        cumulative = self.cumulative[rows]
        total = cumulative[:, -1]
        at = (cumulative <= (u * total).astype(np.float32)[:, None]).sum(1)
        at = np.minimum(at, cumulative.shape[1] - 1)
        track = self.track[rows, at]
        usable = (total > 0) & (track != EMPTY)
        return np.where(usable, track, 0).astype(np.int32), usable


def _choose(
    market: Market,
    sessions: Sessions,
    shelf: _Shelf,
    cursor: _Cursor,
    active: NDArray[np.int64],
    u: F64,
    step: int,
) -> tuple[I32, NDArray[np.int8], NDArray[np.int8], NDArray[np.bool_]]:
    """Track, source, home slot and whether there is one, for the next play of each active session."""
    catalog, n = market.catalog, len(active)
    source = _source(sessions, cursor, active, u, step)
    last = np.maximum(cursor.track[active], 0)
    track = np.zeros(n, np.int32)
    usable = np.zeros(n, bool)
    slot = np.full(n, -1, np.int8)

    at = np.flatnonzero(source == HOME)
    track[at] = cursor.queue[active[at], step] if len(at) else 0
    slot[at] = cursor.queue_slot[active[at], step] if len(at) else -1
    usable[at] = True

    at = np.flatnonzero(source == NEXT)
    after = np.minimum(last[at] + 1, len(catalog) - 1)
    track[at] = after
    ended = catalog.album[after] != catalog.album[last[at]]
    source[at[ended]] = SAME

    at = np.flatnonzero(source == SAME)
    track[at] = market.by_artist(catalog.artist[last[at]], u[2, at])
    at = np.flatnonzero(source == NEAR)
    track[at] = catalog.neighbours[last[at], np.searchsorted(_NEAREST[:-1], u[2, at])]
    at = np.flatnonzero(source == LIBRARY)
    track[at], found = shelf.draw(active[at], u[2, at])
    back = at[(sessions.mode[active[at]] == 0) & (u[3, at] < _ALBUM_START)]
    track[back] = catalog.album_start[track[back]]
    source[at[~found]] = EXPLORE
    at = np.flatnonzero(source == AGAIN)
    track[at] = last[at]
    usable[at] = True

    at = np.flatnonzero((source >= NEXT) & (source <= LIBRARY))
    fresh = ~(cursor.recent[active[at]] == track[at][:, None]).any(1)
    usable[at] = fresh & market.open[track[at], sessions.country[active[at]]]
    at = np.flatnonzero(~usable)
    source[at] = EXPLORE
    who = active[at]
    track[at], usable[at] = explore(
        market,
        _step_key(sessions.key[who], step),
        0,
        sessions.country[who],
        sessions.leaf[who],
        sessions.preference[who],
        cursor.recent[who],
    )
    return track, source, slot, usable


def _step_key(key: U64, step: int) -> U64:
    return key + np.uint64((step + 1) << 32)


def _source(
    sessions: Sessions, cursor: _Cursor, active: NDArray[np.int64], u: F64, step: int
) -> NDArray[np.int8]:
    mode = sessions.mode[active]
    fresh = (cursor.track[active] < 0) | (cursor.skipped[active] & (u[0] < _BREAK))
    table = np.where(fresh[:, None], _START[mode], _FOLLOW[mode])
    source: NDArray[np.int8] = (table[:, :-1] <= u[1][:, None]).sum(1).astype(np.int8)
    again = np.where(sessions.obsessed[active], _OBSESSION, _LOOP)
    source[cursor.looping[active] & ~cursor.skipped[active] & (u[11] < again)] = AGAIN
    if step < cursor.queue.shape[1]:
        source[cursor.queued[active] > step] = HOME
    return source


def _end(
    market: Market,
    listeners: Listeners,
    memory: Memory,
    sessions: Sessions,
    cursor: _Cursor,
    active: NDArray[np.int64],
    track: I32,
    wish: F64,
    step: int,
    u: F64,
) -> tuple[NDArray[np.int64], I32, NDArray[np.int8], NDArray[np.bool_], F32]:
    """How each play ends: its start, length, outcome, whether saved, and reward. Moves the cursor on."""
    z, known = scores(market, listeners, memory, sessions, active, track)
    finish, skip, save = behaviour.outcome_probabilities(z + wish, known)
    outcome = np.where(u[4] < skip, 0, np.where(u[4] < 1 - finish, 1, 2)).astype(np.int8)
    saved = (outcome == 2) & (u[5] < save / finish)
    duration = market.catalog.duration_ms[track]
    v = u[6] / behaviour.EARLY_SECONDS_SHARE
    early = np.where(v < 1, 500 + 4_500 * v, 5_000 + 24_900 * (u[6] - behaviour.EARLY_SECONDS_SHARE) / 0.31)
    late = 30_000 + (duration - 31_000) * u[7]
    ms = np.where(outcome == 0, early, np.where(outcome == 1, late, duration)).astype(np.int32)
    pause = np.where(u[8] < 0.12, -150_000 * np.log(u[9]), 300 + 1_500 * u[9])
    start = cursor.clock[active]
    cursor.clock[active] = start + ms + pause.astype(np.int64)
    cursor.recent[active, step % RECENT] = track
    cursor.track[active] = track
    cursor.skipped[active] = outcome == 0
    cursor.streak[active] = np.where(outcome == 0, cursor.streak[active] + 1, 0)
    reward = np.array([behaviour.REWARD_SKIP, behaviour.REWARD_PARTIAL, behaviour.REWARD_FINISH])[outcome]
    return start, ms, outcome, saved, (reward + behaviour.REWARD_SAVE * saved).astype(np.float32)


def _goes_on(
    sessions: Sessions, cursor: _Cursor, active: NDArray[np.int64], step: int, u: F64
) -> NDArray[np.bool_]:
    """Sessions that are not over: by plan, by the clock, or because skip followed skip."""
    bored = u[10] < 0.02 * np.minimum(cursor.streak[active], 8)
    in_time = cursor.clock[active] < sessions.limit[active]
    out: NDArray[np.bool_] = in_time & (step + 1 < sessions.planned[active]) & ~bored
    return out


def _join(steps: list[Played]) -> Played:
    return Played(*(np.concatenate([getattr(s, f.name) for s in steps]) for f in fields(Played)))
