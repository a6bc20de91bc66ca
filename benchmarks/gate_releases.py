"""Gross faults through real releases: a sign flip, stale features, a half-trained ranker, and the champion's twin.

Each release is made from the champion's files as a retraining leaves them (features' reference kept, scores'
dropped), so that only how it answers can give it away. Each run has its own sample of held-out sessions and listeners;
the champion's logs come from reacting listeners under a few lucks. A run goes on into a canary of live listeners where
no earlier stage stops it. What each release is truly worth is measured beside, by the truth.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ranking.model import Ranker
from recsys.dataset import load
from recsys.evaluation.true_value import true_value_rows
from recsys.features.stats import ItemStats
from recsys.home import Home
from recsys.lake import Lake
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import LiveSettings, LiveWorld, days
from serving import gate
from serving.cli.common import progress_bar
from serving.gating.settings import GateSettings
from serving.loaded import LoadedRelease
from serving.loop.place import made, profile_of, start_day
from serving.loop.policies import SETTINGS
from serving.loop.service_policy import ServicePolicy
from serving.offline import served_slates
from serving.recommender import Recommender
from serving.registry import CHAMPION, Registry, derived
from serving.service import Service

DAY = 86_400_000
LOG_DAYS, LUCKS = 3, 4
"""Days of the champion's own logs, and how many lucks of them there are: runs of one luck share them."""
TREES = 1
"""Of each model of a half-trained ranker."""
GATE = GateSettings.model_validate(
    {
        "smoke": {"queries": 8, "slower": 1000},  # the machine of a benchmark is shared
        "offline": {"queries": 120},
        "shadow": None,
        "canary": {"share": 0.25, "most_days": 8, "least_units": 40},
    }
)


def flipped(folder: Path, _home: Home) -> None:
    """The worst first."""
    path = folder / "ranking" / "ranker.json"
    record = json.loads(path.read_text())
    record["config"]["weights"] = {name: -w for name, w in record["config"]["weights"].items()}
    path.write_text(json.dumps(record))


