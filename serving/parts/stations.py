"""What a station knows of its request, per track: its place, what was skipped and liked in it, what is familiar.

    hints(parts, batch)[j].near(ids)       # the station's own score of some tracks

The same functions score the whole catalog (to choose the pool) and the candidates (columns of the Decision).
Everything here is a function of the query's `station`, `skipped` and `options` and of the listener's window, all of
which the Decision records.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.two_tower.model import TwoTower
from recsys.items import Items
from recsys.pipeline import Candidates
from recsys.plays import I64
from recsys.separation import Names
from recsys.titles import title_key
from recsys.transitions import Sound
from recsys.types import Query, QueryBatch
from recsys.vectors import normalize
from serving.parts.scorers import rowwise
from serving.parts.window import unskipped
from serving.settings import RadioSettings

Floats = NDArray[np.float32]
FAR = 0.6
"""Cosine below which a track is no longer close to a skipped one."""
MIDDLE = 0.5
"""The dial between familiar (0) and discover (1) where familiarity counts nothing."""


@dataclass(frozen=True)
class StationParts:
    """What stations are made from, over one release; facts that are costly to find are found once."""

    items: Items
    two_tower: TwoTower
    popularity: Floats  # (countries+1, n)
    settings: RadioSettings

    @cached_property
    def sound(self) -> Sound:
        return Sound.of(self.items)

    @cached_property
    def names(self) -> Names:
        """(n,) artists, albums and songs as numbers, -1 where the catalog names none."""
        frame = self.items.frame
        titles = frame["title"].fill_null("")
        different = titles.unique().to_list()
        numbers: dict[str, int] = {"": -1}
        number = [numbers.setdefault(title_key(title), len(numbers)) for title in different]
        return Names(
            artist=_known(self.items.artist, self.items.named[self.items.artist]),
            album=_known(self.items.album, frame["album_id"].fill_null("").to_numpy() != ""),
            title=titles.replace_strict(different, number, return_dtype=pl.Int64).to_numpy(),
        )


def _known(numbers: NDArray[np.int32], known: NDArray[np.bool_]) -> I64:
    return np.where(known, numbers, -1).astype(np.int64)


@dataclass(frozen=True)
class Hint:
    """One station at one request."""

    parts: StationParts
    query: Query
    played: NDArray[np.int32]  # the listener's window without skips, dense

    @cached_property
    def vector(self) -> Floats:
        """(d,) unit: the seeds' mean, moved towards what was liked in this station (Rocchio 1971)."""
        unit, settings = self.parts.two_tower.unit_vectors, self.parts.settings
        mean = normalize(unit[list(self.query.station)].mean(axis=0))
        if self.liked:
            mean = mean + settings.like_pull * normalize(unit[self.liked].mean(axis=0))
        return normalize(mean)

    @property
    def liked(self) -> list[int]:
        """Tracks finished or saved in this station, newest last; a saved one stands there twice."""
        return list(self.query.options.get("liked", ()))

    @property
    def dial(self) -> float:
        return float(self.query.options.get("dial", MIDDLE))

    def likeness(self, ids: I64 | None = None, exact: bool = True) -> Floats:
        """Cosine to the station of some tracks, or fast of all."""
        unit = self.parts.two_tower.unit_vectors
        return unit @ self.vector if ids is None else _inner(unit[ids], self.vector, exact)

    def skipped(self, ids: I64, exact: bool = True) -> Floats | float:
        """Greatest closeness (0..1) to a track that was skipped in this station; far ones do not count."""
        gone = list(self.query.skipped[-self.parts.settings.skips_kept :])
        if not gone:
            return 0.0
        unit = self.parts.two_tower.unit_vectors
        own = unit[ids]
        nearest = np.max([_inner(own, unit[track], exact) for track in gone], axis=0)
        return np.asarray(np.maximum((nearest - FAR) / (1 - FAR), 0), np.float32)

    def artists(self, ids: I64) -> Floats | float:
        """What skips and likes in this station say of a track's artist, -1..0.3."""
        if not self.query.skipped and not self.liked:
            return 0.0
        artist, count = self.parts.items.artist, len(self.parts.items.artist_ids)
        skips, likes = (_tally(artist[list(tracks)], count) for tracks in (self.query.skipped, self.liked))
        against, towards = np.maximum(skips - likes / 2, 0), np.maximum(likes / 2 - skips, 0)
        verdict = (0.3 * (1 - 0.5 ** (towards / 2)) - (1 - 0.5**against)).astype(np.float32)
        return np.asarray(verdict[artist[ids]])

    @cached_property
    def unwanted(self) -> dict[int, float]:
        """Genres skipped in this station beyond half their likes, and how often beyond: at most `skips_felt`."""
        items, settings = self.parts.items, self.parts.settings
        skips, likes = (
            _tally(items.genre[list(t)], len(items.genres)) for t in (self.query.skipped, self.liked)
        )
        beyond = np.minimum(skips - likes / 2, settings.skips_felt)
        return {int(genre): float(beyond[genre]) for genre in np.flatnonzero(beyond > 0)}

    def familiar(self, ids: I64) -> Floats:
        """How well the listener knows a track, 0..1: more than half by its own plays, the rest by its artist's."""
        items = self.parts.items
        track = np.bincount(self.played, minlength=len(items))
        artist = np.bincount(items.artist[self.played], minlength=len(items.artist_ids))
        own = 1 - 0.5 ** track[ids].astype(np.float32)
        known = 1 - 0.5 ** artist[items.artist[ids]].astype(np.float32)
        return np.asarray(0.6 * own + 0.4 * known, np.float32)

    def near(self, ids: I64, exact: bool = True) -> Floats:
        """The station's own score: likeness, away from what was skipped, the dial's pull on what is known.

        `exact`: each track's score is the same to the last bit whatever others there are; needed for score columns,
        not for choosing the pool.
        """
        settings = self.parts.settings
        score = settings.seed_weight * self.likeness(ids, exact)
        score = score - settings.skip_weight * self.skipped(ids, exact)
        score = score + settings.artist_weight * self.artists(ids)
        pull = settings.dial_weight * (1 - 2 * self.dial)
        return np.asarray(score + pull * self.familiar(ids) if pull else score, np.float32)


