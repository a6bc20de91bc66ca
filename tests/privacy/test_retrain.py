"""What is trained after an erasure equals, byte for byte, what is trained where the rows were never written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.sequence import train as sequences
from models.sequence.config import SequenceConfig
from models.two_tower import train as two_tower
from models.two_tower.config import TwoTowerConfig
from ranking.config import RankerConfig
from recsys.dataset import load
from recsys.engines import open_log, open_store
from recsys.events import Event
from recsys.features.backfill import backfill
from recsys.features.stats import item_stats
from recsys.home import Home
from recsys.ingest import move
from recsys.lake import Lake
from serving.privacy.wiring import privacy_of
from serving.recipe import Recipe, RecipeConfig, silent

FAST = RecipeConfig.of("tiny").model_copy(
    update={
        "two_tower": TwoTowerConfig(epochs=1, batch_size=256, uniform_negatives=64, embedding_dim=16),
        "sequence": SequenceConfig(epochs=1, batch_size=16, mixing_steps=2, embedding_dim=16, max_length=20),
    }
)
WHOLE = RecipeConfig.of("tiny").model_copy(
    update={"ranker": RankerConfig(queries=400, impressions=4_000, num_trees=20), "reference_queries": 100}
)
_VARIES = {"costs.json", "report.json"}
"""Times that the index took on this machine, and the settings that were chosen by them."""


def people(lake: Lake, count: int) -> list[str]:
    """Some listeners with a middling number of plays; the second is the one to be erased."""
    data = load(lake)
    rows = sorted(zip(np.diff(data.plays.offsets).tolist(), data.user_ids, strict=True))
    return [user for _, user in rows[len(rows) // 2 :][:count]]


def home_with(source: Home, folder: Path, users: list[str]) -> Home:
    """A home whose lake has these listeners alone; their last days came through the event log."""
    home = Home.of(folder).make()
    for name in ("catalog.sqlite", "mlflow.sqlite"):
        shutil.copy(source.root / name, home.root)
    ours = {"events", "listener_profiles", "listeners"}
    shutil.copytree(source.lake, home.lake, ignore=lambda _, names: set(names) & ours, dirs_exist_ok=True)
    theirs, lake = pl.col("user_id").is_in(users), Lake(home.lake)
    lake.append("listeners", Lake(source.lake).scan("listeners").filter(theirs).collect())
    rows = Lake(source.lake).scan("events").filter(theirs, pl.col("session_id").is_not_null()).collect()
    cut = rows.select(pl.col("ts").max() - timedelta(days=1)).item()
    lake.append("events", rows.filter(pl.col("ts") < cut))
    log = open_log(home)
    late = rows.filter(pl.col("ts") >= cut).drop("day").sort("ts", "event_id")
    log.append([Event.model_validate({k: v for k, v in r.items() if v is not None}) for r in late.to_dicts()])
    move(log, lake)
    log.close()
    return home


def pair(source: Home, folder: Path, count: int) -> tuple[Home, Home]:
    """A home from which a listener was erased, and one that never had them."""
    users = people(Lake(source.lake), count)
    gone, rest = users[1], [users[0], *users[2:]]
    erased = home_with(source, folder / "erased", users)
    assert gone in load(Lake(erased.lake)).user_ids
    privacy = privacy_of(erased)
    privacy.run(privacy.request(gone, 0).id, lambda: 0)
    return erased, home_with(source, folder / "never", rest)


@pytest.fixture(scope="module")
def homes(untouched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Home]:
    return pair(Home.of(untouched_root), tmp_path_factory.mktemp("pair"), 30)


def files_of(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: body for name, body in found.items() if Path(name).name not in _VARIES}


def differing(a: Path, b: Path) -> list[str]:
    """Names of files that differ, or that only one folder has; at least one file must be there."""
    left, right = files_of(a), files_of(b)
    assert left
    return [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]


def test_what_models_read_is_the_same(homes: tuple[Home, Home]) -> None:
    a, b = (load(Lake(home.lake)) for home in homes)
    assert a.user_ids == b.user_ids
    assert a.split == b.split
    for name in ("offsets", "track", "start", "outcome", "ms_played", "session", "hour", "device", "surface"):
        np.testing.assert_array_equal(getattr(a.plays, name), getattr(b.plays, name))
    states = [{s.user_id: s for s in backfill(Lake(home.lake))} for home in homes]
    assert states[0] == states[1]
    assert len(states[0]) == 29


def test_models_trained_from_scratch_are_the_same_to_the_byte(homes: tuple[Home, Home]) -> None:
    for home in homes:
        data = load(Lake(home.lake))
        rest = (lambda _step, _metrics: None, lambda _done, _all: None)
        tower = two_tower.train(data, data.split.valid, FAST.two_tower, *rest)
        made(home.work / "two_tower", tower.save)
        sequence = sequences.train(data, data.split.valid, FAST.sequence, *rest)
        made(home.work / "sequence", sequence.save)
        stats = item_stats(data.plays, data.country, data.items, data.split.end)
        made(home.work / "stats", stats.save)
    for part in ("two_tower", "sequence", "stats"):
        assert differing(homes[0].work / part, homes[1].work / part) == []


def made(folder: Path, save: Callable[[Path], object]) -> None:
    folder.mkdir(parents=True)
    save(folder)


@pytest.mark.slow
def test_whole_releases_are_the_same_to_the_byte(untouched_root: Path, tmp_path: Path) -> None:
    """All parts, ranker and features too; of the index what does not depend on how fast this machine is."""
    homes = pair(Home.of(untouched_root), tmp_path, 477)
    for home in homes:
        recipe = Recipe(home, WHOLE, lambda _: None, silent)
        recipe.states()
        recipe.release()
    for part in ("two_tower", "sequence", "ranker", "index"):
        assert differing(homes[0].work / part, homes[1].work / part) == []
    a, b = (max(home.releases.glob("v*")) for home in homes)  # the registry that was copied knows one already
    assert set(differing(a, b)) <= {"manifest.json"}  # versions of the lake: an erasure makes some
    features = [pl.read_parquet(home.features / "listener_profiles.parquet") for home in homes]
    key = ["user_id", "event_timestamp"]
    assert features[0].sort(key).equals(features[1].sort(key))
    stores = [open_store(home) for home in homes]
    keys = [store.keys(10_000) for store in stores]
    assert keys[0] == keys[1]
    assert stores[0].get_many(keys[0]) == stores[1].get_many(keys[1])


def test_an_unfinished_run_on_an_earlier_version_of_the_log_is_removed(tmp_path: Path) -> None:
    home = Home.of(tmp_path).make()
    recipe = Recipe(home, FAST, lambda _: None, silent)
    recipe.versions = {"events": 4}
    for name in ("sequence.3", "sequence.4", "semantic.3"):
        (home.work / f"{name}.checkpoint").mkdir(parents=True)
    assert recipe._checkpoints("sequence").exists()
    left = sorted(path.name for path in home.work.glob("*.checkpoint"))
    assert left == ["semantic.3.checkpoint", "sequence.4.checkpoint"]
