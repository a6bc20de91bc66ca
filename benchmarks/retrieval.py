"""Search under a filter: `python -m benchmarks.retrieval [--sizes 100000 1000000]` prints a table, writes JSON.

The planner beside a flat scan with a selector, plain IVF and HNSW under a selector, and post-filtering, per
selectivity and kind of filter: recall at 100, p50 and p99 of one request on one thread. The planner's time counts
clearing 50 tracks already heard from a cached bitmap; the others are handed their selector for nothing.
Tracks are drawn as a catalog is: genres within parent genres, artists within genres, tracks around artists.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from recsys.plays import I64
from recsys.retrieval.bitmaps import Words
from recsys.retrieval.calibrate import KINDS, Clusters, calibrate, recall
from recsys.retrieval.engine import Engine, Retriever
from recsys.retrieval.lists import load_faiss
from recsys.retrieval.plans import Plan

F32 = NDArray[np.float32]
Search = Callable[[F32, Words, NDArray[np.bool_]], I64]
SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 1.0)
K = 100


def unit(x: NDArray[np.floating]) -> F32:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), np.float32)


def catalog(n: int, queries: int, dim: int = 64, seed: int = 0) -> tuple[F32, F32]:
    """Tracks (n, dim), their norms spread by a tenth, and listeners (queries, dim) with a taste for three artists."""
    rng = np.random.default_rng(seed)

    def around(centers: F32, count: int, spread: float) -> F32:
        own = centers[rng.integers(0, len(centers), count)]
        return unit(own + spread * unit(rng.normal(size=(count, dim)).astype(np.float32)))

    genres = around(unit(rng.normal(size=(16, dim))), 256, 0.7)
    artists = around(genres, max(n // 25, 3), 0.8)
    tracks = around(artists, n, 0.6) * np.exp(0.1 * rng.normal(size=(n, 1))).astype(np.float32)
    liked = artists[rng.integers(0, len(artists), (queries, 3))]
    taste = np.einsum("qad,a->qd", liked, [1.0, 0.6, 0.4]) + 0.3 * unit(rng.normal(size=(queries, dim)))
    return tracks, unit(taste)


def peers(retriever: Retriever, vectors: F32) -> dict[str, Search]:
    """Each way to search one request, from (query, words, mask) to ids."""
    faiss = load_faiss()
    n, dim = vectors.shape
    slot, track = retriever.engine.layout.slot, retriever.engine.layout.track
    quantizer = faiss.IndexFlatIP(dim)
    lists = int(2 ** np.round(np.log2(np.sqrt(n) * 2)))
    ivf = faiss.IndexIVFFlat(quantizer, dim, lists, faiss.METRIC_INNER_PRODUCT)
    ivf.cp.niter, ivf.cp.max_points_per_centroid = 8, 64
    ivf.train(vectors)
    ivf.add_with_ids(vectors, slot)
    flat = faiss.IndexIDMap(faiss.IndexFlatIP(dim))
    flat.add_with_ids(vectors, slot)
    nprobe = min(64, lists)

    def under(words: Words) -> Any:
        return faiss.IDSelectorBitmap(words.view(np.uint8))

    def flat_selector(query: F32, words: Words, _: NDArray[np.bool_]) -> I64:
        found = flat.search(query[None], K, params=faiss.SearchParameters(sel=under(words)))[1][0]
        return _known(track, found)

    def plain_ivf(query: F32, words: Words, _: NDArray[np.bool_]) -> I64:
        params = faiss.SearchParametersIVF(nprobe=nprobe, sel=under(words))
        found = ivf.search(query[None], K, params=params)[1][0]
        return _known(track, found)

    def post_filter(query: F32, _: Words, mask: NDArray[np.bool_]) -> I64:
        params = faiss.SearchParametersIVF(nprobe=nprobe)
        found = track[ivf.search(query[None], 10 * K, params=params)[1][0]]
        return np.asarray(found[mask[found]][:K])

    ways: dict[str, Search] = {"flat": flat_selector, "ivf": plain_ivf, "post-filter": post_filter}
    hnsw = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    hnsw.hnsw.efConstruction = 100
    faiss.omp_set_num_threads(2)  # minutes at a million tracks; searches run on one
    hnsw.add(vectors)
    faiss.omp_set_num_threads(1)

    def graph(query: F32, _: Words, mask: NDArray[np.bool_]) -> I64:
        bits = np.packbits(mask, bitorder="little")
        params = faiss.SearchParametersHNSW(efSearch=200, sel=faiss.IDSelectorBitmap(bits))
        found = hnsw.search(query[None], K, params=params)[1][0]
        return np.asarray(found[found >= 0])

    ways["hnsw"] = graph
    return ways


def _known(track: I64, found: I64) -> I64:
    return track[found[found >= 0]]


def measure(n: int, queries: int) -> dict[str, Any]:
    """Figures of one catalog size; calibrated on other queries than those measured."""
    vectors, listeners = catalog(n, queries + 16)
    began = time.perf_counter()
    engine = Engine.build(vectors)
    built = time.perf_counter()
    retriever = Retriever(engine, calibrate(engine, listeners[:16]))
    done = time.perf_counter()
    print(f"{n} tracks: built in {built - began:.1f} s, calibrated in {done - built:.1f} s", flush=True)
    ways, clusters = peers(retriever, vectors), Clusters.of(engine, seed=1)
    rows = [
        row
        for share in SHARES
        for kind in (KINDS if share < 1 else KINDS[:1])
        for row in cell(retriever, ways, clusters, listeners[16:], share, kind)
    ]
    times = {"build_s": built - began, "calibrate_s": done - built}
    return {"tracks": n, **times, "load_average": os.getloadavg()[1], "rows": rows}


def cell(
    retriever: Retriever, ways: dict[str, Search], clusters: Clusters, listeners: F32, share: float, kind: str
) -> list[dict[str, Any]]:
    """One selectivity and kind of filter: a row for each way to search."""
    engine, layout = retriever.engine, retriever.engine.layout
    found: dict[str, list[tuple[float, float]]] = {}
    plans: Counter[str] = Counter()
    for j, query in enumerate(listeners):
        mask = clusters.mask(query, kind, round(share * len(layout)), seed=1000 + j)
        cached = layout.pack(mask)
        heard = np.random.default_rng(j).choice(np.flatnonzero(mask), min(50, int(mask.sum()) // 10), False)
        mask[heard] = False
        words = layout.clear(cached, heard)
        truth = engine.run(Plan(kind="gather" if share < 0.2 else "scan", effort=0), query, K, words)[1]
        began = time.perf_counter()
        _, ids, plan = retriever.search(query, K, layout.clear(cached, heard))
        took = time.perf_counter() - began
        plans[f"{plan.kind}/{plan.effort}"] += 1
        found.setdefault("planner", []).append((took * 1000, recall(ids, truth)))
        for name, way in ways.items():
            began = time.perf_counter()
            ids = way(query, words, mask)
            took = time.perf_counter() - began
            found.setdefault(name, []).append((took * 1000, recall(ids, truth)))
    base = {"share": share, "filter": kind}
    rows = []
    for name, pairs in found.items():
        ms, shares = np.array(pairs).T
        figures = {"recall": shares.mean(), "p50_ms": np.median(ms), "p99_ms": np.percentile(ms, 99)}
        rows.append({**base, "way": name, **figures, "plans": dict(plans) if name == "planner" else {}})
    return rows


def show(figures: dict[str, Any]) -> None:
    """One line a filter: recall and p50 of every way, and the planner's commonest plan."""
    names = list(dict.fromkeys(row["way"] for row in figures["rows"]))
    lines: dict[tuple[float, str], list[Any]] = {}
    for row in figures["rows"]:
        line = lines.setdefault((row["share"], row["filter"]), [f"{row['share']:.1%}", row["filter"]])
        line.append(f"{row['recall']:.3f} {row['p50_ms']:.2f} / {row['p99_ms']:.2f}")
        if row["plans"]:
            line.append(max(row["plans"], key=row["plans"].get))
    head = [names[0], "plan", *names[1:]]
    results.table(["eligible", "filter", *head], list(lines.values()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=40)
    given = parser.parse_args()
    load_faiss().omp_set_num_threads(1)
    for n in given.sizes:
        figures = measure(n, given.queries)
        show(figures)
        print(results.write(f"retrieval-{n}", figures))


if __name__ == "__main__":
    main()
