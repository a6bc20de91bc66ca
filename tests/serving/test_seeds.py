"""Incremental training from a release: which may be started from, and what the next release says of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.two_tower.model import TwoTower
from models.two_tower.train import train
from recsys.errors import NotReady, ReleaseRefused, UnknownId
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.marks import Mark, Marks
from serving import seeds
from serving.recipe import Recipe, RecipeConfig, silent
from serving.registry import Registry

MARK = Mark("a listener was erased", 0, 40 * MS_PER_DAY)


@pytest.fixture
def home(tiny_home: Home, tmp_path: Path) -> Home:
    kept = shutil.ignore_patterns("log", "state.sqlite*", "features", "mlartifacts", "reports")
    return Home.of(shutil.copytree(tiny_home.root, tmp_path / "home", ignore=kept))


def test_a_release_is_found_by_version_alias_or_as_the_latest(home: Home) -> None:
    assert {seeds.find(home, name).version for name in ("1", "champion", "latest")} == {"1"}
    with pytest.raises(UnknownId, match="recsys release list"):
        seeds.find(home, "99")


def test_a_release_that_learned_from_somebody_erased_is_never_a_seed(home: Home) -> None:
    Marks(home.releases).add(["1"], MARK)
    with pytest.raises(ReleaseRefused, match="train from scratch"):
        seeds.find(home, "champion")
    with pytest.raises(NotReady, match="without --from"):
        seeds.find(home, "latest")


@pytest.mark.slow
def test_training_goes_on_from_a_release_and_the_next_release_names_it(home: Home) -> None:
    small = RecipeConfig.of("tiny").model_dump(mode="json")
    small["two_tower"] |= {"epochs": 1, "incremental_epochs": 1}
    recipe = Recipe(home, RecipeConfig.model_validate(small), lambda _text: None, silent)
    old = train(recipe.data, recipe.data.split.valid - 7 * MS_PER_DAY, recipe.config.two_tower)
    old.save(Registry(home).folder("1") / "two_tower")  # release 1 as it would have been a week ago
    done = recipe.two_tower(force=True, start="1")
    assert done.result["lineage"] == ["1"]
    model = TwoTower.load(done.folder, recipe.data.items)
    assert model.lineage[0].until_ms == old.until_ms
    assert model.until_ms == recipe.data.split.valid
    assert recipe.two_tower().resumed  # later steps take it as it is
    Marks(home.releases).add(["1"], MARK)
    with pytest.raises(ReleaseRefused, match="train from scratch"):
        recipe.release(force=True)
