"""Training examples of the ranker, point in time: what was known when the listener came, and what came of it.

Two kinds of rows:
- moments: the start of a session (or a place inside one), with a sample of the retrieved candidates and all that
  was played in the rest of the session;
- slots: tracks that an earlier recommender showed and the listener played.
Every row with a play teaches how plays end (finish, skip, save); every retrieved row whether it is played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ranking.config import OBJECTIVES, OUTCOMES, PLAY, RankerConfig
from ranking.labels import Saves, Sessions, mid_session, owner_of, session_starts, sessions_from
from ranking.shown import Shown
from recsys.dataset import Dataset
from recsys.features.pair import names, pair_features
from recsys.features.stats import StatsSeries
from recsys.pipeline import Candidates, Column
from recsys.plays import I8, I64, WINDOW, Outcome
from recsys.types import QueryBatch

Retrieve: TypeAlias = Callable[[QueryBatch], Candidates]
Hydrate: TypeAlias = Callable[[QueryBatch, Candidates], Mapping[str, Column]]
Profiles: TypeAlias = Callable[[I64, I64], NDArray[np.floating]]
"""(users, now) -> (b, len(PROFILE)): the feature store's point-in-time join."""
Bools: TypeAlias = NDArray[np.bool_]

CHUNK = 128


@dataclass(frozen=True)
class Examples:
    """r rows; those of one query are consecutive. The last feature, the surface, is filled in by `train`."""

    names: tuple[str, ...]
    features: NDArray[np.float32]  # (r, f)
    labels: dict[str, I8]  # objective -> (r,) 0 or 1; outcomes are 0 where the track was not played
    weight: NDArray[np.float32]  # (r,) 1 / P(the row was kept)
    query: I64  # (r,) number of the query, ascending
    now: I64  # (r,) UTC ms
    surface: I8  # (r,) number in SURFACES from which it was played; -1 unknown or not played
    retrieved: Bools  # (r,) the candidate came from retrieval: it teaches whether a candidate is played
    slot: Bools  # (r,) a logged slot

    def __len__(self) -> int:
        return len(self.query)

    @property
    def played(self) -> Bools:
        return self.labels[PLAY] > 0

    def where(self, mask: Bools) -> Examples:
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
    columns = ("features", "weight", "now", "surface", "retrieved", "slot")
    return Examples(
        names=parts[0].names,
        labels={o: np.concatenate([p.labels[o] for p in parts]) for o in OBJECTIVES},
        query=np.concatenate([p.query + b for p, b in zip(parts, base, strict=True)]),
        **{c: np.concatenate([getattr(p, c) for p in parts]) for c in columns},
    )


def session_examples(inputs: Inputs, saves: Saves, since: int, until: int) -> Examples | None:
    """Moments in [since, until), each with its played tracks and a sample of the other candidates."""
    data, config = inputs.data, inputs.config
    rng = np.random.default_rng([config.seed, 1])
    rows = _sampled_moments(data, since, until, config, rng)
    users, now = owner_of(data, rows), data.plays.start[rows]
    batch = _batch(data, users, rows, now, data.plays.hour[rows], data.plays.device[rows])
    profiles = inputs.profiles(users, now) if inputs.profiles and len(rows) else None
    parts = []
    for cut, chunk in _chunks(now, inputs.stats):
        some, sessions = batch.take(chunk), sessions_from(data, rows[chunk])
        candidates = _sample(inputs.retrieve(some), sessions, config.negatives_per_query, rng)
        x = _features(inputs, some, candidates, cut, None if profiles is None else profiles[chunk])
        labels, surface = _session_labels(candidates, sessions, saves, users[chunk], now[chunk])
        parts.append(_rows(inputs, some, candidates, x, labels, surface))
    return concat(parts) if parts else None


