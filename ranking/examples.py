"""Training examples of the ranker, point in time: what was known when the listener came, and what came of it.

Two kinds of rows:
- session starts: retrieved candidates, label = what happened to each in the session that followed (slot NaN);
- logged slots: tracks an earlier recommender showed, label = what the listener did with the slot (slot 0, 1, ...).
The first says what a listener turns to on their own, the second what a slot is worth; the feature `slot` tells
them apart, so one booster learns both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ranking.config import OBJECTIVES, RankerConfig
from ranking.labels import Saves, Sessions, owner_of, session_starts, sessions_from
from ranking.shown import Shown
from recsys.dataset import Dataset
from recsys.features.pair import Features, names, pair_features
from recsys.features.stats import StatsSeries
from recsys.pipeline import Candidates, Column
from recsys.plays import I8, I64, WINDOW, Outcome
from recsys.types import QueryBatch

Retrieve: TypeAlias = Callable[[QueryBatch], Candidates]
Hydrate: TypeAlias = Callable[[QueryBatch, Candidates], Mapping[str, Column]]
Profiles: TypeAlias = Callable[[I64, I64], NDArray[np.floating]]
"""(users, now) -> (b, len(PROFILE)): the feature store's point-in-time join."""

ORGANIC = -1
CHUNK = 128


@dataclass(frozen=True)
class Examples:
    """r rows; those of one query are consecutive."""

    names: tuple[str, ...]
    features: Features  # (r, f)
    labels: dict[str, I8]  # objective -> (r,) 0 or 1
    weight: NDArray[np.float32]  # (r,) 1 / P(the row was kept)
    query: I64  # (r,) number of the query, ascending
    now: I64  # (r,) UTC ms
    surface: I8  # (r,) number in SURFACES; ORGANIC for session starts
    played: I8  # (r,) 1 if the track was played at all

    def __len__(self) -> int:
        return len(self.query)

    def where(self, mask: NDArray[np.bool_]) -> Examples:
        columns = {
            f.name: getattr(self, f.name)[mask] for f in fields(self) if f.name not in ("names", "labels")
        }
        return replace(self, labels={k: v[mask] for k, v in self.labels.items()}, **columns)


@dataclass(frozen=True)
class Inputs:
    """What examples are made from. The models behind `retrieve` and `hydrate` must not have trained on them."""

    data: Dataset
    stats: StatsSeries
    retrieve: Retrieve
    hydrate: Hydrate  # the columns named in config.columns
    config: RankerConfig
    profiles: Profiles | None = None


def concat(parts: list[Examples]) -> Examples:
    """All rows; query numbers stay distinct."""
    base = np.cumsum([0, *(int(p.query.max(initial=-1)) + 1 for p in parts[:-1])])
    columns = ("features", "weight", "now", "surface", "played")
    return Examples(
        names=parts[0].names,
        labels={o: np.concatenate([p.labels[o] for p in parts]) for o in OBJECTIVES},
        query=np.concatenate([p.query + b for p, b in zip(parts, base, strict=True)]),
        **{c: np.concatenate([getattr(p, c) for p in parts]) for c in columns},
    )


def session_examples(inputs: Inputs, saves: Saves, since: int, until: int) -> Examples | None:
    """Session starts in [since, until), each with its played candidates and a sample of the others."""
    data, config = inputs.data, inputs.config
    rng = np.random.default_rng([config.seed, 1])
    rows = session_starts(data, since, until)
    if len(rows) > config.queries:
        rows = np.sort(rng.choice(rows, config.queries, replace=False))
    users, now = owner_of(data, rows), data.plays.start[rows]
    batch = _batch(data, users, rows, now, data.plays.hour[rows], data.plays.device[rows])
    profiles = inputs.profiles(users, now) if inputs.profiles else None
    parts = []
    for cut, chunk in _chunks(now, inputs.stats):
        some, sessions = batch.take(chunk), sessions_from(data, rows[chunk])
        candidates = _sample(inputs.retrieve(some), sessions, config.negatives_per_query, rng)
        labels = _session_labels(candidates, sessions, saves, users[chunk], now[chunk])
        x = _features(inputs, some, candidates, cut, np.nan, None if profiles is None else profiles[chunk])
        surface = np.full(len(candidates), ORGANIC, np.int8)
        parts.append(_rows(inputs, some, candidates, x, labels, surface))
    return concat(parts) if parts else None


