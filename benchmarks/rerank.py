"""What re-ranking costs and buys on the home feed: `python -m benchmarks.rerank --home var [--probes 400]`.

Real session starts of a simulated world are retrieved and scored once; then each setting fills the shelves from the
same candidates, exploration off, and its first shelf is valued by the world itself (docs/reranking.md). Differences to
no re-ranking are paired, with 95% intervals that resample listeners. Writes JSON and a picture of value against
diversity, MMR beside DPP.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rerank_plot import plot
from benchmarks.results import FOLDER, table, write
from recsys.dataset import load
from recsys.evaluation import metrics
from recsys.evaluation.bootstrap import Resampler
from recsys.evaluation.true_value import probe_queries
from recsys.home import Home
from recsys.lake import Lake
from recsys.pipeline import Candidates, collect
from recsys.rerank.calibration import divergence, genre_mix
from recsys.rerank.settings import RerankSettings
from recsys.schemas import Surface
from recsys.simulation import truth
from recsys.slate import Rules
from recsys.types import Query, QueryBatch, UserState
from serving.cli.common import progress_bar
from serving.loaded import LoadedRelease
from serving.parts.rerank import is_new, long_tail
from serving.recommender import request_seed
from serving.registry import CHAMPION, Registry
from serving.settings import HomeSettings
from serving.surfaces import home as surface

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
K = 10
_BLOCK = 50
TIMED, TIMES = 30, 12
OFF = RerankSettings(diversity_weight=0, calibration_weight=0, new_share=0, tail_share=0)
PLAIN = HomeSettings(epsilon=0, rerank=OFF)
WEIGHTS = {
    "mmr": (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4),
    "dpp": (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.6),
    "calibration": (0.1, 0.2, 0.4, 0.8, 1.6),
}
SHOWN = (
    *("setting", "true_value", "difference", "low", "high", "ndcg", "distance", "taxonomy", "entropy", "kl"),
    *("new", "tail", "artists", "coverage", "gini", "short", "ms"),
)


@dataclass(frozen=True)
class Sample:
    """p session starts with their scored candidates and what only the world knows."""

    release: LoadedRelease
    listener: I64  # (p,)
    batch: QueryBatch
    found: list[Candidates]  # one a request
    utility: NDArray[np.float32]  # (p, n) true
    random: F64  # (p,) value of a random slate
    oracle: F64  # (p,) value of the best
    ideal: F64  # (p,) greatest discounted true utility of any K tracks
    eligible: NDArray[np.bool_]  # (n,) for any request


def gather(home: Home, probes: int, seed: int, progress: Callable[[int, int], None]) -> Sample:
    """Retrieves, scores and values.

    Raises:
        NotReady: the home holds no simulated world or no release.
    """
    world, data = truth.World.load(home), load(Lake(home.lake))
    release = LoadedRelease.load(Registry(home).get(CHAMPION).folder)
    probe = world.probes(probes, seed)
    batch = probe_queries(data, probe)
    queries = tuple(
        Query(f"{j}", Surface.HOME, int(now), request_seed(f"{seed}:{j}"), K, UserState("0" * 22))
        for j, now in enumerate(batch.now)
    )
    batch = replace(batch, queries=queries)
    settings = HomeSettings()
    stages = surface.eligible(release) + surface.light(release.light, settings) + surface.heavy(release)
    found, parts = list[Candidates](), list[tuple[Any, ...]]()
    for low in range(0, len(batch), _BLOCK):
        rows = np.arange(low, min(low + _BLOCK, len(batch)))
        own = batch.take(rows)
        candidates = collect(surface.sources(release), stages, own)
        found += [candidates.of(j) for j in range(len(rows))]
        parts.append(_truth(world, probe, rows))
        progress(int(rows[-1]) + 1, len(batch))
    utility, random, oracle, ideal, eligible = zip(*parts, strict=True)
    return Sample(
        release=release,
        listener=np.unique(probe.user_id, return_inverse=True)[1].astype(np.int64),
        batch=batch,
        found=found,
        utility=np.concatenate(utility),
        random=np.concatenate(random),
        oracle=np.concatenate(oracle),
        ideal=np.concatenate(ideal),
        eligible=np.logical_or.reduce(eligible),
    )


def _truth(world: truth.World, probe: truth.Probes, rows: I64) -> tuple[Any, ...]:
    """(utility, random, oracle, ideal, eligible for any) of some probes."""
    utility, eligible = world.utilities(probe, rows), world.eligible(probe, rows)
    best = truth.oracle_slates(utility, eligible, world.artist, K)
    top = -np.sort(-np.where(eligible, utility, -np.inf), axis=1)[:, :K]
    return (
        utility,
        truth.random_values(utility, eligible, world.artist, K),
        truth.slate_values(utility, best, world.artist),
        np.maximum(top, 0) @ _discount(),
        eligible.any(axis=0),
    )


def _discount() -> F64:
    return np.asarray(1 / np.log2(np.arange(2, K + 2)))


@dataclass(frozen=True)
class Served:
    """What one setting put on the first shelf."""

    slates: I64  # (p, K) tracks, -1 pads
    short: int  # slots by which floors fell short


def serve(sample: Sample, settings: HomeSettings) -> Served:
    """Fills the shelves of every request of the sample."""
    selector = surface.selector(sample.release, settings, "utility", "full")
    out, short = np.full((len(sample.found), K), -1, np.int64), 0
    for j, own in enumerate(sample.found):
        (slate,) = selector.select(sample.batch.take(np.array([j])), own)
        tracks = [item.track for item in slate.items if item.shelf == "made_for_you"]
        out[j, : len(tracks)] = tracks
        short += sum(slate.short.values())
    return Served(out, short)


def cost(sample: Sample, settings: HomeSettings) -> tuple[float, float]:
    """(Selector without re-ranking, what the settings add to it): CPU ms a request, all shelves.

    Both by turns, the least of several times for each request, mean over requests: other work on the machine can only
    add time.
    """
    selectors = [surface.selector(sample.release, s, "utility", "full") for s in (PLAIN, settings)]
    ones = [sample.batch.take(np.array([j])) for j in range(min(TIMED, len(sample.found)))]
    best = np.full((len(ones), 2), np.inf)
    for _ in range(TIMES):
        for j, one in enumerate(ones):
            for which, selector in enumerate(selectors):
                began = time.thread_time()
                selector.select(one, sample.found[j])
                best[j, which] = min(best[j, which], (time.thread_time() - began) * 1000)
    plain, given = best.mean(axis=0)
    return float(plain), float(given - plain)


def values(sample: Sample, slates: I64) -> F64:
    """(p,) true value of each slate, in units of reward."""
    return truth.slate_values(sample.utility, slates, sample.release.items.artist.astype(np.int64))


def facts(sample: Sample, served: Served, plain: Served) -> dict[str, float]:
    """One row of the table."""
    draw = Resampler.of(sample.listener)
    room, value = sample.oracle - sample.random, values(sample, served.slates)
    worth = draw.ratio(value - sample.random, room)
    gain = draw.ratio(value - values(sample, plain.slates), room)
    exposure = metrics.exposures(served.slates.astype(np.int32), len(sample.release.items), K)
    gains = np.maximum(np.take_along_axis(sample.utility, np.maximum(served.slates, 0), axis=1), 0)
    seen = np.where(served.slates >= 0, gains, 0) @ _discount()
    return {
        "true_value": worth.value,
        "difference": gain.value,
        "low": gain.low,
        "high": gain.high,
        "ndcg": float(np.mean(seen / sample.ideal)),
        "taxonomy": float(
            np.nanmean(metrics.diversity(served.slates.astype(np.int32), sample.release.items, K))
        ),
        "coverage": metrics.coverage(exposure, sample.eligible),
        "gini": metrics.gini(exposure, sample.eligible),
        "short": served.short / len(served.slates),
        **_lists(sample, served.slates),
    }


def _lists(sample: Sample, slates: I64) -> dict[str, float]:
    """Means over lists of what a list alone says."""
    rows = [_one(sample, j, slate[slate >= 0]) for j, slate in enumerate(slates)]
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def _one(sample: Sample, j: int, slate: I64) -> dict[str, float]:
    release, batch = sample.release, sample.batch
    items, vectors = release.items, release.two_tower.unit_vectors[slate].astype(np.float64)
    pairs = np.triu_indices(len(slate), 1)
    genre = items.parent[slate]
    counts = np.bincount(genre[genre >= 0], minlength=len(items.parents))
    share = counts[counts > 0] / max(1, counts.sum())
    own = batch.histories.take(np.array([j]))
    mix = genre_mix(
        np.where(own.track >= 0, items.parent[own.track], -1),
        own.outcome,
        items.parent[sample.found[j].ids],
        len(items.parents),
    )
    return {
        "distance": float(1 - (vectors @ vectors.T)[pairs].mean()) if len(slate) > 1 else float("nan"),
        "entropy": float(-(share @ np.log(share))),
        "kl": float("nan") if mix is None else divergence(mix, counts, max(1, int(counts.sum()))),
        "new": float(is_new(items, slate, int(batch.country[j]), int(batch.now[j]), 30).mean()),
        "tail": float(long_tail(release.popularity[-1], 0.5)[slate].mean()),
        "artists": float(len(np.unique(items.artist[slate]))),
    }


def settings() -> dict[str, HomeSettings]:
    """Every setting measured, by name."""

    def part(**given: Any) -> HomeSettings:
        return PLAIN.model_copy(update={"rerank": OFF.model_copy(update=given)})

    out = {"none": PLAIN, "artist cap 1": PLAIN.model_copy(update={"rules": Rules(1, 4)})}
    for kind in ("mmr", "dpp"):
        out |= {f"{kind} {w:g}": part(diversity=kind, diversity_weight=w) for w in WEIGHTS[kind]}
    out |= {f"calibration {w:g}": part(calibration_weight=w) for w in WEIGHTS["calibration"]}
    for share, loss in ((0.1, 0.01), (0.1, 0.05), (0.1, 0.2), (0.3, 0.2)):
        out[f"floors {share:.0%}, loss {loss:g}"] = part(new_share=share, tail_share=share, floor_loss=loss)
    for weight in (0.2, 0.4, 0.8):
        out[f"dpp 0.4 + calibration {weight:g}"] = part(diversity_weight=0.4, calibration_weight=weight)
    for loss in (0.02, 0.05, 0.1):
        out[f"dpp 0.4 + floors 10%, loss {loss:g}"] = part(
            diversity_weight=0.4, new_share=0.1, tail_share=0.1, floor_loss=loss
        )
    out["all three"] = part(
        diversity_weight=0.4, calibration_weight=0.2, new_share=0.1, tail_share=0.1, floor_loss=0.05
    )
    out["default"] = HomeSettings(epsilon=0)
    out["none, explored"] = HomeSettings(rerank=OFF)
    out["default, explored"] = HomeSettings()
    return out


def at_equal_diversity(rows: dict[str, dict[str, float]], measure: str) -> list[dict[str, float]]:
    """The difference in true value that MMR and DPP come to at the same diversity, between their measured points."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for kind in ("mmr", "dpp"):
        points = [rows["none"], *(row for name, row in rows.items() if name in _alone(kind))]
        curves[kind] = sorted((p[measure], p["difference"]) for p in points)
    high = min(curve[-1][0] for curve in curves.values())
    return [
        {measure: at, **{kind: _between(curve, at) for kind, curve in curves.items()}}
        for at in np.linspace(rows["none"][measure], high, 7).tolist()
    ]


