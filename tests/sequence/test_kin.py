"""Candidates by the artists just heard: the right tracks, each with its stated chance, the same for every worker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sequence.evidence import Groups
from models.sequence.kin import ARTISTS, Works, artists_of, luck_of
from models.sequence.loss import Proposal
from models.sequence.mixing import Material, gather
from models.sequence.train import _evidence


@pytest.fixture
def data(toy: Any) -> Any:
    rng = np.random.default_rng(4)
    return toy.dataset(toy.plays([rng.integers(0, 40, 30) for _ in range(6)]), toy.items(40))


NUMBER = np.array([0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 3, 4, 4])  # 4 is unknown
WORKS = Works.of(Groups(NUMBER, 4))


@given(
    st.lists(st.sampled_from([-1, 0, 1, 2, 3]), min_size=1, max_size=4, unique=True),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_draws_are_distinct_tracks_of_the_artists_and_all_of_them_where_there_is_room(
    artists: list[int], k: int, luck: int
) -> None:
    (drawn,), (expected,) = WORKS.draw(np.array([artists]), k, np.array([luck / 2**32]))
    tracks, wanted = drawn[drawn >= 0], np.flatnonzero(np.isin(NUMBER, [a for a in artists if a >= 0]))
    assert len(set(tracks)) == len(tracks) == min(k, len(wanted))
    assert set(tracks) <= set(wanted)
    assert np.isclose(np.exp(expected) * max(len(wanted), k), k)


def test_every_track_of_a_large_artist_has_the_stated_chance() -> None:
    luck = (np.arange(7_000) + 0.5) / 7_000
    drawn, expected = WORKS.draw(np.full((7_000, 1), 2), 3, luck)
    chance = np.bincount(drawn.ravel(), minlength=len(NUMBER)) / 7_000
    assert np.allclose(chance[3:10], np.exp(expected[0]), atol=1e-3)
    assert np.allclose(chance.sum(), 3)


def test_luck_is_that_of_the_moment_whatever_the_company_and_even_over_moments() -> None:
    moments = 1_400_000_000_000 + 1_000 * np.arange(20_000)
    luck = luck_of(moments, 7)
    assert np.array_equal(luck[100:200], luck_of(moments[100:200], 7))
    assert np.abs(np.bincount((luck * 10).astype(int), minlength=10) / 2_000 - 1).max() < 0.1
    assert abs(np.corrcoef(luck, luck_of(moments, 8))[0, 1]) < 0.03


def test_the_artist_of_the_last_play_comes_first_then_those_heard_most(toy: Any, data: Any) -> None:
    evidence = _evidence(data.plays, data.items, toy.config)
    histories = data.plays.last(12)
    found = artists_of(evidence(histories, toy.batch(histories).now).own.artists)
    assert found.shape == (len(histories), ARTISTS)
    last = histories.track[histories.offsets[1:] - 1]
    assert np.array_equal(found[:, 0], evidence.artist.number[last])
    for row in found:
        own = row[row >= 0]
        assert len(set(own)) == len(own)


def test_an_artists_tracks_count_once_in_the_sum_over_all_candidates(toy: Any, data: Any) -> None:
    evidence, rows = _evidence(data.plays, data.items, toy.config), np.array([3, 9, 20])
    counts = np.bincount(data.plays.track, minlength=len(data.items))
    material = Material.of(data.items, evidence, Proposal.of(counts, 0.5))
    found = gather(data.plays, rows, material, toy.config, np.random.default_rng(0))
    heard = artists_of(
        evidence(data.plays.slices(np.array([0, 0, 0]), rows), data.plays.start[rows]).own.artists
    )
    for p in range(len(rows)):
        head = found.head[p][~found.head_masked[p]].tolist()
        tail = found.tail[~found.tail_masked[p]].numpy()
        assert len(head) == len(set(head))
        assert not np.isin(evidence.artist.number[tail], heard[p]).any()


def test_a_few_tracks_that_nobody_played_stand_for_all_of_them(toy: Any, data: Any) -> None:
    counts = np.bincount(data.plays.track, minlength=len(data.items))
    counts[30:] = 0
    evidence = _evidence(data.plays, data.items, toy.config)
    material = Material.of(data.items, evidence, Proposal.of(counts, 0.5))
    config = toy.config.model_copy(update={"mixing_unplayed": 4})
    tail, expected = material.tail(config, np.random.default_rng(0))
    unplayed = tail >= 30
    assert unplayed.sum() == len(set(tail[unplayed])) == 4
    assert np.isclose(np.exp(-expected[unplayed]).sum(), 10)
    everything, one = material.tail(toy.config, np.random.default_rng(0))
    assert set(range(30, 40)) <= set(everything)
    assert np.allclose(one[everything >= 30], 0)
