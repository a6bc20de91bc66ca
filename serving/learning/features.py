"""What the learned policies of home look at in a candidate: scores, sources, the ranker's features, the last session.

x = features(batch, candidates, release)          # (m, DIM) doubles; a row never depends on which others there are

Everything comes from what a Decision records (columns in the record's precision, the listener's window), so a replay
has the same numbers, and so has the learner that reads decisions back from the log.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits.linear import LinearSettings
from ranking.scorer import PairHydrator
from recsys.features.pair import names as pair_names
from recsys.pipeline import Candidates, Column
from recsys.types import QueryBatch
from serving.loaded import Retrieval

Floats = NDArray[np.float64]
FORM = 1
"""Of the features; a state that was learned over another form is refused."""
SCORES = ("utility", "p_finish", "p_skip", "p_save", "p_play", "two_tower", "sequence", "light")
SOURCES = ("history", "artist", "new", "anchor", "popular")
PAIR = (
    "track_count",
    "track_d1",
    "track_finish_share",
    "track_skip_share",
    "artist_d1",
    "artist_d30",
    "artist_finish_share",
    "genre_share",
    "genre_share_d1",
    "parent_share_d7",
    "audio_far_recent",
    "crowd_finish_rate",
    "crowd_skip_rate",
    "popularity_28",
)
SESSION = ("last_sequence", "last_two_tower", "last_nearest", "last_genre", "last_parent")
NAMES = ("bias", *SCORES, *(f"by_{name}" for name in SOURCES), *PAIR, *SESSION)
DIM = len(NAMES)
UTILITY = NAMES.index("utility")
WORTH = 0.15
"""Expected reward of a seen slot by unit of the ranker's utility before anything is known: a scale, no order."""
NEAREST = 5
_HYDRATED = pair_names(PairHydrator.columns)
_TAKEN = np.array([_HYDRATED.index(name) for name in PAIR])


def untaught(basis: str, l2: float, half_life_ms: float) -> LinearSettings:
    """A model that orders candidates as the ranker does until it has learned better."""
    prior = tuple(WORTH * (i == UTILITY) for i in range(DIM))
    return LinearSettings(dim=DIM, l2=l2, half_life=half_life_ms, prior=prior, basis=basis)


def features(batch: QueryBatch, candidates: Candidates, release: Retrieval) -> Floats:
    """(m, DIM) of m candidates; columns are NAMES."""
    out = np.empty((len(candidates), DIM))
    out[:, 0] = 1.0
    at = 1
    for name in SCORES:
        out[:, at] = _recorded(candidates.columns[name])
        at += 1
    for name in SOURCES:
        out[:, at] = candidates.proposed_by(name)
        at += 1
    out[:, at : at + len(PAIR)] = _squashed(_pair(batch, candidates, release)[:, _TAKEN].astype(np.float64))
    out[:, at + len(PAIR) :] = _last_session(batch, candidates, release)
    return out


def _recorded(column: Column) -> Floats:
    """A score column in the precision of the record."""
    values = column.astype(np.float32).astype(np.float64)
    return np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), -10.0, 10.0)


def _squashed(values: Floats) -> Floats:
    """Signed logs; 0 where a value is not known."""
    known = np.where(np.isfinite(values), values, 0.0)
    return np.asarray(np.sign(known) * np.log1p(np.abs(known)))


def _pair(batch: QueryBatch, candidates: Candidates, release: Retrieval) -> Column:
    """The ranker's own feature rows; made again where the candidates come from a record, which leaves them out."""
    if "pair" in candidates.columns:
        return candidates.columns["pair"]
    return PairHydrator(release.items, release.stats).hydrate(batch, candidates)["pair"]


def _last_session(batch: QueryBatch, candidates: Candidates, release: Retrieval) -> Floats:
    """(m, len(SESSION)) how near each candidate is to what the listener heard last: the mean cosine to the tracks of
    the newest session by both models, the mean of the nearest, and the shares of its genre and parent genre there.
    """
    out = np.zeros((len(candidates), len(SESSION)))
    items, plays = release.items, batch.histories
    vectors = release.sequence.item_vectors, release.two_tower.item_vectors
    for j in range(len(batch)):
        rows = slice(int(candidates.offsets[j]), int(candidates.offsets[j + 1]))
        heard = slice(int(plays.offsets[j]), int(plays.offsets[j + 1]))
        track, session = plays.track[heard], plays.session[heard]
        track = track[(session == session[-1]) & (track >= 0)] if len(track) else track
        if not len(track):
            continue
        ids = candidates.ids[rows]
        for k, every in enumerate(vectors):
            own, last = _unit(every[ids]), _unit(every[track])
            out[rows, k] = rowwise(own, last.mean(0))
            if not k:
                out[rows, 2] = _nearest(own, last)
        out[rows, 3] = (items.genre[ids][:, None] == items.genre[track]).mean(1)
        out[rows, 4] = (items.parent[ids][:, None] == items.parent[track]).mean(1)
    return out


def _nearest(own: Floats, last: Floats) -> Floats:
    """(m,) mean cosine to the NEAREST nearest; each the same whatever other rows there are."""
    cosine = np.stack([rowwise(own, vector) for vector in last], axis=1)
    k = min(NEAREST, cosine.shape[1])
    return np.asarray(np.partition(cosine, -k, axis=1)[:, -k:].mean(1))


def _unit(vectors: NDArray[np.floating]) -> Floats:
    long = vectors.astype(np.float64)
    return np.asarray(long / np.maximum(np.sqrt((long * long).sum(1, keepdims=True)), 1e-9))


def rowwise(rows: Floats, vector: Floats) -> Floats:
    """(m,) inner products; BLAS would sum in an order that depends on how many rows there are."""
    return np.asarray((rows * vector).sum(axis=1))
