"""Semantic ids beside the other sources: what they find alone, and what they add to the home feed's candidates.

    python -m benchmarks.semantic_ids --home var --work FOLDER [--window valid] [--variants joint,content] [--cap 1500]

On a simulated home. Every model learns from plays before the validation window, whichever window is measured; from
5% of the played tracks, drawn by seed, everything before the measured window is taken away, so that they are cold
beside the tracks that really came out later. A request stands at the start of a session; its targets are the distinct
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
from benchmarks.semantic_world import World, hidden_world
from models.semantic_ids import SemanticConfig, SemanticIds
from models.sequence.config import SequenceConfig
from models.sequence.model import SequenceModel
from models.two_tower import TwoTower, TwoTowerConfig
from recsys.dataset import Dataset
from recsys.features.stats import item_stats
from recsys.types import QueryBatch

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


def peers(data: Dataset, work: Path, tiny: bool) -> dict[str, tuple[Any, float]]:
    """The product's two models, with the settings that ship."""
    from models.sequence.train import train as train_sequence
    from models.two_tower.train import train as train_tower
    from serving.recipe import RecipeConfig

    config = RecipeConfig.of("tiny" if tiny else "demo")
    tower: TwoTowerConfig = config.two_tower
    sequence: SequenceConfig = config.sequence
    until, items = data.split.valid, data.items
    return {
        "two_tower": kept(
            work / "two_tower",
            lambda f: TwoTower.load(f, items),
            lambda: train_tower(data, until, tower),
            tower,
        ),
        "sequence": kept(
            work / "sequence",
            lambda f: SequenceModel.load(f, items),
            lambda: train_sequence(data, until, sequence, checkpoint_dir=work / "sequence.checkpoint"),
            sequence,
        ),
    }


def semantic(data: Dataset, work: Path, variant: str, settings: dict[str, Any]) -> tuple[SemanticIds, float]:
    from models.semantic_ids.train import train

    config = SemanticConfig(**{**settings, **VARIANTS[variant]})
    folder = work / f"semantic_{variant}_{config.seed}"
    return kept(
        folder,
        lambda f: SemanticIds.load(f, data.items),
        lambda: train(data, data.split.valid, config, checkpoint_dir=work / f"{folder.name}.checkpoint"),
        config,
    )


def pool_of(world: World, tower: TwoTower, sequence: SequenceModel) -> Any:
    """What the home feed's own sources propose to each request."""
    from recsys.index import build
    from serving.loaded import Retrieval
    from serving.surfaces.home import sources

    data = world.data
    some = world.task.batch.take(np.arange(min(20, len(world.task))))
    retrieval = Retrieval(
        items=data.items,
        stats=item_stats(data.plays, data.country, data.items, data.split.valid),
        two_tower=tower,
        index=build(tower.item_vectors, tower.encode(some)),
        sequence=sequence,
    )
    return proposals(sources(retrieval), world), retrieval.index


def milliseconds(answer: Callable[[QueryBatch], Any], world: World, requests: int = 200) -> dict[str, float]:
    """Median and 95th percentile of the CPU time of one request."""
    spent = []
    for row in range(min(requests, len(world.task))):
        batch = world.task.batch.take(np.array([row]))
        begin = process_time()
        answer(batch)
        spent.append((process_time() - begin) * 1000)
    return {"p50": float(np.median(spent)), "p95": float(np.quantile(spent, 0.95))}


def costs(world: World, model: SemanticIds, tower: TwoTower, sequence: SequenceModel, index: Any) -> Any:
    """CPU ms a request for 100 candidates, and the share of the exact 100 that a beam finds."""
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


def measure(world: World, work: Path, variants: list[str], settings: dict[str, Any], tiny: bool) -> Any:
    """Trains what is missing, then all figures."""
    trained = peers(world.data, work, tiny)
    for variant in variants:
        trained[f"semantic {variant}"] = semantic(world.data, work, variant, settings)
    first: SemanticIds = trained[f"semantic {variants[0]}"][0]
    models = {name: model for name, (model, _) in trained.items()}
    models["content_knn"] = ContentKnn.of(first.space, world.data.items)
    unheard = world.eligible & ~world.heard
    lists: dict[str, Lists] = {"any": {}, "unheard": {}}
    for name, model in models.items():
        lists["any"][name] = ranked(model, world, world.eligible, 100)
        lists["unheard"][name] = ranked(model, world, unheard, DEPTH)
        print(f"{name}: ranked", flush=True)
    pool, index = pool_of(world, models["two_tower"], models["sequence"])
    return {
        "alone": alone(world, lists),
        "added": additions(world, pool, lists["unheard"], "two_tower"),
        "training_cpu_s": {name: spent for name, (_, spent) in trained.items()},
        "ms": costs(world, first, models["two_tower"], models["sequence"], index),
        "codes": {v: code_figures(models[f"semantic {v}"]) for v in variants},
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
    from recsys.dataset import load
    from recsys.home import Home
    from recsys.lake import Lake

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", required=True)
    parser.add_argument("--work", type=Path, required=True, help="where trained models are kept")
    parser.add_argument("--window", choices=("valid", "test"), default="valid")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--settings", default="{}", help="SemanticConfig fields as JSON")
    parser.add_argument("--cap", type=int, default=1500, help="requests")
    parser.add_argument("--tiny", action="store_true", help="peers with the settings of the tiny profile")
    parser.add_argument("--name", default="demo", help="of the world, for the result's file")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    world = hidden_world(load(Lake(Home.of(given.home).lake)), given.window, given.cap)
    settings = json.loads(given.settings)
    found = measure(world, given.work, given.variants.split(","), settings, given.tiny)
    show(found)
    print(write(f"semantic-ids-{given.name}-{given.window}", {"settings": settings, **found}))


if __name__ == "__main__":
    main()
