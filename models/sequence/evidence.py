"""Direct evidence for a track from the listener's plays: co-occurrence, repetition, artist and album runs.

Music listening repeats; a pure embedding score forgets which exact track was played. So a candidate also gets a
short row of features f(track | history), most of them zero for most tracks, that the network weighs by context
(and two of the track alone, its standing): a pointer-generator in spirit (See, Liu & Manning, ACL 2017), with
base-level activation of ACT-R (Anderson & Schooler, 1991) among the features. A feature depends on the history and
the one track alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.sequence.cooccurrence import Sparse, Successors
from models.sequence.tokens import in_current_session
from recsys.items import Items
from recsys.plays import I32, I64, Outcome, Plays

F32: TypeAlias = NDArray[np.float32]
HOUR_MS = 3_600_000.0
AGE_EDGES_H = np.array([1.0, 6.0, 24.0, 72.0, 168.0])
RULES = ("near", "near_heard", "near_skipped", "next")
REPEATS = (
    *("age_1h", "age_6h", "age_1d", "age_3d", "age_1w", "older"),
    *("count", "activation", "last_skipped", "skips", "in_session"),
)
GROUP = ("is_last", "recent", "long")
STANDING = ("popularity", "unheard")
"""Of the track alone: the log of its plays in the log that was counted, and whether it has none."""
FEATURES = (*RULES, *REPEATS, *(f"artist_{g}" for g in GROUP), *(f"album_{g}" for g in GROUP), *STANDING)
RULE_SCALE = 200.0


@dataclass(frozen=True)
class Table:
    """Features of some (request, key) pairs; all other pairs have zeros."""

    shape: tuple[int, int]  # (b, keys)
    owner: I64  # (pairs,)
    key: I64  # (pairs,)
    values: F32  # (pairs, features)

    def sparse(self, values: NDArray[np.floating]) -> Sparse:
        """(b, keys) with one value for each pair."""
        from scipy import sparse

        return sparse.csr_matrix((values, (self.owner, self.key)), shape=self.shape)

    def dense(self, weights: F32) -> F32:
        """(b, keys) weighted sums; `weights` (b, features)."""
        out = np.zeros(self.shape, np.float32)
        out[self.owner, self.key] = np.einsum("pf,pf->p", self.values, weights[self.owner])
        return out

    def at(self, owner: I64, key: I64) -> F32:
        """(m, features) of the given pairs."""
        return self._rows(_lookup(self._numbers(), owner, key))

    def columns(self, key: I64) -> F32:
        """(b, m, features) of the same m keys for every request."""
        return self._rows(self._numbers()[:, key].toarray())

    def _numbers(self) -> Sparse:
        """(b, keys) each pair's number from 1; 0 where absent."""
        return self.sparse(np.arange(1.0, len(self.key) + 1))

    def _rows(self, numbers: NDArray[np.floating]) -> F32:
        padded = np.vstack([np.zeros((1, self.values.shape[1]), np.float32), self.values])
        return padded[numbers.astype(np.int64)]


@dataclass(frozen=True)
class Own:
    """Features of a listener's own plays."""

    repeats: Table  # over tracks
    artists: Table  # over artists
    albums: Table  # over albums


@dataclass(frozen=True)
class Evidence:
    """All features of b requests but STANDING, sparse."""

    near: Sparse  # (3 b, n) RULES but the last, one block of b rows after the other
    next: Sparse  # (b, n) the last of RULES
    own: Own


@dataclass(frozen=True)
class Groups:
    """The artist (album) of every track; number `unknown` gives no evidence."""

    number: I64  # (n,)
    unknown: int

    @classmethod
    def of(cls, numbers: I32, ids: pl.Series) -> Groups:
        unknown = int(numbers.max(initial=-1)) + 1
        blank = (ids.is_null() | (ids == "")).to_numpy()
        return cls(np.where(blank, unknown, numbers).astype(np.int64), unknown)