def impression_examples(inputs: Inputs, shown: Shown) -> Examples | None:
    """Logged slots that were played, at most `config.impressions`."""
    pages = shown.that_were_played().sample(inputs.config.impressions, inputs.config.seed)
    data = inputs.data
    batch = _batch(data, pages.user, _end_before(data, pages), pages.now, pages.hour, pages.device)
    profiles = inputs.profiles(pages.user, pages.now) if inputs.profiles and len(pages) else None
    parts = []
    for cut, chunk in _chunks(pages.now, inputs.stats):
        page, some = pages.take(chunk), batch.take(chunk)
        m = len(page.track)
        columns: dict[str, Column] = {"weight": np.ones(m, np.float32), "retrieved": np.zeros(m, bool)}
        candidates = Candidates(page.track, page.offsets, columns)
        x = _features(inputs, some, candidates, cut, None if profiles is None else profiles[chunk])
        labels = {**page.labels, PLAY: page.played}
        rows = _rows(inputs, some, candidates, x, labels, page.surface[candidates.owner])
        parts.append(replace(rows, slot=np.ones(m, bool)))
    return concat(parts) if parts else None


def _sampled_moments(
    data: Dataset, since: int, until: int, config: RankerConfig, rng: np.random.Generator
) -> I64:
    """Rows of `data.plays` to ask at: session starts, and a share of places inside sessions."""
    starts, inside = session_starts(data, since, until), mid_session(data, since, until)
    wanted = round(config.queries * config.mid_session)
    inside = rng.choice(inside, min(wanted, len(inside)), replace=False)
    wanted = config.queries - len(inside)
    starts = rng.choice(starts, min(wanted, len(starts)), replace=False)
    return np.sort(np.concatenate([starts, inside]))


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


def _sample(found: Candidates, sessions: Sessions, negatives: int, rng: np.random.Generator) -> Candidates:
    """All that was played, and of the other candidates a uniform sample with weight 1 / P(kept)."""
    played = sessions.find(found) >= 0
    requests = len(found.offsets) - 1
    others = np.bincount(found.owner[~played], minlength=requests)
    rate = np.where(played, 1.0, np.minimum(1.0, negatives / np.maximum(others, 1))[found.owner])
    keep = rng.random(len(found)) < rate
    pair = (found.owner << 32 | found.ids)[keep]
    missed = np.setdiff1d(sessions.pair, pair, assume_unique=True)
    pairs = np.concatenate([pair, missed])
    order = np.argsort(pairs, kind="stable")
    counts = np.bincount(pairs >> 32, minlength=requests)
    weight = np.concatenate([1 / rate[keep], np.ones(len(missed))]).astype(np.float32)[order]
    retrieved = np.concatenate([np.ones(len(pair), bool), np.zeros(len(missed), bool)])[order]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Candidates(pairs[order] & 0xFFFFFFFF, offsets, {"weight": weight, "retrieved": retrieved})


def _session_labels(
    candidates: Candidates, sessions: Sessions, saves: Saves, users: I64, now: I64
) -> tuple[dict[str, I8], I8]:
    """Labels of each objective, and the surface from which each track was played."""
    at, owner = sessions.find(candidates), candidates.owner
    played = at >= 0
    outcome = np.where(played, sessions.outcome[at], -1) if len(sessions.outcome) else at
    surface = np.where(played, sessions.surface[at], -1) if len(sessions.surface) else at
    saved = saves.between(users[owner] << 32 | candidates.ids, now[owner], sessions.until[owner])
    flags = {
        "finish": outcome == Outcome.FINISH,
        "skip": outcome == Outcome.SKIP,
        "save": saved & played,
        PLAY: played,
    }
    return {o: flag.astype(np.int8) for o, flag in flags.items()}, surface.astype(np.int8)


def _features(
    inputs: Inputs, batch: QueryBatch, candidates: Candidates, cut: int, profiles: NDArray[np.floating] | None
) -> NDArray[np.float32]:
    scores = dict(inputs.hydrate(batch, candidates))
    return pair_features(
        batch,
        candidates.ids,
        candidates.offsets,
        inputs.data.items,
        inputs.stats.cuts[cut],
        {name: np.asarray(scores[name], np.float32) for name in inputs.config.columns},
        profiles=profiles,
    )


def _rows(
    inputs: Inputs,
    batch: QueryBatch,
    candidates: Candidates,
    x: NDArray[np.float32],
    labels: dict[str, I8],
    surface: I8,
) -> Examples:
    return Examples(
        names=names(inputs.config.columns),
        features=x,
        labels={o: labels[o] for o in (*OUTCOMES, PLAY)},
        weight=candidates.columns["weight"].astype(np.float32),
        query=candidates.owner,
        now=batch.now[candidates.owner],
        surface=surface,
        retrieved=candidates.columns["retrieved"].astype(bool),
        slot=np.zeros(len(candidates), bool),
    )
