"""Windows of plays as the network reads them, from a log for training or from a batch of requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.semantic_ids.config import SemanticConfig
from models.semantic_ids.network import DEVICES, Moments, Windows, gap_bucket
from recsys.plays import I64, WINDOW, Outcome, Plays
from recsys.types import QueryBatch


@dataclass(frozen=True)
class Step:
    """One training step: windows, the moments in them that predict, and the track that each should find."""

    windows: Windows
    row: I64  # (p,) window of each prediction
    slot: I64  # (p,) plays of the window that have been seen by then
    moments: Moments
    target: I64  # (p,) track


class Examples:
    """Draws windows from a log of known tracks.

    Any play in the next `horizon` may be the target (all-action prediction: Pancha et al., KDD 2022), tracks that the
    listener had not played before more often: repeats are the business of other sources.
    """

    def __init__(self, plays: Plays, config: SemanticConfig) -> None:
        self.plays, self.config = plays, config
        self.gaps = gaps_before(plays)
        weight = np.where(first_times(plays), 1.0, config.repeat_weight)
        weight *= np.where(plays.outcome == Outcome.SKIP, config.skip_weight, 1.0)
        self.before = np.concatenate([[0.0], np.cumsum(weight)])  # weight of the rows before each
        self.end = plays.offsets[1:][plays.owner]

    def steps(self) -> int:
        """Steps of an epoch: as many plays read as the log has."""
        return max(1, self.plays.rows // (self.config.batch_size * self.config.max_length))

    def draw(self, step: int) -> Step:
        """Step number `step`; the same for the same seed."""
        rng, config, plays = np.random.default_rng((self.config.seed, step)), self.config, self.plays
        last = rng.integers(0, plays.rows, config.batch_size)
        begin = plays.offsets[:-1][plays.owner[last]]
        first = np.maximum(begin, last + 1 - config.max_length)
        row = np.repeat(np.arange(config.batch_size), config.predictions)
        slot = (rng.random(len(row)) * (last - first + 2)[row]).astype(np.int64)
        coming = first[row] + slot  # the row that the moment stands before
        reach = np.minimum(coming + config.horizon, self.end[last][row])
        low, high = self.before[np.minimum(coming, reach)], self.before[reach]
        target = np.searchsorted(self.before, low + rng.random(len(row)) * (high - low), side="right") - 1
        kept = (high > low) & (target >= coming) & (target < reach)
        row, slot, coming, target = row[kept], slot[kept], coming[kept], target[kept]
        moments = Moments(
            gap_bucket(self.gaps[coming]),
            plays.hour[coming].astype(np.int64),
            _device(plays.device[coming]),
        )
        windows = windows_of(plays, self.gaps, begin, first, last + 1, config.max_length)
        return Step(windows, row, slot, moments, plays.track[target].astype(np.int64))


def request_windows(batch: QueryBatch, max_length: int) -> tuple[Windows, Moments]:
    """The newest plays of each request, and the moment that it asks for."""
    known = batch.histories.where(batch.histories.track >= 0)
    stop, begin = known.offsets[1:], known.offsets[:-1]
    windows = windows_of(
        known, gaps_before(known), begin, np.maximum(begin, stop - max_length), stop, max_length
    )
    last = np.maximum(stop - 1, 0)
    if known.rows:
        gap = np.where(stop > begin, batch.now - known.start[last] - known.ms_played[last], -1)
    else:
        gap = np.full(len(batch), -1)
    gap = np.where(stop > begin, np.maximum(gap, 0), -1)
    return windows, Moments(gap_bucket(gap), batch.hour.astype(np.int64), _device(batch.device))


def windows_of(plays: Plays, gaps: I64, begin: I64, first: I64, stop: I64, length: int) -> Windows:
    """Rows first:stop of each listener, whose own begin at `begin`; of what came earlier, as much as a state keeps."""
    place = first[:, None] + np.arange(length)
    there = place < stop[:, None]
    rows = np.where(there, place, 0)
    track = np.full(rows.shape, -1, np.int64)
    outcome, gap = np.zeros(rows.shape, np.int64), np.zeros(rows.shape, np.int64)
    track[there] = plays.track[rows[there]]
    outcome[there] = plays.outcome[rows[there]]
    gap[there] = gap_bucket(gaps[rows[there]])
    since = np.maximum(begin, first - (WINDOW - length))
    sizes = first - since
    offsets = np.cumsum(sizes) - sizes
    earlier = np.arange(int(sizes.sum())) + np.repeat(since - offsets, sizes)
    return Windows(track, outcome, gap, plays.track[earlier].astype(np.int64), offsets.astype(np.int64))


def gaps_before(plays: Plays) -> I64:
    """(n,) ms from the end of the listener's play before to each play's start, at least 0; -1 where there is none."""
    gap = np.full(plays.rows, -1, np.int64)
    if plays.rows:
        gap[1:] = np.maximum(plays.start[1:] - plays.start[:-1] - plays.ms_played[:-1], 0)
        gap[plays.offsets[:-1][np.diff(plays.offsets) > 0]] = -1
    return gap


def first_times(plays: Plays) -> NDArray[np.bool_]:
    """(n,) whether a play is the listener's first of its track in the log."""
    key = plays.owner * (int(plays.track.max(initial=0)) + 1) + plays.track
    first = np.zeros(plays.rows, bool)
    first[np.unique(key, return_index=True)[1]] = True
    return first


def _device(device: NDArray[np.integer]) -> I64:
    """Row of the device table; one place for all that are not known."""
    return np.where((device < 0) | (device >= DEVICES - 1), DEVICES - 1, device).astype(np.int64)
