"""Queries of similarity hold out what they say, and the measures are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.model_rows import Hits
from benchmarks.similar_items import SIMILAR
from benchmarks.similarity_tables import SEEDS_EACH, ask
from recsys.evaluation.evaluate import top_lists
from recsys.evaluation.ordered import TEST_MS, catalog, ordered
from recsys.evaluation.ragged import Ragged

COUNTED = [name for name in SIMILAR if not name.startswith("two-tower")]


@pytest.fixture(scope="module")
def data():
    """Artists 0 to 5 in two circles (even and odd), 6 unplayed; 30 listeners with three artists each."""
    rng = np.random.default_rng(0)
    lists = np.concatenate([2 * rng.permutation(3) + j % 2 for j in range(30)])
    sequences = Ragged(np.arange(0, 91, 3), lists.astype(np.int32))
    return ordered(sequences, sequences.counts, catalog(list("abcdefg"), [None] * 7))


@pytest.fixture(scope="module")
def asked(data):
    held = Ragged(np.array([0, 3, 5, 6]), np.array([0, 2, 6, 1, 3, 4], np.int32))
    return ask(data, TEST_MS, held, seed=0)


def test_a_seed_is_known_and_all_others_of_its_list_are_targets(asked):
    seeds = asked.task.batch.histories.track
    assert sorted(seeds.tolist()) == [0, 1, 2, 3]  # 6 is unplayed, the list of 4 alone asks nothing
    wanted = {0: [2, 6], 2: [0, 6], 1: [3], 3: [1]}
    for j, seed in enumerate(seeds.tolist()):
        assert sorted(asked.task.targets.row(j).tolist()) == wanted[seed]
    assert asked.units.tolist() == [0, 0, 1, 1]
    unseen = asked.task.cohorts["unseen"]
    assert unseen.targets.tracks.tolist() == [6, 6]
    assert asked.task.cohorts["seen"].targets.counts.tolist() == [1, 1, 1, 1]


def test_no_list_asks_more_than_its_share(data):
    held = Ragged(np.array([0, 6]), np.arange(6, dtype=np.int32))
    assert len(ask(data, TEST_MS, held, seed=0).task) == SEEDS_EACH


@pytest.mark.parametrize("name", [name for name in COUNTED if name != "popularity"])
def test_what_was_played_together_comes_first_and_the_seed_never(name, data, asked):
    settings = SIMILAR[name].grid[0]
    if "embedding_dim" in settings:
        settings = settings | {"embedding_dim": 4}
    model = SIMILAR[name].fit(data, TEST_MS, settings)
    top = top_lists({"m": model}, asked.task, 20).lists["m"]
    seeds = asked.task.batch.histories.track
    assert (top[:, :2] % 2 == seeds[:, None] % 2).all()
    assert (top != seeds[:, None]).all()
    found = asked.task.cohorts["seen"]
    assert Hits.of(top[found.rows], found.targets).values("recall@10").mean() == 1


def test_conditional_probability_and_lift_are_counted_right(data):
    """Artists 0, 2, 4 are played by the same 15 listeners, so P(2 | 0) is 1 and the lift 1 over the count."""
    query = ask(data, TEST_MS, Ragged(np.array([0, 2]), np.array([0, 2], np.int32)), seed=0).task.batch
    row = int(np.flatnonzero(query.histories.track == 0)[0])
    plain = SIMILAR["conditional probability"].fit(data, TEST_MS, {"damping": 0.0, "shrinkage": 0.0})
    lift = SIMILAR["lift"].fit(data, TEST_MS, {"damping": 1.0, "shrinkage": 0.0})
    np.testing.assert_allclose(plain.score(query)[row][[2, 4, 1]], [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(lift.score(query)[row][[2, 4, 1]], [1 / 15, 1 / 15, 0], atol=1e-6)
