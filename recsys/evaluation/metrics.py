"""Full-catalog ranking metrics on top lists, exactly as defined here; one value per query, or one for all
lists.

A top list is a row of (q, K) track numbers, best first, -1 where fewer tracks could be recommended.
Relevance is binary: a track is relevant if it is among the query's targets. No negatives are sampled
(Krichene & Rendle, KDD 2020, show why that would mislead).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation.protocol import Scores
from recsys.evaluation.ragged import Ragged
from recsys.items import Items
from recsys.plays import I32, I64

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


def top_k(scores: Scores, k: int, queries: I64, seed: int = 0) -> I32:
    """(b, k) track numbers by falling score. Non-finite scores sink: such tracks are never listed (-1
    instead).

    Ties break by a seeded order of the tracks, rotated per query number so that no track is favoured
    everywhere; the answer depends on the query alone, not on the batch.
    """
    b, n = scores.shape
    k = min(k, n)
    clean = np.where(np.isfinite(scores), scores, np.float32(-np.inf))
    bar = np.partition(clean, n - k, axis=1)[:, n - k]
    rows, cols = np.nonzero((clean >= bar[:, None]) & (clean > -np.inf))
    rng = np.random.default_rng(seed)
    order, shift = rng.permutation(n), (queries * 7919 + 13) % n
    ties = order[(cols + shift[rows]) % n]
    by_rank = np.lexsort((ties, -clean[rows, cols], rows))
    rows, cols = rows[by_rank], cols[by_rank]
    starts = np.searchsorted(rows, np.arange(b))
    place = np.arange(len(rows)) - starts[rows]
    keep = place < k
    out = np.full((b, k), -1, np.int32)
    out[rows[keep], place[keep]] = cols[keep]
    return out


def hits(top: I32, targets: Ragged) -> Bools:
    """(q, K) whether each listed track is among the query's (distinct) targets."""
    width = int(max(top.max(initial=0), targets.tracks.max(initial=0))) + 1
    keys = np.sort(targets.owner * width + targets.tracks)
    if not len(keys):
        return np.zeros(top.shape, bool)
    wanted = np.arange(len(top))[:, None] * width + np.maximum(top, 0)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.asarray((keys[place] == wanted) & (top >= 0))


def recall(hit: Bools, targets: Ragged, k: int) -> F64:
    """(q,) share of the targets that are in the first k. With one target this is the hit rate."""
    return np.asarray(hit[:, :k].sum(1) / np.maximum(targets.counts, 1))


def ndcg(hit: Bools, targets: Ragged, k: int) -> F64:
    """(q,) DCG@k with gain 1 and discount 1/log2(rank + 1), over the DCG of min(k, targets) relevant tracks
    first (Järvelin & Kekäläinen, ACM TOIS 2002)."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(targets.counts, k)]
    found = hit[:, :k] @ discount[: hit[:, :k].shape[1]]
    value: F64 = np.divide(found, ideal, out=np.zeros(len(hit)), where=ideal > 0)
    return value


def mrr(hit: Bools, k: int) -> F64:
    """(q,) 1 / rank of the first relevant track, 0 if there is none in the first k (Voorhees, TREC-8
    1999)."""
    inside = hit[:, :k]
    return np.where(inside.any(1), 1 / (inside.argmax(1) + 1), 0.0)


def novelty(top: I32, plays_per_track: I64, k: int) -> F64:
    """(q,) mean self-information -log2 p(track) of the first k, in bits, p by plays before the window with
    one play added to each track (Zhou et al., PNAS 2010). NaN for an empty list."""
    share = (plays_per_track + 1) / (plays_per_track.sum() + len(plays_per_track))
    bits = -np.log2(share)
    listed = top[:, :k] >= 0
    total = np.where(listed, bits[top[:, :k]], 0).sum(1)
    return _mean(total, listed.sum(1))


def diversity(top: I32, items: Items, k: int) -> F64:
    """(q,) mean distance over pairs of the first k (intra-list diversity, Ziegler et al., WWW 2005).

    The distance is the taxonomy's: 0 for the same artist, 1/3 for the same genre, 2/3 for the same parent
    genre, 1 otherwise; an unknown genre is like no other. NaN for a list with fewer than two tracks.
    """
    total = np.zeros(len(top))
    listed = (top[:, :k] >= 0).sum(1)
    for i in range(1, min(k, top.shape[1])):
        total += np.where(top[:, i, None] >= 0, _distance(top[:, :i], top[:, i, None], items), 0).sum(1)
    return _mean(total, listed * (listed - 1) // 2)


def _distance(a: I32, b: I32, items: Items) -> F64:
    same_parent = (items.parent[a] == items.parent[b]) & (items.parent[a] >= 0)
    same_genre = (items.genre[a] == items.genre[b]) & (items.genre[a] >= 0)
    same_artist = items.artist[a] == items.artist[b]
    distance = np.where(same_parent, 2 / 3, 1.0)
    distance[same_genre] = 1 / 3
    distance[same_artist] = 0.0
    return distance


def _mean(total: F64, count: NDArray[np.integer]) -> F64:
    value: F64 = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return value


def exposures(top: I32, n_items: int, k: int) -> I64:
    """(n_items,) in how many of the lists' first k each track stands."""
    listed = top[:, :k]
    return np.bincount(listed[listed >= 0], minlength=n_items)


def coverage(exposure: NDArray[np.integer], eligible: Bools) -> float:
    """Share of the tracks eligible for any query that stand in at least one list (Ge et al., RecSys 2010)."""
    return float((exposure[eligible] > 0).sum() / max(1, eligible.sum()))


def gini(exposure: NDArray[np.number], eligible: Bools) -> float:
    """Popularity concentration: Gini index of exposure over the tracks eligible for any query, never-shown
    ones included; 0 = all equally, 1 = one track only (Fleder & Hosanagar, Management Science 2009)."""
    counts = np.sort(exposure[eligible]).astype(np.float64)
    n, total = len(counts), counts.sum()
    if n == 0 or total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ counts / (n * total))


def calibration_error(probability: F64, outcome: NDArray[np.integer] | Bools, bins: int = 15) -> float:
    """Expected calibration error: mean |observed rate - mean probability| over equal-width bins, weighted
    by their share of the rows (Naeini et al., AAAI 2015; Guo et al., ICML 2017)."""
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=np.asarray(outcome, np.float64) - probability, minlength=bins)
    return float(np.abs(gap).sum() / max(1, len(probability)))


def lorenz(top: I32, eligible: Bools, k: int, points: int = 101) -> F64:
    """(points,) share of all exposure that the least shown 0%, 1%, ... 100% of the eligible tracks get."""
    counts = np.sort(exposures(top, len(eligible), k)[eligible])
    share = np.concatenate([[0.0], np.cumsum(counts) / max(1, counts.sum())])
    return np.asarray(np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(share)), share))
