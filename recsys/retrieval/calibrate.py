"""Measures what every plan costs and finds, for the planner's table: `table = calibrate(engine, queries)`.

Filters are of four kinds, at every selectivity from 0.1% to 100%: random; whole clusters nearest to the query first;
farthest first; in random order. Clusters are cells around 256 random tracks, so that they do not follow the lists.
Every plan is compared with exact search. A plan's recall is that of the kind of filter that suits it least.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I64
from recsys.retrieval.bitmaps import Words, count
from recsys.retrieval.engine import Engine
from recsys.retrieval.lists import F32
from recsys.retrieval.plans import PLACES, CostTable, Grid, Place, Plan

SHARES = (0.0005, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 0.9, 1.0)
EFFORTS = (2_000, 5_000, 8_000, 12_000, 20_000, 40_000, 80_000, 200_000, 0)
KINDS = ("random", "near", "far", "mixed")
TARGET = 0.995
"""Above the 0.99 that a request is promised: a mean over few queries errs."""
_PIVOTS = 256
_EXACT = (Plan(kind="gather", effort=0), Plan(kind="scan", effort=0))


@dataclass
class _Sample:
    """Figures of one request by plan."""

    kind: str
    place: Place
    ms: dict[Plan, float] = field(default_factory=dict)
    recall: dict[Plan, float] = field(default_factory=dict)


def plans_of(engine: Engine) -> tuple[Plan, ...]:
    """The plans worth trying on an index, exact ones first."""
    if engine.lists is None:
        return _EXACT
    wide = tuple(e for e in EFFORTS if e < len(engine.layout))
    index = tuple(Plan(kind="index", effort=e) for e in wide)
    gather = tuple(Plan(kind="gather", effort=e) for e in wide if 0 < e <= 40_000)
    return _EXACT + index + gather + tuple(Plan(kind="overfetch", effort=e) for e in wide if e >= 12_000)


def calibrate(
    engine: Engine, queries: F32, ks: tuple[int, ...] = (100, 500), target: float = TARGET, seed: int = 0
) -> CostTable:
    """The table of an engine, from up to 16 queries (q, d) on one thread."""
    n = len(engine.layout)
    sizes = sorted({max(round(n * share), 1) for share in SHARES})
    queries = queries[: 16 if engine.lists else 4]
    kinds = KINDS if engine.lists else ("random",)
    clusters = Clusters.of(engine, seed)
    found = {size: _samples(engine, clusters, queries, size, kinds, ks, seed) for size in sizes}
    grids = []
    for k in ks:
        cells = {size: [by_k[k] for by_k in samples] for size, samples in found.items()}
        grids += [_grid(plans_of(engine), k, place, cells) for place in PLACES]
    return CostTable(vectors=n, target=target, grids=tuple(grids))


@dataclass(frozen=True)
class Clusters:
    """Cells around random tracks: filters that are correlated with the vectors, yet not with the lists."""

    pivots: F32  # (c, d)
    cell: I64  # (n,) the nearest pivot of each track

    @classmethod
    def of(cls, engine: Engine, seed: int = 0) -> Clusters:
        n, rng = len(engine.layout), np.random.default_rng(seed)
        pivots = engine.vectors[engine.layout.slot[rng.choice(n, min(_PIVOTS, n), replace=False)]]
        half = 0.5 * (pivots**2).sum(1)
        parts = np.array_split(engine.layout.slot, n // 10_000 + 1)
        nearest = [np.argmax(engine.vectors[part] @ pivots.T - half, axis=1) for part in parts]
        return cls(pivots, np.concatenate(nearest))

    def mask(self, query: F32, kind: str, size: int, seed: int = 0) -> NDArray[np.bool_]:
        """(n,) `size` eligible tracks of one of the KINDS; whole clusters, of the last one a random part."""
        rng, toward = np.random.default_rng(seed), self.pivots @ query
        key = rng.random(len(self.cell))
        if kind != "random":
            rank = {"near": -toward, "far": toward}.get(kind, rng.random(len(self.pivots)))
            key += np.argsort(np.argsort(rank))[self.cell]
        mask = np.zeros(len(self.cell), bool)
        mask[np.argpartition(key, size - 1)[:size]] = True
        return mask


def _samples(
    engine: Engine,
    clusters: Clusters,
    queries: F32,
    size: int,
    kinds: tuple[str, ...],
    ks: tuple[int, ...],
    seed: int,
) -> list[dict[int, _Sample]]:
    out = []
    for j, query in enumerate(queries):
        for kind in kinds:
            words = engine.layout.pack(clusters.mask(query, kind, size, seed + j))
            order = engine.order(query, words)
            place = order.place if order else "even"
            truth = engine.run(_EXACT[1], query, max(ks), words)[1]
            out.append({k: _sample(engine, query, k, words, _Sample(kind, place), truth[:k]) for k in ks})
    return out


def _sample(engine: Engine, query: F32, k: int, words: Words, sample: _Sample, truth: I64) -> _Sample:
    eligible = count(words)
    wide = eligible * 4 > len(engine.layout)
    for plan in plans_of(engine):
        if (plan.kind == "overfetch" and not wide) or (plan == _EXACT[0] and wide and engine.lists):
            continue  # without a chance
        if plan.kind == "scan" and sample.kind != "random":
            continue  # costs the same under every filter
        began = time.perf_counter()
        order = engine.order(query, words)
        found = engine.run(plan, query, k, words, order)[1]
        sample.ms[plan] = (time.perf_counter() - began) * 1000
        sample.recall[plan] = recall(found, truth)
    return sample


def recall(found: I64, truth: I64) -> float:
    """Share of the true ids that were found; 1 where there are none."""
    return len(np.intersect1d(found, truth)) / len(truth) if len(truth) else 1.0


def _grid(plans: tuple[Plan, ...], k: int, place: Place, cells: dict[int, list[_Sample]]) -> Grid:
    """One grid; where no request fell into the class, only exact plans are taken to reach the target."""
    ms = np.empty((len(plans), len(cells)))
    share = np.empty_like(ms)
    for i, plan in enumerate(plans):
        for c, samples in enumerate(cells.values()):
            own = [s for s in samples if s.place == place and plan in s.ms]
            timed = own or [s for s in samples if plan in s.ms]
            ms[i, c] = np.median([s.ms[plan] for s in timed]) if timed else 1e6
            share[i, c] = 1.0 if plan.exact else _worst(own, plan)
    return Grid(
        k=k,
        place=place,
        counts=tuple(cells),
        plans=plans,
        ms=tuple(map(tuple, ms.round(4).tolist())),
        recall=tuple(map(tuple, share.round(4).tolist())),
    )


def _worst(samples: list[_Sample], plan: Plan) -> float:
    kinds: dict[str, list[float]] = {}
    for sample in samples:
        kinds.setdefault(sample.kind, []).append(sample.recall[plan])
    means: NDArray[np.float64] = np.array([np.mean(values) for values in kinds.values()])
    return float(means.min(initial=1.0)) if len(means) else 0.0