def _between(curve: list[tuple[float, float]], at: float) -> float:
    return float(np.interp(at, [x for x, _ in curve], [y for _, y in curve]))


def _alone(kind: str) -> set[str]:
    return {f"{kind} {weight:g}" for weight in WEIGHTS[kind]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--probes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    with progress_bar("scoring") as update:
        sample = gather(Home.of(given.home), given.probes, given.seed, update)
    rows, plain = dict[str, dict[str, float]](), serve(sample, PLAIN)
    with progress_bar("re-ranking") as update:
        for done, (name, chosen) in enumerate(settings().items()):
            before, added = cost(sample, chosen)
            rows[name] = facts(sample, serve(sample, chosen), plain) | {"plain_ms": before, "ms": added}
            update(done + 1, len(settings()))
    table(list(SHOWN), [[name, *(row[c] for c in SHOWN[1:])] for name, row in rows.items()])
    figures = {
        "probes": len(sample.found),
        "seed": given.seed,
        "rows": rows,
        "at_equal_diversity": {m: at_equal_diversity(rows, m) for m in ("distance", "taxonomy")},
        "settings": {name: chosen.rerank.model_dump() for name, chosen in settings().items()},
    }
    path = write(f"rerank-seed-{given.seed}", figures, given.out)
    plot(rows, path.with_suffix(".png"))
    print(path)


if __name__ == "__main__":
    main()