def impression_examples(inputs: Inputs, shown: Shown) -> Examples | None:
    """Logged pages, at most `config.impressions` slots."""
    pages = shown.sample(inputs.config.impressions, inputs.config.seed)
    data = inputs.data
    batch = _batch(data, pages.user, _end_before(data, pages), pages.now, pages.hour, pages.device)
    profiles = inputs.profiles(pages.user, pages.now) if inputs.profiles else None
    parts = []
    for cut, chunk in _chunks(pages.now, inputs.stats):
        page, some = pages.take(chunk), batch.take(chunk)
        ones = np.ones(len(page.track), np.float32)
        candidates = Candidates(page.track, page.offsets, {"weight": ones})
        slot = page.slot.astype(np.float32)
        x = _features(inputs, some, candidates, cut, slot, None if profiles is None else profiles[chunk])
        surface = page.surface[candidates.owner]
        parts.append(_rows(inputs, some, candidates, x, {**page.labels, "played": page.played}, surface))
    return concat(parts) if parts else None


def _batch(data: Dataset, users: I64, ends: I64, now: I64, hour: I8, device: I8) -> QueryBatch:
    """Requests whose histories are the last WINDOW rows before row `ends` of each user."""
    starts = np.maximum(data.plays.offsets[users], ends - WINDOW)
    return QueryBatch(data.plays.slices(starts, ends), now, hour, data.country[users], device)


def _end_before(data: Dataset, pages: Shown) -> I64:
    """(b,) first row of each page's listener that started at or after the page."""
    plays = data.plays
    starts, stops = plays.offsets[pages.user], plays.offsets[pages.user + 1]
    cuts = zip(starts, stops, pages.now, strict=True)
    return np.array([a + np.searchsorted(plays.start[a:b], t) for a, b, t in cuts], np.int64)


def _chunks(now: I64, stats: StatsSeries) -> Iterator[tuple[int, I64]]:
    """(number of the statistics' cut, positions): groups of at most CHUNK that share one cut."""
    number = stats.number(now)
    for cut in np.unique(number):
        rows = np.flatnonzero(number == cut)
        for start in range(0, len(rows), CHUNK):
            yield int(cut), rows[start : start + CHUNK]


def _sample(
    candidates: Candidates, sessions: Sessions, negatives: int, rng: np.random.Generator
) -> Candidates:
    """All played candidates and a uniform sample of the others, with weight 1 / P(kept)."""
    played = sessions.outcomes(candidates) >= 0
    others = np.bincount(candidates.owner[~played], minlength=len(candidates.offsets) - 1)
    rate = np.minimum(1.0, negatives / np.maximum(others, 1))[candidates.owner]
    keep = played | (rng.random(len(candidates)) < rate)
    kept = candidates.where(keep)
    weight = np.where(played, 1.0, 1 / rate)[keep].astype(np.float32)
    return replace(kept, columns=kept.columns | {"weight": weight})


def _session_labels(
    candidates: Candidates, sessions: Sessions, saves: Saves, users: I64, now: I64
) -> dict[str, I8]:
    outcome, owner = sessions.outcomes(candidates), candidates.owner
    saved = saves.between(users[owner] << 32 | candidates.ids, now[owner], sessions.until[owner])
    return {
        "finish": (outcome == Outcome.FINISH).astype(np.int8),
        "skip": (outcome == Outcome.SKIP).astype(np.int8),
        "save": saved.astype(np.int8),
        "played": (outcome >= 0).astype(np.int8),
    }


def _features(
    inputs: Inputs,
    batch: QueryBatch,
    candidates: Candidates,
    cut: int,
    slot: NDArray[np.floating] | float,
    profiles: NDArray[np.floating] | None,
) -> Features:
    scores = dict(inputs.hydrate(batch, candidates))
    return pair_features(
        batch,
        candidates.ids,
        candidates.offsets,
        inputs.data.items,
        inputs.stats.cuts[cut],
        {name: np.asarray(scores[name], np.float32) for name in inputs.config.columns},
        slot=slot,
        profiles=profiles,
    )


def _rows(
    inputs: Inputs, batch: QueryBatch, candidates: Candidates, x: Features, labels: dict[str, I8], surface: I8
) -> Examples:
    return Examples(
        names=names(inputs.config.columns),
        features=x,
        labels={o: labels[o] for o in OBJECTIVES},
        weight=candidates.columns["weight"].astype(np.float32),
        query=candidates.owner,
        now=batch.now[candidates.owner],
        surface=surface,
        played=labels["played"],
    )
