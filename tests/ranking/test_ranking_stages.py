"""The light scorer and the ranker as stages of the candidate pipeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ranking.config import LightConfig, RankerConfig, UtilityWeights
from ranking.labels import owner_of, session_starts
from ranking.light import LightRanker, light_features, light_names, train_light
from ranking.scorer import LightScorer, PairHydrator, RankScorer, reweighted
from ranking.train import train
from recsys.errors import BadInput, ReleaseRefused
from recsys.features.stats import item_stats
from recsys.pipeline import Candidates, Truncate, apply
from recsys.types import QueryBatch

CONFIG = RankerConfig(num_trees=10, min_data_in_leaf=40)
LIGHT = LightConfig(columns=("two_tower", "source:some"))


@pytest.fixture
def batch(world) -> QueryBatch:
    data = world.data
    rows = session_starts(data, world.since, data.split.test)[:6]
    users = owner_of(data, rows)
    histories = data.plays.slices(data.plays.offsets[users], rows)
    now = data.plays.start[rows]
    return QueryBatch(histories, now, data.plays.hour[rows], data.country[users], data.plays.device[rows])


@pytest.fixture
def candidates(world, batch) -> Candidates:
    found = world.retrieve(batch)
    columns = world.inputs(CONFIG).hydrate(batch, found)
    half = np.where(np.arange(len(found)) % 2 == 0, 1.5, np.nan).astype(np.float32)
    return replace(found, columns={**columns, "source:some": half})


@pytest.fixture
def light(batch, candidates) -> LightRanker:
    x = light_features(batch, candidates, LIGHT.columns)
    return train_light(x, (candidates.columns["two_tower"] > 0).astype(np.int8), np.ones(len(x)), LIGHT)


def test_the_whole_ladder_scores_every_candidate(world, batch, candidates, light, synthetic):
    stats = item_stats(world.data.plays, world.data.country, world.data.items, world.since)
    ranker = train(synthetic(2000), CONFIG)
    stages = (
        LightScorer(light),
        Truncate("light", 30),
        PairHydrator(world.data.items, stats),
        RankScorer(ranker),
    )
    for stage in stages:
        candidates = apply(stage, batch, candidates)
    assert np.all(candidates.counts() <= 30)
    for column in ("p_finish", "p_skip", "p_save", "p_play", "utility"):
        assert np.isfinite(candidates.columns[column]).all()
    for column in ("p_finish", "p_skip", "p_save", "p_play"):
        assert np.all((candidates.columns[column] > 0) & (candidates.columns[column] < 1))
    finish_only = apply(
        reweighted(RankScorer(ranker), UtilityWeights(streamed=0, skip=0, save=0, play=0)), batch, candidates
    )
    np.testing.assert_allclose(finish_only.columns["utility"], candidates.columns["p_finish"])


def test_a_score_does_not_depend_on_the_other_requests(world, batch, candidates, light, synthetic):
    stats = item_stats(world.data.plays, world.data.country, world.data.items, world.since)
    stages = (
        LightScorer(light),
        PairHydrator(world.data.items, stats),
        RankScorer(train(synthetic(2000), CONFIG)),
    )
    together, alone = candidates, candidates.of(3)
    for stage in stages:
        together, alone = apply(stage, batch, together), apply(stage, batch.take(np.array([3])), alone)
    for column in ("light", "utility"):
        np.testing.assert_allclose(alone.columns[column], together.of(3).columns[column], rtol=1e-6)


def test_the_light_scorer_learns_what_is_played(candidates, light, batch):
    score = light.score(batch, candidates)
    played = candidates.columns["two_tower"] > 0
    assert score[played].min() > score[~played].max()


def test_a_saved_light_scorer_loads_equal_and_a_damaged_one_is_refused(light, batch, candidates, tmp_path):
    light.save(tmp_path)
    np.testing.assert_array_equal(
        LightRanker.load(tmp_path).score(batch, candidates), light.score(batch, candidates)
    )
    path = tmp_path / "light.json"
    path.write_text(path.read_text().replace("track_skips", "track_hops"))
    with pytest.raises(ReleaseRefused, match="retrain"):
        LightRanker.load(tmp_path)
    path.write_text(path.read_text()[:40])
    with pytest.raises(ReleaseRefused, match="rebuild"):
        LightRanker.load(tmp_path)


def test_a_column_that_is_absent_counts_as_not_there(batch, candidates):
    x = light_features(batch, candidates, ("two_tower", "nowhere"))
    named = dict(zip(light_names(("two_tower", "nowhere")), x.T, strict=True))
    assert not named["nowhere:here"].any()
    assert named["two_tower:here"].all()


def test_labels_of_one_kind_cannot_train_a_light_scorer():
    with pytest.raises(BadInput, match="longer window"):
        train_light(np.zeros((3, 2)), np.zeros(3, np.int8), np.ones(3), LIGHT)
