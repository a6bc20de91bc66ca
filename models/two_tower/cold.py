"""Tracks without plays, ranked for a listener: their content score, and what the listener played of the same kind.

    head = fit(model, dataset, until_ms)          # seconds: a dozen weights
    scores = head.score(batch, tracks)            # (b, m), of tracks that nobody has played

A vector of 64 numbers blurs which artists a listener plays; counts by artist, album and genre do not. The weights are a
conditional logit (McFadden 1974) over tracks that are hidden for the purpose: a random share, and the newest ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.two_tower.content import Content
from models.two_tower.history import F32
from models.two_tower.model import TwoTower
from recsys.dataset import Dataset
from recsys.errors import NotReady
from recsys.items import MS_PER_DAY, Items
from recsys.plays import I64, Outcome, Plays
from recsys.types import QueryBatch

Bools = NDArray[np.bool_]
HIDDEN_SHARE, DAYS, NEW_DAYS = 0.1, 14, 14
QUERIES, NEGATIVES = 2_000, 400
HALF_LIVES = (30.0, 300.0)
"""In plays: how fast what a listener played of a kind is forgotten."""
_STEPS, _RIDGE, _CHUNK = 60, 1e-3, 256


@dataclass(frozen=True)
class ColdHead:
    """Scores of tracks by content; a score depends on the request and the track alone."""

    model: TwoTower
    vectors: F32  # (n, d) of every track from its content alone
    fame: F32  # (n,) log plays of the track's artist, by everyone
    weight: F32  # (features,)
    name: str = "cold"

    def score(self, batch: QueryBatch, tracks: NDArray[np.integer]) -> F32:
        """(b, m) scores of some tracks; comparable with each other, not with the model's own."""
        parts = [np.zeros((0, len(tracks)), np.float32)]
        for low in range(0, len(batch), _CHUNK):
            part = batch.take(np.arange(low, min(low + _CHUNK, len(batch))))
            parts.append(self.features(part, tracks) @ self.weight)
        return np.concatenate(parts)

    def features(self, batch: QueryBatch, tracks: NDArray[np.integer]) -> F32:
        """(b, m, features): taste by content, the artist's fame, counts by kind, newness and its products with these.

        Not the model's popularity: it depends on a track's age at the model's cut, which new tracks do not have yet.
        """
        items = self.model.items
        taste = self.model.encode(batch)[:, :-1] @ self.vectors[tracks, :-1].T
        own = [played(batch.histories, kind, tracks) for kind in kinds(items)]
        today = batch.now[:, None] // MS_PER_DAY
        new = (today - items.release_day[tracks] <= NEW_DAYS).astype(np.float32)
        fame = np.broadcast_to(self.fame[tracks], taste.shape)
        flat = [taste, fame, *(c for counts in own for c in counts), new, new * fame, new * own[0][1]]
        return np.stack(flat, axis=2).astype(np.float32)


def kinds(items: Items) -> list[I64]:
    """Artist, album, genre and parent genre of each track, from 0; the last number is unknown."""
    columns = (items.artist, items.album, items.genre, items.parent)
    return [np.where(c < 0, int(c.max(initial=0)) + 1, c).astype(np.int64) for c in columns]


def played(histories: Plays, kind: I64, tracks: NDArray[np.integer]) -> list[F32]:
    """For each half-life (b, m) log of what each listener streamed of each track's kind."""
    known = (histories.track >= 0) & (histories.outcome != Outcome.SKIP)
    owner, row = histories.owner[known], np.flatnonzero(known)
    age = histories.offsets[1:][owner] - 1 - row
    cell = owner * (int(kind.max(initial=0)) + 1) + kind[histories.track[row]]
    shape = (len(histories), int(kind.max(initial=0)) + 1)
    out = []
    for half_life in HALF_LIVES:
        counts = np.bincount(cell, 0.5 ** (age / half_life), minlength=shape[0] * shape[1]).reshape(shape)
        out.append(np.log(counts[:, kind[tracks]] + 0.1).astype(np.float32))
    return out


def without(plays: Plays, hidden: Bools) -> Plays:
    """The plays as of a release that does not know some tracks."""
    gone = (plays.track >= 0) & hidden[np.maximum(plays.track, 0)]
    return replace(plays, track=np.where(gone, -1, plays.track).astype(np.int32))


