"""Semantic ids beside the other sources: what they find alone, and what they add to the home feed's candidates.

    python -m benchmarks.semantic_ids --home var --work FOLDER [--window valid] [--variants joint,content] [--cap 1500]

On a simulated home. Every model learns from plays before the validation window, whichever window is measured; from
5% of the played tracks, drawn by seed, everything before the measured window is taken away, so that they are cold
beside the tracks that really came out later. `--release v1` hides none and takes the home's own release as served,
so that nothing but semantic ids is trained. A request stands at the start of a session; its targets are the distinct
tracks played in it. Trained models and their CPU seconds stay in FOLDER, and a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks.results import table, write
from benchmarks.semantic_lists import ContentKnn, Lists, additions, alone, proposals, ranked
from benchmarks.semantic_world import HIDDEN_SHARE, World, hidden_world
from models.semantic_ids import SemanticConfig, SemanticIds
from models.sequence.model import SequenceModel
from models.two_tower import TwoTower
from recsys.dataset import Dataset, load
from recsys.features.stats import item_stats
from recsys.home import Home
from recsys.lake import Lake
from recsys.release import read_manifest
from recsys.types import QueryBatch
from serving.loaded import LoadedRelease, Retrieval
from serving.surfaces.home import sources

VARIANTS: dict[str, dict[str, Any]] = {
    "joint": {},
    "content": {"collaborative_weight": 0.0},
    "collaborative": {"content_weight": 0.0},
    "shuffled": {"shuffled": True},
}
"""What codes are made from. `shuffled`: those of `joint` dealt out at random, the control."""
DEPTH = 600
"""Length of the lists that additions are taken from: enough beyond what the pool has already."""
ALL_COHORTS = ("all", "new", "tail", "hidden", "released")


def kept(
    folder: Path, load: Callable[[Path], Any], make: Callable[[], Any], settings: Any
) -> tuple[Any, float]:
    """A trained model and its CPU seconds, from `folder` where it was trained with these settings before."""
    record = folder / "training.json"
    asked = settings.model_dump(mode="json")
    if record.exists() and (known := json.loads(record.read_text()))["settings"] == asked:
        return load(folder), known["cpu_s"]
    begin = process_time()
    model = make()
    spent = process_time() - begin
    model.save(folder)
    record.write_text(json.dumps({"settings": asked, "cpu_s": spent}, indent=1))
    print(f"{folder.name}: {spent:.0f} CPU s", flush=True)
    return model, spent


def peers(world: World, work: Path, tiny: bool) -> tuple[Retrieval, dict[str, float]]:
    """The home feed's parts without semantic ids, trained anew with the settings that ship, and CPU seconds."""
    from models.sequence.train import train as train_sequence
    from models.two_tower.train import train as train_tower
    from recsys.index import build
    from serving.recipe import RecipeConfig

    config, data = RecipeConfig.of("tiny" if tiny else "demo"), world.data
    until, items = data.split.valid, data.items
    tower, tower_s = kept(
        work / "two_tower",
        lambda f: TwoTower.load(f, items),
        lambda: train_tower(data, until, config.two_tower),
        config.two_tower,
    )
    sequence, sequence_s = kept(
        work / "sequence",
        lambda f: SequenceModel.load(f, items),
        lambda: train_sequence(data, until, config.sequence, checkpoint_dir=work / "sequence.checkpoint"),
        config.sequence,
    )
    some = world.task.batch.take(np.arange(min(20, len(world.task))))
    parts = Retrieval(
        items=items,
        stats=item_stats(data.plays, data.country, items, until),
        two_tower=tower,
        index=build(tower.item_vectors, tower.encode(some)),
        sequence=sequence,
    )
    return parts, {"two_tower": tower_s, "sequence": sequence_s}


def semantic(data: Dataset, work: Path, variant: str, settings: dict[str, Any]) -> tuple[SemanticIds, float]:
    from models.semantic_ids.train import train

    config = SemanticConfig(**settings)
    folder = work / f"semantic_{variant}_{config.seed}"
    return kept(
        folder,
        lambda f: SemanticIds.load(f, data.items),
        lambda: train(data, data.split.valid, config, checkpoint_dir=work / f"{folder.name}.checkpoint"),
        config,
    )


def milliseconds(answer: Callable[[QueryBatch], Any], world: World, requests: int = 200) -> dict[str, float]:
    """Median and 95th percentile of the CPU time of one request."""
    spent = []
    for row in range(min(requests, len(world.task))):
        batch = world.task.batch.take(np.array([row]))
        begin = process_time()
        answer(batch)
        spent.append((process_time() - begin) * 1000)
    return {"p50": float(np.median(spent)), "p95": float(np.quantile(spent, 0.95))}


def costs(world: World, model: SemanticIds, parts: Retrieval) -> dict[str, Any]:
    """CPU ms a request for 100 candidates, and the share of the exact 100 that a beam finds."""
    tower, sequence, index = parts.two_tower, parts.sequence, parts.index
    allowed, some = world.eligible[0], world.task.batch.take(np.arange(min(200, len(world.task))))
    every = np.where(allowed, model.score(some), -np.inf)
    exact = np.argsort(-every, axis=1, kind="stable")[:, :100]
    out: dict[str, Any] = {}
    for beam in (100, 256, 512, 1024):
        found = model.candidates(some, 100, allowed, beam)[0]
        share = np.mean([len(np.intersect1d(a, b)) / 100 for a, b in zip(found, exact, strict=True)])
        timed = milliseconds(lambda b, beam=beam: model.candidates(b, 100, allowed, beam), world)  # type: ignore[misc]
        out[f"semantic, beam {beam}"] = {**timed, "recall_of_exact": float(share)}
    out["semantic, whole tree"] = milliseconds(model.score, world)
    out["semantic, listener's state alone"] = milliseconds(model.encode, world)
    out["two_tower, index"] = milliseconds(lambda b: tower.candidates(b, 100, allowed, index), world)
    out["two_tower, listener's state alone"] = milliseconds(tower.encode, world)
    out["two_tower, HNSW ef 100, search alone"] = _hnsw(world, tower)
    out["sequence"] = milliseconds(lambda b: sequence.candidates(b, 100, allowed), world)
    return out


