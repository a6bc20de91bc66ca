"""Home pages of the earlier recommender at the start of sessions, and which slots the listener then plays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.simulation import behaviour
from recsys.simulation.catalog import I32
from recsys.simulation.exposure import SLOTS, place, without_repeats
from recsys.simulation.market import TOP, Market
from recsys.simulation.memory import EMPTY, Memory
from recsys.simulation.population import Listeners
from recsys.simulation.rng import F64, U64, keys, stream, uniforms
from recsys.simulation.sessions import Sessions

AGAIN, GENRE, POPULAR = 12, 16, 12
"""Candidates of each kind: tracks played before, popular in a genre played before, popular everywhere."""
_BONUS = np.repeat([0.9, 0.6, 0.0], [AGAIN, GENRE, POPULAR])


@dataclass
class Pages:
    """r pages; `session` points into the day's sessions."""

    session: NDArray[np.int64]
    track: I32  # (r, SLOTS)
    kind: NDArray[np.int64]  # (r, SLOTS) 0 played before, 1 genre, 2 popular
    propensity: F64  # (r, SLOTS)
    played: NDArray[np.bool_]  # (r, SLOTS) slots the listener goes on to play


def show(market: Market, listeners: Listeners, memory: Memory, sessions: Sessions, seed: int) -> Pages:
    """The pages of the sessions that began at home; one without enough candidates is not shown."""
    session = np.flatnonzero(sessions.home)
    key = keys(stream(seed, "page"), sessions.key[session])
    track = _candidates(market, memory, sessions, session, key)
    country = sessions.country[session]
    usable = market.open[track, country[:, None]] & without_repeats(track)
    enough = usable.sum(1) >= SLOTS
    session, key, track, usable = session[enough], key[enough], track[enough], usable[enough]
    if not len(session):
        return no_pages()
    ranking = np.where(usable, _BONUS + 0.35 * np.log1p(market.recent[track]), -np.inf)
    chosen, propensity = place(ranking, uniforms(key, SLOTS, 60))
    track = np.take_along_axis(track, chosen, axis=1)
    kind = np.searchsorted([AGAIN, AGAIN + GENRE], chosen, side="right")
    z, _ = scores(market, listeners, memory, sessions, np.repeat(session, SLOTS), track.ravel())
    seen = behaviour.examine(np.arange(SLOTS)) > uniforms(key, SLOTS, 70).T
    taken = behaviour.click(z).reshape(track.shape) > uniforms(key, SLOTS, 80).T
    return Pages(session, track, kind, propensity, seen & taken)


def scores(
    market: Market,
    listeners: Listeners,
    memory: Memory,
    sessions: Sessions,
    session: NDArray[np.int64],
    track: I32,
) -> tuple[F64, NDArray[np.bool_]]:
    """(n,) score z of playing each track in each session, and whether the listener knows the track."""
    catalog, row = market.catalog, sessions.row[session]
    at = memory.find(row, track)
    known = at >= 0
    slow = np.where(known, memory.slow.ravel()[at], 0)
    fatigue = np.where(known, memory.fatigue.ravel()[at], 0)
    z = behaviour.score(
        np.einsum("nd,nd->n", catalog.latent[track], sessions.preference[session]),
        np.einsum("nm,nm->n", catalog.mood[track].astype(np.float64), sessions.mood[session]),
        catalog.quality[track],
        slow,
        fatigue,
        listeners.novelty[row],
        listeners.patience[row] + behaviour.DEVICE_SHIFT[sessions.device[session]],
    )
    return z, known


def _candidates(
    market: Market, memory: Memory, sessions: Sessions, session: NDArray[np.int64], key: U64
) -> I32:
    """(r, AGAIN + GENRE + POPULAR) tracks, repeats included; drawn from what the service has seen."""
    row = sessions.row[session]
    u = uniforms(key, AGAIN + 2 * GENRE + POPULAR).T
    size = (memory.track[row] != EMPTY).sum(1)
    top = market.top[np.floor(u[:, -POPULAR:] * min(TOP, len(market.top))).astype(np.int64)]

    def from_library(v: F64) -> I32:
        place_ = np.floor(v * np.maximum(size, 1)[:, None]).astype(np.int64)
        found = memory.track[row[:, None], place_]
        return np.where(found == EMPTY, top[:, :1], found).astype(np.int32)

    again = from_library(u[:, :AGAIN])
    leaf = market.catalog.leaf[from_library(u[:, AGAIN : AGAIN + GENRE])]
    genre = market.in_leaf(leaf, u[:, AGAIN + GENRE : AGAIN + 2 * GENRE])
    return np.concatenate([again, genre, top], axis=1)


def no_pages() -> Pages:
    """Of a day on which nobody saw a page."""
    empty = np.zeros((0, SLOTS))
    return Pages(
        np.zeros(0, np.int64), empty.astype(np.int32), empty.astype(np.int64), empty, empty.astype(bool)
    )