def fit(model: TwoTower, dataset: Dataset, until_ms: int, seed: int = 0) -> ColdHead:
    """Weights from the last DAYS days before `until_ms`, for a model trained on the plays before it.

    Raises:
        NotReady: no hidden track was played in those days.
    """
    # a stream of its own: a caller that hid tracks by the same seed would have taken the very same ones away
    rng, plays = np.random.default_rng([seed, 0xC01D]), dataset.plays.before(until_ms)
    heard = np.bincount(plays.track[plays.track >= 0], minlength=len(dataset.items))
    recent = dataset.items.release_day > until_ms // MS_PER_DAY - DAYS
    hidden = (heard > 0) & (recent | (rng.random(len(heard)) < HIDDEN_SHARE))
    fame = np.bincount(dataset.items.artist, heard)
    head = ColdHead(
        model, content_vectors(model, recent), np.log1p(fame)[dataset.items.artist].astype(np.float32), _NONE
    )
    rows = np.flatnonzero((plays.start >= until_ms - DAYS * MS_PER_DAY) & (plays.track >= 0))
    rows = rows[hidden[plays.track[rows]]]
    rows = np.sort(rng.permutation(rows)[:QUERIES])
    if not len(rows):
        raise NotReady(
            "no hidden track was played in the last days: the log is too short for a cold-start head"
        )
    x = _examples(head, dataset, plays, rows, hidden, rng)
    return replace(head, weight=_logit(x))


def content_vectors(model: TwoTower, newest: Bools) -> F32:
    """(n, d) vectors without the id, for the newest tracks without the album either."""
    content = Content.of(model.items, model.vocabulary)
    content.rows[:, 0] = 0
    content.rows[newest, 2] = 0
    return model.encode_content(content)


def _examples(
    head: ColdHead, dataset: Dataset, plays: Plays, rows: I64, hidden: Bools, rng: np.random.Generator
) -> F32:
    """(q, 1 + NEGATIVES, features): the track that was played, then uniform draws of hidden tracks of that day."""
    session = _session_start(plays)[rows]
    owner = plays.owner[rows]
    histories = without(plays, hidden).slices(plays.offsets[:-1][owner], session)
    batch = QueryBatch(
        histories, plays.start[session], plays.hour[session], dataset.country[owner], plays.device[session]
    )
    pool = np.flatnonzero(hidden)
    parts = []
    for low in range(0, len(rows), _CHUNK):
        chunk = np.arange(low, min(low + _CHUNK, len(rows)))
        drawn = rng.choice(pool, NEGATIVES)
        part = batch.take(chunk)
        negatives = head.features(part, drawn)
        unreleased = dataset.items.release_day[drawn] > part.now[:, None] // MS_PER_DAY
        own = head.features(part, plays.track[rows[chunk]])[np.arange(len(chunk)), np.arange(len(chunk))]
        negatives[unreleased] = np.nan  # not in that query's choice
        negatives[drawn[None] == plays.track[rows[chunk], None]] = np.nan
        parts.append(np.concatenate([own[:, None], negatives], axis=1))
    return np.concatenate(parts)


def _session_start(plays: Plays) -> I64:
    """(n,) first row of each row's session."""
    new = np.ones(plays.rows, bool)
    new[1:] = (plays.owner[1:] != plays.owner[:-1]) | (plays.session[1:] != plays.session[:-1])
    return np.maximum.accumulate(np.where(new, np.arange(plays.rows), 0))


def _logit(x: F32) -> F32:
    """(features,) of the conditional logit whose choice is the first of each row; NaN rows are not in it.

    A feature that does not vary over the examples says nothing about them, and gets no weight.
    """
    absent = np.isnan(x[..., 0])
    spread = np.nanstd(x, axis=(0, 1))
    scale = np.where(spread > 1e-4, spread, np.inf).astype(np.float32)
    inputs = torch.from_numpy(np.nan_to_num(x) / scale)
    mask = torch.from_numpy(absent)
    weight = torch.zeros(x.shape[2], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = (inputs @ weight).masked_fill(mask, -torch.inf)
        value = (logits.logsumexp(1) - logits[:, 0]).mean() + _RIDGE * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    found: F32 = (weight.detach().numpy() / scale).astype(np.float32)
    return found


_NONE: F32 = np.zeros(0, np.float32)