@dataclass(frozen=True)
class EvidenceModel:
    """What the features need besides the histories: successor counts and the items' groups."""

    successors: Successors
    artist: Groups
    album: Groups
    window: int
    decay: float

    @cached_property
    def standing(self) -> F32:
        """(n, len(STANDING))"""
        plays = self.successors.plays
        return np.stack([np.log1p(plays), plays == 0], axis=1).astype(np.float32)

    @classmethod
    def of(cls, successors: Successors, items: Items, window: int, decay: float) -> EvidenceModel:
        artists = Groups.of(items.artist, items.frame["artist_id"])
        albums = Groups.of(items.album, items.frame["album_id"])
        return cls(successors, artists, albums, window, decay)

    def __call__(self, histories: Plays, now: I64) -> Evidence:
        """Features of b requests at `now` (b,) UTC ms from plays strictly before."""
        known = _known(histories)
        recent = known.last(self.window)
        return Evidence(
            near=self._near(recent),
            next=self._next(recent),
            own=self._own(known, now),
        )

    def _near(self, recent: Plays) -> Sparse:
        """Decayed sums of successor shares over the last plays: by count, of heard ones, of skipped ones."""
        from scipy import sparse

        votes = self._votes(recent).ravel()
        indptr = np.concatenate([recent.offsets + block * recent.rows for block in range(3)])
        indptr = np.delete(indptr, [len(recent) + 1, 2 * len(recent) + 2])
        columns = np.concatenate([recent.track] * 3)
        shape = (3 * len(recent), len(self.artist.number))
        return _logged(
            sparse.csr_matrix((votes.astype(np.float32), columns, indptr), shape=shape), self.successors.near
        )

    def _next(self, recent: Plays) -> Sparse:
        """Shares of the successors of the last play."""
        from scipy import sparse

        last = recent.last(1)
        votes = np.full(last.rows, RULE_SCALE, np.float32)
        shape = (len(last), len(self.artist.number))
        return _logged(
            sparse.csr_matrix((votes, last.track, last.offsets), shape=shape), self.successors.next
        )

    @property
    def width(self) -> int:
        return len(FEATURES)

    def at(self, evidence: Evidence, owner: I64, tracks: I64) -> F32:
        """(m, len(FEATURES)) features of (request, track) pairs."""
        b = evidence.next.shape[0]
        rules = [_lookup(evidence.near, block * b + owner, tracks) for block in range(len(RULES) - 1)]
        rules.append(_lookup(evidence.next, owner, tracks))
        return np.hstack(
            [
                np.stack(rules, axis=1),
                evidence.own.repeats.at(owner, tracks),
                evidence.own.artists.at(owner, self.artist.number[tracks]),
                evidence.own.albums.at(owner, self.album.number[tracks]),
                self.standing[tracks],
            ]
        ).astype(np.float32)

    def columns(self, evidence: Evidence, tracks: I64) -> F32:
        """(b, m, len(FEATURES)) features of the same m tracks for every request."""
        b = evidence.next.shape[0]
        near = evidence.near[:, tracks].toarray().reshape(len(RULES) - 1, b, len(tracks)).transpose(1, 2, 0)
        following = evidence.next[:, tracks].toarray()[..., None]
        artists, albums = self.artist.number[tracks], self.album.number[tracks]
        tables = (
            (evidence.own.repeats, tracks),
            (evidence.own.artists, artists),
            (evidence.own.albums, albums),
        )
        own = (table.columns(key) for table, key in tables)
        standing = np.broadcast_to(self.standing[tracks], (b, len(tracks), len(STANDING)))
        return np.concatenate([near, following, *own, standing], axis=2)

    def scores(self, histories: Plays, now: I64, weights: F32) -> F32:
        """(b, n) weighted sums of the features for every track; `weights` (b, len(FEATURES))."""
        if len(histories) == 1:
            known = _known(histories)
            out = self._weighted(self._own(known, now), weights)
            self._add_rules(out[0], known.last(self.window), weights[0])
            return out
        evidence = self(histories, now)
        out = self._weighted(evidence.own, weights)
        _add(out, evidence.near, weights[:, : len(RULES) - 1].T.ravel())
        _add(out, evidence.next, weights[:, len(RULES) - 1])
        return out

    def _own(self, known: Plays, now: I64) -> Own:
        """What the listeners' own plays say."""
        artists, albums = (_groups(known, g, self.window, self.decay) for g in (self.artist, self.album))
        return Own(_repeats(known, now, len(self.artist.number)), artists, albums)

    def _weighted(self, own: Own, weights: F32) -> F32:
        """(b, n) what the listeners' own plays of a track, its artist and its album add, and the track's standing."""
        r, p, g = len(RULES), len(REPEATS), len(GROUP)
        out = own.repeats.dense(weights[:, r : r + p])
        out += own.artists.dense(weights[:, r + p : r + p + g])[:, self.artist.number]
        out += own.albums.dense(weights[:, r + p + g : r + p + 2 * g])[:, self.album.number]
        out += weights[:, -len(STANDING) :] @ self.standing.T
        return out

    def _add_rules(self, out: F32, recent: Plays, weights: F32) -> None:
        """Adds the features of co-occurrence of one request to `out` (n,): a few hundred entries, for which sparse
        matrices would cost more to make than to multiply."""
        if not recent.rows:
            return
        near, following = self.successors.near, self.successors.next
        begin = near.indptr[recent.track]
        size = near.indptr[recent.track + 1] - begin
        stop = size.cumsum()
        at = np.repeat(begin - stop + size, size) + np.arange(stop[-1])
        tracks, place = np.unique(near.indices[at], return_inverse=True)
        votes = np.repeat(self._votes(recent), size, axis=1) * near.data[at]
        for weight, vote in zip(weights, votes, strict=False):
            out[tracks] += weight * np.log1p(np.bincount(place, vote, len(tracks))).astype(np.float32)
        last = slice(*following.indptr[recent.track[-1] : recent.track[-1] + 2])
        out[following.indices[last]] += weights[len(RULES) - 1] * np.log1p(RULE_SCALE * following.data[last])

    def _votes(self, recent: Plays) -> NDArray[np.floating]:
        """(3, rows) what each of the last plays says for its successors: by count, if heard, if skipped."""
        weight = self.decay ** _distance(recent)
        skipped = recent.outcome == Outcome.SKIP
        total = self.successors.total[recent.track]
        return np.stack([weight * total, weight * ~skipped * RULE_SCALE, weight * skipped * RULE_SCALE])


