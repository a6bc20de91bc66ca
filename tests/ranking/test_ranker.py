"""The ranker: learns, is calibrated, explains itself, survives a round trip, refuses damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ranking.calibration import expected_calibration_error
from ranking.config import OBJECTIVES, OUTCOMES, RankerConfig, UtilityWeights
from ranking.lambdamart import LambdaMart, train_lambdamart
from ranking.model import Ranker, utility
from ranking.train import rows_of, train
from recsys.errors import BadInput, ReleaseRefused
from recsys.rewards import RewardWeights

CONFIG = RankerConfig(num_trees=30, min_data_in_leaf=40)


@pytest.fixture(scope="module")
def trained():
    return {}


@pytest.fixture
def ranker(synthetic, trained):
    if "ranker" not in trained:
        trained["ranker"] = train(synthetic(8000), CONFIG)
    return trained["ranker"]


def test_it_finds_what_matters_and_is_calibrated_on_new_slots(ranker, synthetic):
    new = synthetic(8000, seed=9, slots=1.0)
    p = ranker.probabilities(new.features, "home")
    truth = 1 / (1 + np.exp(-(2 * new.features[:, 0] - 1)))
    assert np.corrcoef(p["finish"], truth)[0, 1] > 0.95
    for objective in OUTCOMES:
        assert expected_calibration_error(p[objective], new.labels[objective]) < 0.045
    candidates = synthetic(8000, seed=9, slots=0.0)
    p_play = ranker.probabilities(candidates.features, "home")["play"]
    assert expected_calibration_error(p_play, candidates.labels["play"]) < 0.045


def test_outcomes_learn_from_plays_and_play_from_retrieved_rows(synthetic):
    examples = synthetic(1000)
    assert rows_of(examples, "skip").played.all()
    assert rows_of(examples, "play").retrieved.all()
    assert np.isnan(rows_of(examples, "play").features[:, -1]).all()
    assert set(rows_of(examples, "skip").features[:, -1].tolist()) == {0, 3}


def test_the_utility_follows_its_weights_without_retraining(ranker, synthetic):
    p = ranker.probabilities(synthetic(50).features, "home")
    nothing = dict.fromkeys(("finish", "streamed", "skip", "save", "play"), 0.0)
    assert np.allclose(utility(p, UtilityWeights(**nothing | {"skip": -1})), -p["skip"])
    both = UtilityWeights(**nothing | {"finish": 2, "save": 3})
    assert np.allclose(utility(p, both), 2 * p["finish"] + 3 * p["save"])
    with pytest.raises(ValidationError):
        UtilityWeights(finnish=1)


def test_the_declared_utility_is_the_expected_reward_of_a_play():
    ours, theirs = UtilityWeights(), RewardWeights()
    assert (ours.finish, ours.streamed, ours.skip, ours.save) == (
        theirs.finished,
        theirs.streamed,
        theirs.skipped,
        theirs.saved,
    )


def test_contributions_add_up_to_the_score(ranker, synthetic):
    x = synthetic(20).features
    full = np.asarray(ranker.boosters["finish"].predict(x, raw_score=True))
    parts = ranker.explain(x, "finish")
    assert parts.shape == x.shape
    assert np.ptp(full - parts.sum(axis=1)) < 1e-6  # the same base value for every row
    assert np.argmax(np.abs(parts).mean(axis=0)) == 0


def test_the_same_seed_and_threads_give_the_same_trees(synthetic):
    small = CONFIG.model_copy(update={"num_trees": 5})
    a, b = (train(synthetic(1000), small) for _ in range(2))
    assert all(a.boosters[o].model_to_string() == b.boosters[o].model_to_string() for o in OBJECTIVES)


def test_a_saved_ranker_loads_equal(ranker, synthetic, tmp_path):
    ranker.save(tmp_path)
    x = synthetic(100).features
    loaded = Ranker.load(tmp_path)
    assert loaded.names == ranker.names
    for objective, p in ranker.probabilities(x, "home").items():
        np.testing.assert_array_equal(loaded.probabilities(x, "home")[objective], p)


@pytest.mark.parametrize("name", ["finish.txt", "ranker.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_file_is_refused(ranker, tmp_path, name, damage):
    ranker.save(tmp_path)
    path = tmp_path / name
    if damage == "remove":
        path.unlink()
    else:
        path.write_text(path.read_text()[: path.stat().st_size // 2])
    with pytest.raises(ReleaseRefused, match="rebuild"):
        Ranker.load(tmp_path)


def test_swapped_files_are_refused(ranker, tmp_path):
    ranker.save(tmp_path)
    (tmp_path / "skip.txt").write_text((tmp_path / "finish.txt").read_text())
    with pytest.raises(ReleaseRefused, match=r"skip\.txt"):
        Ranker.load(tmp_path)


def test_other_features_than_in_training_are_refused(ranker):
    with pytest.raises(BadInput, match="retrain"):
        ranker.probabilities(np.zeros((2, 3), np.float32), "home")


def test_a_log_without_logged_slots_or_saves_still_trains(synthetic):
    examples = synthetic(2000, slots=0.0)
    examples.labels["save"][:] = 0
    p = train(examples, CONFIG).probabilities(examples.features, "radio")
    assert p["save"].max() < 0.01
    assert p["finish"].std() > 0.1


def test_lambdamart_orders_the_same_rows(synthetic, tmp_path):
    examples = synthetic(4000)
    model = train_lambdamart(examples, CONFIG)
    score = model.utility(examples.features)
    assert np.corrcoef(score, examples.features[:, 0] + examples.features[:, 1])[0, 1] > 0.6
    model.save(tmp_path)
    np.testing.assert_array_equal(LambdaMart.load(tmp_path).utility(examples.features), score)
    (tmp_path / "lambdamart.txt").write_text("tree")
    with pytest.raises(ReleaseRefused):
        LambdaMart.load(tmp_path)
