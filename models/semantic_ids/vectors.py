"""What codes are made from: one vector a track, its collaborative part beside its content, for any catalog.

space = Space.fit(items, collaborative, plays_per_track, config)
space.vectors(items)            # (n, space.dim); the same for a track in whatever catalog it stands

Everything is keyed by public ids and names. A track that was not there in training has the collaborative part that
its album, artist, genre and sound had on average.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.semantic_ids.config import SemanticConfig
from recsys.items import Items
from recsys.plays import I64

F32: TypeAlias = NDArray[np.float32]

TABLES = ("parent", "genre", "artist", "album")
"""From coarse to fine: each table's rows explain what the coarser ones leave over."""
_HASHED = 16
"""Numbers that stand for a name in the content part: nearly orthogonal for any two (Weinberger et al. 2009)."""
_SHARES = {"parent": 1.0, "genre": 1.0, "artist": 1.0, "album": 0.5}
"""Squared distance that unlike names of a table add, before `content_weight`."""
_SOUND = 0.5  # the same for audio features one standard deviation apart in all
_PRIOR = 5.0  # plays that a table's row needs to be believed half
_RIDGE = 1e-2


@dataclass(frozen=True)
class Space:
    """Frozen tables; row 0 of each stands for names that were not there."""

    tracks: list[str]  # those with plays, and row i + 1 of `own` is what is their own
    own: F32  # (tracks + 1, d)
    names: dict[str, list[str]]
    means: dict[str, F32]  # table -> (names + 1, d)
    sound: F32  # (audio features, d)
    collaborative_weight: float
    content_weight: float

    @property
    def dim(self) -> int:
        return int(self.own.shape[1]) + len(TABLES) * _HASHED + len(self.sound)

    @classmethod
    def fit(cls, items: Items, collaborative: F32, plays: I64, config: SemanticConfig) -> Space:
        """From collaborative vectors (n, d), which count as far as a track's plays (n,) bear them out."""
        left, weight = collaborative.astype(np.float64), plays.astype(np.float64)
        played = plays > 0
        left[~played] = 0
        names, means = dict[str, list[str]](), dict[str, F32]()
        sound = _regressed(items.audio[played], left[played], weight[played])
        left -= items.audio @ sound
        for table, values in _named(items).items():
            names[table] = sorted({v for v, there in zip(values, played, strict=True) if there and v})
            row = _rows(values, _numbers(names[table]))
            means[table] = _shrunk_means(left, weight, row, len(names[table]) + 1)
            left -= means[table][row]
        known = np.flatnonzero(played)
        own = np.zeros((len(known) + 1, left.shape[1]), np.float32)
        own[1:] = left[known] * (weight[known] / (weight[known] + config.plays_prior))[:, None]
        return cls(
            tracks=[items.track_ids[i] for i in known],
            own=own,
            names=names,
            means=means,
            sound=sound.astype(np.float32),
            collaborative_weight=config.collaborative_weight,
            content_weight=config.content_weight,
        )

    def vectors(self, items: Items) -> F32:
        """(n, dim)"""
        named = _named(items)
        rows = {table: _rows(values, self._numbers[table]) for table, values in named.items()}
        together = items.audio @ self.sound + self.own[_rows(items.track_ids, self._numbers["track"])]
        for table in TABLES:
            together += self.means[table][rows[table]]
        together /= np.maximum(np.linalg.norm(together, axis=1, keepdims=True), np.float32(1e-9))
        content = [_hashed(table, values) * np.sqrt(_SHARES[table] / 2) for table, values in named.items()]
        content.append(items.audio * np.sqrt(_SOUND / 2 / items.audio.shape[1]))
        parts = [together * self.collaborative_weight, *(part * self.content_weight for part in content)]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def alone(self, items: Items) -> F32:
        """(n, dim) like `vectors`, one track at a time: the same to the last bit in whatever company a track comes."""
        rows = [self.vectors(items.take(np.array([i])))[0] for i in range(len(items))]
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    @cached_property
    def _numbers(self) -> dict[str, dict[str, int]]:
        return {"track": _numbers(self.tracks)} | {t: _numbers(self.names[t]) for t in TABLES}


def _named(items: Items) -> dict[str, list[str]]:
    """Each track's name in every table, "" where unknown."""
    genres, parents = np.array([*items.genres, ""], object), np.array([*items.parents, ""], object)
    return {
        "parent": parents[items.parent].tolist(),  # -1 reads the last, unknown
        "genre": genres[items.genre].tolist(),
        "artist": np.array(items.artist_ids, object)[items.artist].tolist(),
        "album": items.frame["album_id"].fill_null("").to_list(),
    }


def _numbers(names: Sequence[str]) -> dict[str, int]:
    return {name: i + 1 for i, name in enumerate(names)}


def _rows(names: Sequence[str], number: dict[str, int]) -> I64:
    return np.fromiter((number.get(name, 0) for name in names), np.int64, len(names))


def _hashed(table: str, names: Sequence[str]) -> F32:
    """(n, _HASHED) a direction of length 1 for each name, zero for the empty one."""
    distinct, place = np.unique(np.array(names, object).astype(str), return_inverse=True)
    out = np.zeros((len(distinct), _HASHED), np.float32)
    for i, name in enumerate(distinct):
        if name:
            digest = hashlib.sha256(f"{table}:{name}".encode()).digest()[:8]
            direction = np.random.default_rng(int.from_bytes(digest, "big")).standard_normal(_HASHED)
            out[i] = direction / np.linalg.norm(direction)
    return out[place]


def _regressed(x: F32, y: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(features, d) weighted ridge regression."""
    weighted = x.T.astype(np.float64) * weight
    gram = weighted @ x + _RIDGE * max(weight.sum(), 1.0) * np.eye(x.shape[1])
    found: NDArray[np.float64] = np.linalg.solve(gram, weighted @ y)
    return found


def _shrunk_means(values: NDArray[np.float64], weight: NDArray[np.float64], row: I64, size: int) -> F32:
    """(size, d) play-weighted mean of each row, drawn to zero where plays are few; row 0 is zero."""
    from scipy import sparse

    shape = (size, len(row))
    total = sparse.csr_matrix((weight, (row, np.arange(len(row)))), shape=shape) @ values
    mean = total / (np.bincount(row, weight, minlength=size) + _PRIOR)[:, None]
    mean[0] = 0
    return np.asarray(mean, np.float32)


__all__ = ["F32", "TABLES", "Space"]
