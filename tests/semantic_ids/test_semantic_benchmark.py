"""What benchmarks.semantic_ids counts: nothing of a hidden track's past is left, and pools of one size are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.semantic_ids import code_figures, milliseconds
from benchmarks.semantic_lists import ContentKnn, additions, alone, ranked
from benchmarks.semantic_world import World, hidden_world
from recsys.dataset import Split

DAY, START = 86_400_000, 20_000 * 86_400_000


@pytest.fixture(scope="module")
def window(world) -> World:
    data = replace(world.data, split=Split(START + 5 * DAY, START + 7 * DAY, START + 9 * DAY))
    return hidden_world(data, "valid", 60, 0.1)


def test_hidden_tracks_have_no_past_and_every_target_has_its_cohort(window: World) -> None:
    plays, start = window.data.plays, window.data.split.valid
    assert window.hidden.sum() == 11
    assert not window.hidden[plays.track[plays.start < start]].any()
    assert not window.plays[window.hidden].any()
    cohorts = window.cohorts()
    assert window.hidden[cohorts["hidden"].tracks].all()
    assert window.tail[cohorts["tail"].tracks].all()
    assert (window.plays[cohorts["released"].tracks] == 0).all()
    new = cohorts["new"]
    assert not window.heard[new.owner, new.tracks].any()
    assert len(cohorts["hidden"].tracks) > 0


def test_an_oracle_finds_and_adds_everything_and_a_list_of_the_pool_nothing(window: World) -> None:
    n = len(window.data.items)
    wanted = np.zeros((len(window.task), n), bool)
    wanted[window.task.targets.owner, window.task.targets.tracks] = True
    oracle = np.argsort(-wanted.astype(float), axis=1, kind="stable")
    pool = window.eligible & (np.arange(n) % 2 == 0)
    known = np.argsort(-pool.astype(float), axis=1, kind="stable")[:, :40]
    found = additions(window, pool, {"oracle": oracle, "known": known}, "known", k=30)
    for cohort in ("new", "hidden"):
        reached = found["pool"][cohort]["value"] + found["oracle"][cohort]["value"]
        assert reached == pytest.approx(1)
        assert found["known"][cohort]["value"] == 0
        assert 0 < found["random"][cohort]["value"] < found["oracle"][cohort]["value"]
        assert found["oracle"][cohort]["over"]["low"] > 0
    assert found["sizes"]["oracle"] == found["sizes"]["random"] == 30
    lists = {"any": {"oracle": oracle}, "unheard": {"oracle": oracle}}
    assert alone(window, lists, k=n)["oracle"]["all"]["value"] == 1


def test_the_model_beats_chance_and_its_figures_are_whole(world, window: World) -> None:
    unheard = window.eligible & ~window.heard
    lists = ranked(world.model, window, unheard, 30)
    taste = ranked(ContentKnn.of(world.model.space, window.data.items), window, unheard, 30)
    assert (world.genre[lists] == (window.task.listener % 6)[:, None]).mean() > 0.5
    assert (world.genre[taste] == (window.task.listener % 6)[:, None]).mean() > 0.5
    figures = code_figures(world.model)
    assert figures["shared_prefix_same_artist"] > figures["shared_prefix_any"]
    assert milliseconds(world.model.encode, window, 3)["p50"] > 0