def hints(parts: StationParts, batch: QueryBatch) -> list[Hint]:
    """The batch's stations; found once a batch."""
    if "stations" not in batch.memo:
        batch.memo["stations"] = [Hint(parts, q, unskipped(batch, j)) for j, q in enumerate(batch.queries)]
    found: list[Hint] = batch.memo["stations"]
    return found


def _tally(numbers: NDArray[np.integer], count: int) -> NDArray[np.float64]:
    return np.bincount(numbers[numbers >= 0], minlength=count).astype(np.float64)


def _inner(rows: Floats, vector: Floats, exact: bool) -> Floats:
    """(m,) inner products; exact ones do not depend on the other rows."""
    return rowwise(rows, vector) if exact else np.asarray(rows @ vector, np.float32)


@dataclass(frozen=True)
class HintScorer:
    """One of a hint's values as a score column."""

    parts: StationParts
    name: str  # near, likeness, familiar

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:
        found = [
            np.broadcast_to(getattr(hint, self.name)(own.ids), len(own))
            for hint, own in ((h, candidates.of(j)) for j, h in enumerate(hints(self.parts, batch)))
        ]
        return np.concatenate(found).astype(np.float32) if found else np.zeros(0, np.float32)


@dataclass(frozen=True)
class RadioScorer:
    """The station's own score and the listener's taste, blended as declared."""

    settings: RadioSettings
    taste: str = "utility"
    name: str = "radio"

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:  # noqa: ARG002
        columns = candidates.columns
        return np.asarray(columns["near"] + self.settings.taste_weight * columns[self.taste], np.float32)