def _hnsw(world: World, tower: TwoTower) -> dict[str, float]:
    import faiss

    graph = faiss.IndexHNSWFlat(tower.item_vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    graph.add(tower.item_vectors)
    graph.hnsw.efSearch = 100
    queries = iter(tower.encode(world.task.batch.take(np.arange(min(200, len(world.task))))))
    return milliseconds(lambda _b: graph.search(next(queries)[None], 100), world)


def code_figures(model: SemanticIds) -> dict[str, Any]:
    """How evenly codes are used, how full cells are, how long a prefix tracks share."""
    codes, sizes = model.codes, model.books.sizes
    use = []
    for level, size in enumerate(sizes):
        share = np.bincount(codes[:, level], minlength=size) / len(codes)
        use.append(float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()) / size))
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, len(codes), (2, 200_000))
    left, right = left[left != right], right[left != right]
    shared = (codes[left] == codes[right])[:, : len(sizes)].cumprod(axis=1).sum(axis=1)
    alike = model.items.artist[left] == model.items.artist[right]
    cells = np.diff(model.trie.depths[-1].start)
    return {
        "use": use,
        "nodes": [len(depth.prefix) for depth in model.trie.depths],
        "tracks_alone_in_their_cell": float(cells[cells == 1].sum() / len(codes)),
        "fullest_cell": int(cells.max()),
        "shared_prefix_same_artist": float(shared[alike].mean()),
        "shared_prefix_any": float(shared.mean()),
    }


def measure(
    world: World, parts: Retrieval, spent: dict[str, float], work: Path, variants: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Trains the variants of semantic ids that are missing, then all figures."""
    models: dict[str, Any] = {"two_tower": parts.two_tower, "sequence": parts.sequence}
    for name, settings in variants.items():
        models[f"semantic {name}"], spent[f"semantic {name}"] = semantic(world.data, work, name, settings)
    first: SemanticIds = models[f"semantic {next(iter(variants))}"]
    models["content_knn"] = ContentKnn.of(first.space, world.data.items)
    unheard = world.eligible & ~world.heard
    lists: dict[str, Lists] = {"any": {}, "unheard": {}}
    for name, model in models.items():
        lists["any"][name] = ranked(model, world, world.eligible, 100)
        lists["unheard"][name] = ranked(model, world, unheard, DEPTH)
        print(f"{name}: ranked", flush=True)
    pool = proposals(sources(parts), world)
    return {
        "alone": alone(world, lists),
        "added": additions(world, pool, lists["unheard"], "two_tower"),
        "training_cpu_s": spent,
        "ms": costs(world, first, parts),
        "codes": {name: code_figures(models[f"semantic {name}"]) for name in variants},
        "targets": {name: len(found.tracks) for name, found in world.cohorts().items()},
    }


def show(found: dict[str, Any]) -> None:
    for title in ("alone", "added"):
        rows = [
            [name, *(_cell(row.get(c)) for c in ALL_COHORTS)]
            for name, row in found[title].items()
            if name != "sizes"
        ]
        table([f"{title}, recall@100", *ALL_COHORTS], rows)
    table(["CPU ms a request", "p50", "p95"], [[n, m["p50"], m["p95"]] for n, m in found["ms"].items()])


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    text = f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
    return f"{text} {row['over']['value']:+.4f}" if "over" in row else text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", required=True)
    parser.add_argument("--work", type=Path, required=True, help="where trained models are kept")
    parser.add_argument("--window", choices=("valid", "test"), default="valid")
    parser.add_argument(
        "--release", help="of the home, such as v1: its own parts, the test window, none hidden"
    )
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--settings", default="{}", help="SemanticConfig fields as JSON")
    parser.add_argument("--cap", type=int, default=1500, help="requests")
    parser.add_argument("--tiny", action="store_true", help="peers with the settings of the tiny profile")
    parser.add_argument("--name", default="demo", help="of the world, for the result's file")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    home, settings = Home.of(given.home), json.loads(given.settings)
    variants = {name: {**settings, **VARIANTS[name]} for name in given.variants.split(",")}
    spent = dict[str, float]()
    if given.release:
        parts: Retrieval = LoadedRelease.load(home.releases / given.release)
        versions = read_manifest(home.releases / given.release).data
        world = hidden_world(load(Lake(home.lake), versions=versions), "test", given.cap, 0.0)
    else:
        world = hidden_world(load(Lake(home.lake)), given.window, given.cap, HIDDEN_SHARE)
        parts, spent = peers(world, given.work, given.tiny)
    found = measure(world, parts, spent, given.work, variants)
    show(found)
    name = "-".join(filter(None, ("semantic-ids", given.name, given.release or given.window)))
    print(write(name, {"settings": settings, "requests": len(world.task), **found}))


if __name__ == "__main__":
    main()
