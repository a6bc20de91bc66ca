"""One simulated day of a group of listeners: their sessions, stepped in lockstep, one track after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.simulation import behaviour
from recsys.simulation.audio import F32
from recsys.simulation.market import Market, explore
from recsys.simulation.memory import Memory
from recsys.simulation.population import OFFSET_H, Listeners
from recsys.simulation.rng import F64, U64, keys, normals, pick_rows, stream, uniforms

MS_PER_HOUR = 3_600_000
MS_PER_DAY = 24 * MS_PER_HOUR
MAX_SESSIONS, MAX_PLAYS = 3, 120
DAY_STARTS = 4
"""Local hour at which a simulated day begins."""
_HOUR_WEIGHT = np.fromstring(
    "1.0 1.5 3.0 4.5 5.0 4.8 4.7 4.8 5.0 4.9 5.0 5.3 6.0 6.6 6.6 6.4 6.2 5.8 4.8 3.4 2.0 1.1 0.7 0.6", sep=" "
)
"""Session starts by local hour, from 04:00 on; two humps around work, as usual in streaming logs."""
_DEVICE_WEIGHT = np.array([[5.0, 2.5, 1.2, 0.8], [5.0, 1.0, 0.8, 3.0], [4.0, 1.5, 3.5, 0.4]])
"""By kind of hour (working, commuting, evening and night): mobile, desktop, speaker, car."""


@dataclass
class Sessions:
    """m sessions of one day; rows point into the group of listeners."""

    row: NDArray[np.int64]
    nth: NDArray[np.int64]  # of that listener on that day
    key: U64
    start: NDArray[np.int64]  # UTC ms
    limit: NDArray[np.int64]  # UTC ms by which the session must have ended
    hour: F64  # local
    device: NDArray[np.int64]
    country: NDArray[np.int64]
    lead: NDArray[np.int64]  # leading taste
    weights: F64  # (m, TASTES)
    preference: F32  # (m, LATENT)
    mood: F64  # (m, 2)
    leaf: NDArray[np.int64]  # home genre of the leading taste
    mode: NDArray[np.int64]
    planned: NDArray[np.int64]  # plays
    home: NDArray[np.bool_]  # began on the home page
    offline: NDArray[np.bool_]
    incognito: NDArray[np.bool_]
    obsessed: NDArray[np.bool_]  # a track put on repeat stays on

    def __len__(self) -> int:
        return len(self.row)


def plan(listeners: Listeners, memory: Memory, day: int, epoch_ms: int, seed: int) -> Sessions:
    """Who listens when today, on what, and in which mood. Reads the memory, changes nothing.

    Args:
        epoch_ms: UTC midnight of day 0.
    """
    row, nth, hour = _starts(listeners, memory, day, seed)
    country = listeners.country[row]
    base = epoch_ms + day * MS_PER_DAY - np.round(OFFSET_H[country] * MS_PER_HOUR).astype(np.int64)
    start = base + np.round(hour * MS_PER_HOUR).astype(np.int64)
    followed = np.append(row[1:] == row[:-1], False) if len(row) else np.zeros(0, bool)
    limit = np.where(
        followed, np.append(start[1:], 0)[: len(row)] - 35 * 60_000, base + (24 + DAY_STARTS) * MS_PER_HOUR
    )
    fits = limit - start > 10 * 60_000
    row, nth, start, limit, country = row[fits], nth[fits], start[fits], limit[fits], country[fits]
    hour = hour[fits]
    key = keys(stream(seed, "session"), listeners.index[row], day, nth)
    u = uniforms(key, 10)
    g = normals(key, 4, 100)
    clock = hour % 24
    device = _devices(clock, u[0])
    weights = listeners.taste_weights(row, day, clock, device)
    lead = np.where((u[1] < 0.55) & (memory.lead[row] >= 0), memory.lead[row], pick_rows(weights, u[2]))
    day_mood = normals(keys(stream(seed, "mood"), listeners.index[row], day), 2)
    return Sessions(
        row=row,
        nth=nth,
        key=key,
        start=start,
        limit=limit,
        hour=clock,
        device=device,
        country=country,
        lead=lead,
        weights=weights,
        preference=behaviour.leading_vector(listeners.tastes_on(row, day), weights, lead).astype(np.float32),
        mood=behaviour.hour_mood(clock) + 0.7 * day_mood.T + 0.5 * g[:2].T,
        leaf=listeners.leaf[row, lead],
        mode=pick_rows(listeners.mode[row], u[3]),
        planned=np.clip(np.exp(2.75 + 1.0 * g[2]), 1, MAX_PLAYS).astype(np.int64),
        home=(u[4] < 0.55) & (u[5] > 0.03),
        offline=u[5] <= 0.03,
        incognito=u[6] < 0.015,
        obsessed=u[7] < 0.06,
    )


def _starts(
    listeners: Listeners, memory: Memory, day: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], F64]:
    """Row, number within the day, and local hour (4..28) of every session, in order."""
    u = uniforms(keys(stream(seed, "day"), listeners.index, day), 1 + MAX_SESSIONS)
    weekend = 1.15 if day % 7 in (5, 6) else 0.95
    rate = listeners.rate * weekend * np.clip(0.5 + 1.2 * memory.satisfaction, 0.2, 1.4)
    present = (listeners.join_day <= day) & ~memory.gone
    chance = np.exp(-rate)
    count = (u[0] > chance).astype(np.int64) + (u[0] > chance * (1 + rate))
    count += u[0] > chance * (1 + rate + rate**2 / 2)
    count = np.where(present, count, 0)
    share = np.concatenate([[0.0], np.cumsum(_HOUR_WEIGHT) / _HOUR_WEIGHT.sum()])
    hour = np.interp(u[1:].T, share, DAY_STARTS + np.arange(25.0))
    hour[np.arange(MAX_SESSIONS)[None, :] >= count[:, None]] = np.inf
    hour.sort(axis=1)
    row, nth = np.nonzero(np.isfinite(hour))
    return row, nth, hour[row, nth]


def _devices(clock: F64, u: F64) -> NDArray[np.int64]:
    commuting = ((clock >= 7) & (clock < 9.5)) | ((clock >= 16.5) & (clock < 19))
    kind = np.where(commuting, 1, np.where((clock >= 9.5) & (clock < 16.5), 0, 2))
    return pick_rows(_DEVICE_WEIGHT[kind], u)


def first_library(
    market: Market, listeners: Listeners, memory: Memory, rows: NDArray[np.int64], seed: int
) -> None:
    """What listeners know on the day they join, from a life before this service."""
    if not len(rows):
        return
    draws = min(90, memory.track.shape[1] - 4)
    index = np.repeat(listeners.index[rows], draws)
    owner = np.repeat(rows, draws)
    key = keys(stream(seed, "library"), index, np.tile(np.arange(draws), len(rows)))
    u = uniforms(key, 4)
    lead = pick_rows(np.exp(listeners.logit[owner]), u[0])
    taste = listeners.tastes_on(rows, market.day)[np.repeat(np.arange(len(rows)), draws), lead]
    track, usable = explore(market, key, 10, listeners.country[owner], listeners.leaf[owner, lead], taste)
    size = np.where(
        listeners.join_day[owner] > 0, 25, 40 + 50 * uniforms(keys(stream(seed, "library-size"), index), 1)[0]
    )
    keep = usable & (np.tile(np.arange(draws), len(rows)) < size)
    gain = (-4.0 * np.log(u[1])).astype(np.float32)
    memory.learn(owner[keep], track[keep], gain[keep], np.zeros(keep.sum(), np.float32))
    memory.fast[rows] *= np.float32(0.1)
