"""Several workers train what one trains: the same windows, sums and counts, whoever holds a listener's plays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from models.sequence.share import Share
from models.sequence.team import SOLO, quantile
from models.sequence.train import train
from models.sequence.windows import Windows, newest, tiles
from recsys.plays import I64, Plays


class Relay:
    """A team of threads of which one runs at a time, from sum to sum: torch's random stream belongs to the process."""

    def __init__(self, size: int) -> None:
        self.size, self.turn = size, 0
        self.changed = threading.Condition()
        self.parts: list[Any] = []
        self.all: list[Any] = []

    def exchange(self, rank: int, value: Any) -> list[Any]:
        with self.changed:
            self.parts.append(value)
            if rank == self.size - 1:
                self.all, self.parts = self.parts, []
            self.pass_on(rank)
            self.changed.wait_for(lambda: self.turn == rank, timeout=60)
            return self.all

    def pass_on(self, rank: int) -> None:
        with self.changed:
            self.turn = (rank + 1) % self.size
            self.changed.notify_all()

    def run(self, work: Callable[[Any], Any]) -> list[Any]:
        """work(team) of every rank."""
        results: list[Any] = [None] * self.size

        def one(rank: int) -> None:
            with self.changed:
                self.changed.wait_for(lambda: self.turn == rank, timeout=60)
            try:
                results[rank] = work(Member(self, rank))
            finally:
                self.pass_on(rank)

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


class Member:
    """One thread's place in a relay."""

    def __init__(self, relay: Relay, rank: int) -> None:
        self.relay, self.rank, self.size = relay, rank, relay.size

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.relay.exchange(self.rank, values.clone())).sum(0)

    def gather(self, value: Any) -> list[Any]:
        return list(self.relay.exchange(self.rank, value))


def part(plays: Plays, rank: int, size: int) -> Plays:
    """All listeners' numbers, and the rows of every size-th one."""
    empty = np.zeros(len(plays), np.int64)
    mine = np.arange(len(plays)) % size == rank
    return plays.slices(np.where(mine, plays.offsets[:-1], empty), np.where(mine, plays.offsets[1:], empty))


def rows_of(plays: Plays, windows: Windows) -> list[tuple[tuple[int, ...], ...]]:
    """What each window reads and predicts, by track and time."""
    spans = zip(windows.starts, windows.stops, windows.first, windows.last, strict=True)
    key = [(int(t), int(s)) for t, s in zip(plays.track, plays.start, strict=True)]
    return [tuple(x for a, b in ((i, j), (k, m)) for row in key[a:b] for x in row) for i, j, k, m in spans]  # type: ignore[misc]


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    length=st.integers(2, 5),
    workers=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_the_workers_windows_together_are_those_of_one(
    toy: Any, sizes: list[int], length: int, workers: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plays = toy.plays([rng.integers(0, 50, size) for size in sizes])
    old = np.array([int(rng.integers(0, size + 1)) for size in sizes])
    for whole in (
        tiles(plays.offsets, length, np.random.default_rng(seed)),
        newest(plays.offsets, old, length),
    ):
        found: list[Any] = []
        for rank in range(workers):
            share = Share(part(plays, rank, workers), plays.offsets)
            found += rows_of(share.plays, share.own(whole))
        assert sorted(found) == sorted(rows_of(plays, whole))


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=40),
    share=st.floats(0, 1),
    workers=st.integers(2, 3),
)
def test_a_quantile_over_workers_is_that_of_all_values(values: list[int], share: float, workers: int) -> None:
    array: I64 = np.array(values, np.int64)
    found = Relay(workers).run(lambda team: quantile(team, array[team.rank :: team.size], share))
    expected = np.quantile(array, share)
    assert len(set(found)) == 1
    assert found[0] == pytest.approx(expected, rel=1e-12, abs=1e-3)


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_train_the_model_that_one_trains(toy: Any, workers: int) -> None:
    data = toy.dataset(toy.plays(toy.cycles(12, 60, 40)), toy.items(40))
    still = {"dropout": 0.0, "id_dropout": 0.0, "precision": "float32"}  # their draws are each worker's own
    config = toy.config.model_copy(update={"steps": 12, "mixing_steps": 3, **still})
    alone = train(data, data.split.end, config, team=SOLO)

    def work(team: Any) -> Any:
        mine = type(data)(**{**vars(data), "plays": part(data.plays, team.rank, team.size)})
        return train(mine, data.split.end, config, team=team)

    models = Relay(workers).run(work)
    batch = toy.batch(data.plays)
    expected = log_softmax(alone.score(batch), axis=1)  # a feature that all tracks share may weigh anything
    for model in models:
        np.testing.assert_allclose(log_softmax(model.score(batch), axis=1), expected, atol=1e-4)
        np.testing.assert_array_equal(model.score(batch), models[0].score(batch))


def test_a_worker_without_any_listener_takes_part(toy: Any) -> None:
    plays = toy.plays(toy.cycles(1, 60, 12))
    data = toy.dataset(plays, toy.items(12))
    config = toy.config.model_copy(update={"steps": 4, "mixing_steps": 2, "dropout": 0.0, "id_dropout": 0.0})

    def work(team: Any) -> Any:
        return train(
            type(data)(**{**vars(data), "plays": part(plays, team.rank, team.size)}),
            data.split.end,
            config,
            team=team,
        )

    one, other = Relay(2).run(work)
    batch = toy.batch(plays)
    np.testing.assert_array_equal(one.score(batch), other.score(batch))