def _known(histories: Plays) -> Plays:
    """The plays of tracks that the release knows."""
    return histories.where(histories.track >= 0)


def _logged(votes: Sparse, successors: Sparse) -> Sparse:
    product = votes @ successors
    product.data = np.log1p(product.data)
    return product


def _add(out: F32, matrix: Sparse, weights: F32) -> None:
    """Adds every row of `matrix`, times its weight, to row (number modulo b) of `out` (b, n)."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    np.add.at(out, (rows % len(out), matrix.indices), matrix.data * weights[rows])


def _lookup(matrix: Sparse, row: I64, column: I64) -> NDArray[np.floating]:
    """(m,) entries of a sparse matrix (scipy answers no indices with a matrix)."""
    return np.asarray(matrix[row, column]).ravel() if len(row) else np.zeros(0)


def _distance(plays: Plays) -> I64:
    """(rows,) how many plays of the listener came after each row."""
    return np.repeat(plays.offsets[1:], np.diff(plays.offsets)) - 1 - np.arange(plays.rows)


@dataclass(frozen=True)
class _Runs:
    """Rows of a log grouped by (owner, key), in time order within a group."""

    order: I64
    first: I64  # (groups,) first position in `order`
    owner: I64  # (groups,)
    key: I64  # (groups,)

    @property
    def size(self) -> I64:
        return np.diff(np.append(self.first, len(self.order)))

    @property
    def last_row(self) -> I64:
        return self.order[self.first + self.size - 1] if len(self.first) else np.zeros(0, np.int64)

    def sums(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.add.reduceat(values[self.order], self.first) if len(self.first) else values[:0]


def _runs(owner: I64, key: I64, keys: int) -> _Runs:
    joint = owner * keys + key
    order = np.argsort(joint, kind="stable")
    ordered = joint[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(order) else order
    return _Runs(order, first, ordered[first] // keys, ordered[first] % keys)


def _table(runs: _Runs, values: list[NDArray[np.floating]], shape: tuple[int, int]) -> Table:
    return Table(shape, runs.owner, runs.key, np.stack(values, axis=1).astype(np.float32))


def _repeats(plays: Plays, now: I64, tracks: int) -> Table:
    """One row for each distinct track a listener has played; columns REPEATS."""
    owner = plays.owner
    runs = _runs(owner, plays.track.astype(np.int64), tracks)
    age_h = np.maximum(now[owner] - plays.start, 0) / HOUR_MS
    skipped = (plays.outcome == Outcome.SKIP).astype(np.float64)
    last = runs.last_row
    bucket = np.searchsorted(AGE_EDGES_H, age_h[last])
    return _table(
        runs,
        [
            *((bucket == edge).astype(np.float64) for edge in range(len(AGE_EDGES_H) + 1)),
            np.log1p(runs.size),
            np.log1p(runs.sums((age_h + 0.1) ** -0.5)),
            skipped[last],
            np.log1p(runs.sums(skipped)),
            in_current_session(plays, now)[last].astype(np.float64),
        ],
        (len(plays), tracks),
    )


def _groups(plays: Plays, groups: Groups, window: int, decay: float) -> Table:
    """One row for each known artist (album) a listener has played; columns GROUP."""
    number = groups.number[plays.track]
    known = number < groups.unknown
    runs = _runs(plays.owner[known], number[known], groups.unknown + 1)
    distance = _distance(plays)[known]
    recent = np.where(distance < window, decay**distance, 0.0)
    return _table(
        runs,
        [(distance[runs.last_row] == 0).astype(np.float64), np.log1p(runs.sums(recent)), np.log1p(runs.size)],
        (len(plays), groups.unknown + 1),
    )
