"""Slow features of a listener, as of the last UTC midnight: the part of the feature row that Feast also holds.

`profile` is the one definition. The daily backfill (recsys.features.store) and a request compute it from the
last PROFILE_PLAYS plays before midnight, so both agree as long as a listener starts at most
WINDOW - PROFILE_PLAYS plays on one UTC day (the window then still holds all of them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.items import MS_PER_DAY
from recsys.plays import I64, Outcome, Plays

PROFILE_PLAYS = 256
PRIOR = 10.0
"""Plays' worth of prior in every smoothed share."""


@dataclass(frozen=True)
class Feature:
    """One column of a feature matrix."""

    name: str
    doc: str


PROFILE = (
    Feature("profile_plays", "plays counted: the last PROFILE_PLAYS before midnight"),
    Feature("profile_days_since", "days from the last of them to midnight; NaN without any"),
    Feature("profile_rate", "plays a day: those of the last 28 days before midnight, over 28"),
    Feature("profile_d7", "plays decayed with a half-life of 7 days"),
    Feature("profile_skip_rate", "share skipped before 30 s, smoothed"),
    Feature("profile_finish_rate", "share finished, smoothed"),
    Feature("profile_novelty", "distinct tracks per play, smoothed"),
    Feature("profile_artists", "distinct artists per play, smoothed"),
)


def midnight(now: NDArray[np.integer]) -> I64:
    """UTC ms of the last midnight at or before `now`."""
    return np.asarray(now, np.int64) // MS_PER_DAY * MS_PER_DAY


def profile(histories: Plays, now: I64, artist: NDArray[np.integer]) -> NDArray[np.float64]:
    """(b, len(PROFILE)) values of b listeners.

    Args:
        histories: b windows; rows at or after midnight are left out here.
        now: (b,) UTC ms. artist: (n_tracks,) dense artist of each track.
    """
    night = midnight(now)
    b, all_owner = len(histories), histories.owner
    stops = histories.offsets[:-1] + np.bincount(all_owner[histories.start < night[all_owner]], minlength=b)
    starts = np.maximum(histories.offsets[:-1], stops - PROFILE_PLAYS)
    length = stops - starts
    rows = np.repeat(starts - np.cumsum(length) + length, length) + np.arange(length.sum())
    owner, track, outcome = all_owner[rows], histories.track[rows], histories.outcome[rows]
    days = (night[owner] - histories.start[rows]) / MS_PER_DAY
    count = length.astype(np.float64)
    since = np.full(b, np.nan)
    filled = length > 0
    since[filled] = days[np.cumsum(length)[filled] - 1]
    known = track >= 0

    def share(rows: NDArray[np.bool_], prior: float) -> NDArray[np.float64]:
        return np.asarray((np.bincount(owner[rows], minlength=b) + prior * PRIOR) / (count + PRIOR))

    return np.stack(
        [
            count,
            since,
            np.bincount(owner[days <= 28], minlength=b) / 28,
            np.bincount(owner, np.exp2(-days / 7), b),
            share(outcome == Outcome.SKIP, 0.3),
            share(outcome == Outcome.FINISH, 0.5),
            (_distinct(owner[known], track[known], b) + PRIOR) / (count + PRIOR),
            (_distinct(owner[known], artist[track[known]], b) + PRIOR) / (count + PRIOR),
        ],
        axis=1,
    )


def _distinct(owner: I64, key: NDArray[np.integer], listeners: int) -> I64:
    """(b,) distinct keys of each listener."""
    pairs = np.sort((owner << 32) + key)
    new = np.ones(len(pairs), bool)
    new[1:] = pairs[1:] != pairs[:-1]
    return np.bincount(pairs[new] >> 32, minlength=listeners)
