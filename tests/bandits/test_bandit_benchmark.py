"""The regret benchmark is fair and can be cut off: same streams, same grids, games that are not played again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import bandit_players
from benchmarks.bandit_worlds import ARMS, STEPS, WORLDS, record, uniform_regret
from benchmarks.peers import bandit_players as peers
from benchmarks.peers.bandit_play import Stream, load, play, run_all


@pytest.mark.parametrize("world", WORLDS)
def test_a_stream_is_recorded_with_its_truth_and_read_back(tmp_path, world):
    stream = record(tmp_path, world, 3)
    assert stream.expected.shape == stream.rewards.shape == (STEPS, ARMS)
    assert ((stream.expected > 0) & (stream.expected < 1)).all()
    assert set(np.unique(stream.rewards)) == {0.0, 1.0}
    assert abs(stream.rewards.mean() - stream.expected.mean()) < 0.02
    assert (stream.contexts[:, -1] == 1).all()
    for again in (load(tmp_path, world, 3), record(tmp_path, world, 3)):
        assert all(np.array_equal(a, b) for a, b in zip(stream, again, strict=True))
    assert uniform_regret(stream) > 0.1 * STEPS


def test_every_method_ours_and_peers_has_a_grid_of_the_same_size():
    grids = {**bandit_players.GRIDS, **peers.GRIDS}
    assert {len(grid) for grid in grids.values()} == {4}
    assert all(len({json.dumps(s) for s in grid}) == 4 for grid in grids.values())


def test_games_are_scored_against_the_best_arm_and_never_played_twice(tmp_path):
    expected = np.tile([0.2, 0.5, 0.9], (30, 1))
    stream = Stream(np.ones((30, 1)), np.ones((30, 3)), expected)
    np.savez(tmp_path / "flat-0.npz", **stream._asdict())
    made = []

    class Second:
        def select(self, x):
            return 1, 1.0

        def update(self, x, arm, reward, probability):
            assert (arm, reward, probability) == (1, 1.0, 1.0)

    def make(setting, dim, arms, seed):
        made.append((setting, dim, arms, seed))
        return Second()

    wanted = [["second", {"a": 1}, "flat", 0], ["second", {"a": 2}, "flat", 0]]
    out = tmp_path / "games.jsonl"
    run_all(wanted[:1], {"second": make}, tmp_path, out)
    run_all(wanted, {"second": make}, tmp_path, out)
    assert made == [({"a": 1}, 1, 3, 0), ({"a": 2}, 1, 3, 0)]
    games = [json.loads(line) for line in out.open()]
    assert [g["run"] for g in games] == wanted
    assert games[0]["regret"] == pytest.approx(30 * 0.4)


@pytest.mark.parametrize("method", bandit_players.GRIDS)
def test_each_of_ours_does_better_than_drawing_at_random(tmp_path, method):
    whole = record(tmp_path, "logistic", 0)
    short = Stream(*(part[:200] for part in whole))
    player = bandit_players.player(method, bandit_players.GRIDS[method][0], 9, ARMS, 0)
    assert play(player, short)["regret"] < 0.8 * uniform_regret(short)