def stale(folder: Path, _home: Home) -> None:
    """Statistics from before the catalog's numbers moved: each track has another one's."""
    old = ItemStats.load(folder / "stats")
    names = ("popularity", "territory", "skip_rate", "finish_rate")
    moved = {name: np.roll(getattr(old, name), len(old) // 2, axis=0) for name in names}
    shutil.rmtree(folder / "stats")
    replace(old, **moved).save(folder / "stats")


def half(folder: Path, _home: Home) -> None:
    """A ranker whose training ended after its first trees."""
    import lightgbm

    ranker = Ranker.load(folder / "ranking")

    cut = {
        name: lightgbm.Booster(model_str=booster.model_to_string(num_iteration=TREES))
        for name, booster in ranker.boosters.items()
    }
    shutil.rmtree(folder / "ranking")
    Ranker(ranker.names, cut, ranker.calibrators, ranker.config).save(folder / "ranking")


MADE: dict[str, Callable[[Path, Home], None]] = {
    "sign flip": flipped,
    "stale features": stale,
    "half-trained": half,
    "twin": lambda _folder, _home: None,
}


def challenger(home: Home, change: Callable[[Path, Home], None]) -> str:
    """Registers the champion, changed; its version."""
    champion = Registry(home).get(CHAMPION)
    reference = LoadedRelease.load(champion.folder).reference

    def changed(folder: Path) -> None:
        change(folder, home)
        if reference is not None:
            reference.without_scores().save(folder)

    return derived(home, champion, changed).version


def truths(home: Home, versions: dict[str, str]) -> dict[str, dict[str, float]]:
    """True value of each release's pages, with its interval."""
    served = {
        name: served_slates(Recommender(LoadedRelease.load(Registry(home).folder(v))))
        for name, v in versions.items()
    }
    rows = true_value_rows(home, load(Lake(home.lake)), {}, served, probes=400, progress=lambda *_: None)
    return {
        r.model: {"value": r.value, "low": r.low, "high": r.high}
        for r in rows
        if r.model in versions and r.metric == "true_value" and r.cohort == "all"
    }


def releases(source: Path, work: Path, runs: int, twins: int = 2) -> None:
    """All runs that are not in `releases.jsonl` yet."""
    from benchmarks.gate import read

    home = Home.of(source)
    work.mkdir(parents=True, exist_ok=True)
    day = start_day(home, profile_of(home))
    path = work / "releases.jsonl"
    done = {(row["challenger"], row["seed"]) for row in read(path)}
    total = runs * (len(MADE) - 1) + twins
    _truth(home, work, day)
    with progress_bar("runs through releases") as update, path.open("ab") as lines:
        for luck in range(LUCKS):
            pairs = [(name, seed) for seed in range(luck, runs, LUCKS) for name in MADE if name != "twin"]
            pairs += [("twin", seed) for seed in range(luck, twins, LUCKS)]
            wanted = [pair for pair in pairs if pair not in done]
            if not wanted:
                continue
            world, logged = _logged(home, work, day, luck)
            for name, seed in wanted:
                lines.write(orjson.dumps(_run(world, logged, name, seed)) + b"\n")
                lines.flush()
                done.add((name, seed))
                update(len(done), total)
            shutil.rmtree(logged.root)


def _truth(source: Home, work: Path, day: int) -> None:
    path = work / "release_truth.json"
    if path.exists():
        return
    home = made(source, work / "truth-home", day, profile_of(source))
    versions = {"champion": Registry(home).get(CHAMPION).version}
    versions |= {name: challenger(home, change) for name, change in MADE.items() if name != "twin"}
    path.write_bytes(orjson.dumps(truths(home, versions), option=orjson.OPT_INDENT_2))
    shutil.rmtree(home.root)


def _logged(source: Home, work: Path, day: int, luck: int) -> tuple[LiveWorld, Home]:
    """A home of its own in which the champion has answered for some days, under one luck."""
    at = work / f"home-{luck}"
    shutil.rmtree(at, ignore_errors=True)
    profile = profile_of(source)
    home = made(source, at, day, profile)
    world = LiveWorld.at(profile, Catalog.load(source.world / "catalog.npz"), day)
    world.luck = luck
    _live(home, world, LOG_DAYS)
    return world, home


def _live(home: Home, world: LiveWorld, count: int) -> None:
    with Service.open(home, SETTINGS, background=False) as service:
        list(days(world, ServicePolicy(service, world.track_ids), LiveSettings(measured=0), count))
    shutil.rmtree(home.log)


def _run(world: LiveWorld, logged: Home, name: str, seed: int) -> dict[str, Any]:
    """One release through the gate; a canary lives in a copy of the home and of the listeners."""
    import copy

    # A path of its own each time: MLflow keeps connections to databases by their path.
    at = logged.root.with_name(f"{logged.root.name}-{name.replace(' ', '-')}-{seed}")
    shutil.rmtree(at, ignore_errors=True)
    home = Home.of(shutil.copytree(logged.root, at))
    world = copy.deepcopy(world)
    version = challenger(home, MADE[name])
    now = world.epoch_ms + world.day * DAY + DAY // 4
    state = gate.begin(home, version, GATE.model_copy(update={"seed": seed}), now)
    state = gate.step(home, state.name, now, SETTINGS)
    lived = 0
    while state.status == "running" and lived < GATE.canary.most_days + 1:
        _live(home, world, 1)
        lived += 1
        state = gate.step(home, state.name, now + lived * DAY, SETTINGS)
    shutil.rmtree(home.root)
    wide = bool(state.plan.get("wide"))
    last = state.stages[-1]
    return {
        "challenger": name,
        "seed": seed,
        "promoted": state.status == "promoted",
        "stage": "wide" if wide else last.name,
        "rule": state.rule,
        "sentence": state.sentence,
        "days": lived,
        "stages": {s.name: [(c.rule, c.outcome, c.sentence) for c in s.checks] for s in state.stages},
    }
