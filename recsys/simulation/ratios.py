"""Quick next-track baselines on any plays: do simulated logs behave like the real music, method by method?

Protocol of the 30Music slices (FINDINGS: "last day of each slice, next track"): five windows of five days;
the last day of each is the test, every track heard before is ranked, a target unseen there scores 0.
Methods: popularity; first-order Markov; sequential rules (last 10 plays, decay .8, weight 1/distance, divided by
√popularity; Ludewig & Jannach 2018); implicit ALS (Hu, Koren & Volinsky 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

DAY_S = 86_400
LAST, DECAY, K = 10, 0.8, 10
METHODS = ("popularity", "markov", "rules", "als")


@dataclass(frozen=True)
class Slice:
    """Plays of a few days, sorted by (user, time); tracks are dense numbers over the whole slice."""

    user: NDArray[np.int64]
    session: NDArray[np.int64]
    track: NDArray[np.int64]
    test: NDArray[np.bool_]  # in the last day


def data_of(plays: pl.DataFrame) -> Slice:
    """From columns user, session, track (any type), timestamp (s), and slice; a slice's last 24 h are its test."""
    plays = plays.sort("user", "timestamp")
    test = plays.select(pl.col("timestamp") > pl.col("timestamp").max().over("slice") - DAY_S).to_series()
    number = {
        name: plays[name].rank("dense").to_numpy().astype(np.int64) - 1
        for name in ("user", "session", "track")
    }
    return Slice(**number, test=test.to_numpy())


def ndcg(data: Slice, most: int = 4_000, seed: int = 0) -> dict[str, float]:
    """NDCG@10 of each method on next plays of the test days, and `unseen`, the share of targets not in training.

    Popularity is measured on all of them, the others on up to `most` drawn at random.
    """
    at = np.flatnonzero(data.test[1:] & (data.session[1:] == data.session[:-1])) + 1
    train = ~data.test
    popularity = np.bincount(data.track[train], minlength=data.track.max() + 1).astype(np.float64)
    best, every = np.argsort(-popularity, kind="stable")[:K], data.track[at]
    at = np.sort(np.random.default_rng(seed).permutation(at)[:most])
    target = data.track[at]
    gains = {
        "popularity": _gains(np.broadcast_to(best, (len(every), K)), every),
        "markov": _gains(_markov(data, at, popularity), target),
        "rules": _gains(_rules(data, at, popularity), target),
        "als": _gains(_als(data, at, popularity), target),
    }
    return {
        **{name: float(g.mean()) for name, g in gains.items()},
        "unseen": float((popularity[target] == 0).mean()),
    }


def _gains(top: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.float64]:
    hit = top == target[:, None]
    return np.where(hit.any(1), 1 / np.log2(2 + hit.argmax(1)), 0.0)


def _pairs(data: Slice, distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training pairs (a, b) of one session with b `distance` plays after a."""
    a, b = slice(None, -distance), slice(distance, None)
    kept = (data.session[a] == data.session[b]) & ~data.test[b]
    return data.track[a][kept], data.track[b][kept]


def _matrix(data: Slice, reach: int, n: int):  # type: ignore[no-untyped-def]
    from scipy.sparse import csr_matrix

    total = csr_matrix((n, n))
    for distance in range(1, reach + 1):
        a, b = _pairs(data, distance)
        total = total + csr_matrix((np.full(len(a), 1 / distance), (a, b)), shape=(n, n))
    return total.tocsr()


def _top(score: NDArray[np.float64], popularity: NDArray[np.float64]) -> NDArray[np.int64]:
    """Top K of one dense score row; ties and gaps go by popularity."""
    ranked = score + 1e-9 * popularity / popularity.max()
    best = np.argpartition(-ranked, K)[:K]
    return best[np.argsort(-ranked[best], kind="stable")]


def _markov(data: Slice, at: NDArray[np.int64], popularity: NDArray[np.float64]) -> NDArray[np.int64]:
    follow = _matrix(data, 1, len(popularity))
    return np.stack([_top(follow[[t]].toarray()[0], popularity) for t in data.track[at - 1]])


def _rules(data: Slice, at: NDArray[np.int64], popularity: NDArray[np.float64]) -> NDArray[np.int64]:
    follow = _matrix(data, LAST, len(popularity))
    out = []
    for i in at:
        before = np.arange(max(i - LAST, 0), i)
        before = before[data.session[before] == data.session[i]]
        weight = DECAY ** (i - 1 - before)
        score = np.asarray(follow[data.track[before]].T @ weight) / np.sqrt(np.maximum(popularity, 1))
        out.append(_top(score, popularity))
    return np.stack(out)


def _als(data: Slice, at: NDArray[np.int64], popularity: NDArray[np.float64]) -> NDArray[np.int64]:
    """User vectors are folded in from everything the listener played before."""
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    train, n = ~data.test, len(popularity)
    shape = (data.user.max() + 1, n)
    plays = csr_matrix((np.ones(train.sum()), (data.user[train], data.track[train])), shape=shape)
    model = AlternatingLeastSquares(
        factors=64, regularization=0.05, alpha=10.0, iterations=12, random_state=0, num_threads=1
    )
    model.fit(plays, show_progress=False)
    first = np.searchsorted(data.user, data.user[at])
    out = []
    for i, start in zip(at, first, strict=True):
        seen = csr_matrix((np.ones(i - start), (np.zeros(i - start), data.track[start:i])), shape=(1, n))
        score = model.item_factors @ model.recalculate_user(0, seen)
        out.append(_top(np.where(popularity > 0, score, -np.inf).astype(np.float64), popularity))
    return np.stack(out)


def like_thirty_music(plays: pl.DataFrame, listeners: int = 1_000, seed: int = 0) -> pl.DataFrame:
    """Five windows of five days from a longer log, each of other listeners, as many as the real slices have.

    Args:
        plays: columns user, session, track, artist, timestamp (s).
        listeners: a window takes a fifth of the log's listeners, at most this many.
    """
    first, last = int(plays["timestamp"].min()), int(plays["timestamp"].max())  # type: ignore[arg-type]
    starts = np.linspace(first + DAY_S, last - 6 * DAY_S, 5).astype(np.int64)
    users = plays["user"].unique().sort().shuffle(seed=seed)
    size = min(len(users) // 5, listeners)
    return pl.concat(
        plays.filter(
            pl.col("timestamp").is_between(int(start), int(start) + 5 * DAY_S, "left"),
            pl.col("user").is_in(users[i * size : (i + 1) * size].implode()),
        ).with_columns(slice=i)
        for i, start in enumerate(starts)
    )
