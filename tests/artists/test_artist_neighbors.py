"""Similar artists: the walk against a plain count, the prior where nobody listened, and the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artists import ArtistConfig, ArtistNeighbors, artist_vectors, train
from recsys.errors import BadInput, ReleaseRefused
from recsys.items import Items
from recsys.plays import Outcome, Plays
from recsys.schemas import TRACKS, conform

EACH = 2
"""Tracks of an artist: artist a has the tracks 2 a and 2 a + 1."""
WALK = ArtistConfig(prior=0.0)


def items(artists: int) -> Items:
    numbers = np.arange(artists * EACH)
    frame = pl.DataFrame(
        {
            "track_id": [f"{i:022d}" for i in numbers],
            "title": [f"t{i}" for i in numbers],
            "artist_id": [f"a{i // EACH:021d}" for i in numbers],
        }
    )
    ids = [f"a{a:021d}" for a in range(artists)]
    names = pl.DataFrame({"artist_id": ids, "name": ids})
    return Items.of(conform(frame, "tracks").select(list(TRACKS)), conform(names, "artists"), None)


def plays(lists: list[list[int]], outcome: int = Outcome.FINISH) -> Plays:
    """One session a listener, of artists by their first track."""
    sizes = np.array([len(row) for row in lists])
    n = int(sizes.sum())
    zeros = np.zeros(n, np.int8)
    return Plays(
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        track=np.array([a * EACH for row in lists for a in row], np.int32),
        start=np.arange(n, dtype=np.int64),
        outcome=np.full(n, outcome, np.int8),
        ms_played=np.zeros(n, np.int32),
        session=np.zeros(n, np.int32),
        hour=zeros,
        device=zeros,
        surface=zeros,
    )


def vectors(artists: int) -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(artists * EACH, 4)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


lists_of_artists = st.lists(
    st.lists(st.integers(0, 6), min_size=1, max_size=5, unique=True), min_size=1, max_size=8
)


@given(lists_of_artists)
def test_the_walk_is_the_one_counted_by_hand(lists: list[list[int]]) -> None:
    together = np.zeros((7, 7))
    for row in lists:
        for a in row:
            for b in row:
                together[a, b] += (a != b) * len(row) ** -0.5
    one = together / np.maximum(together.sum(1, keepdims=True), 1e-9)
    two = one + WALK.second_step * one @ one
    np.fill_diagonal(two, 0)
    near = train(plays(lists), items(7), vectors(7), WALK)
    for a in range(7):
        expected = two[a] / max(two[a].sum(), 1e-9)
        assert near.score[a] == pytest.approx(expected[near.ids[a]], abs=1e-5)


@given(lists_of_artists, st.floats(0, 50), st.integers(1, 10))
def test_neighbours_fall_in_score_and_are_others(lists: list[list[int]], prior: float, keep: int) -> None:
    near = train(plays(lists), items(7), vectors(7), ArtistConfig(prior=prior, keep=keep))
    assert near.ids.shape == (7, min(keep, 6))
    assert (np.diff(near.score, axis=1) <= 0).all()
    assert (near.ids != np.arange(7)[:, None]).all()
    assert all(len(set(row)) == len(row) for row in near.ids.tolist())
    assert ((near.score >= 0) & (near.score <= 1)).all()


def test_an_artist_that_nobody_hears_is_near_those_that_sound_alike() -> None:
    lists = [[0, 1, 2], [1, 2, 3], [0, 3]] * 5
    unit = vectors(6)
    near = train(plays(lists), items(6), unit, ArtistConfig())
    found = artist_vectors(items(6), unit, np.array([10, 0] * 4 + [0] * 4))
    heard = np.array([10, 10, 10, 10, 0, 0])
    expected = np.exp(found @ found[5] / ArtistConfig().temperature) * (1 + heard)
    assert near.ids[5].tolist() == [a for a in np.argsort(-expected).tolist() if a != 5]


def test_walk_and_prior_together_end_somewhere_else_for_certain() -> None:
    near = train(plays([[0, 1], [1, 2, 3]] * 2), items(5), vectors(5), ArtistConfig())
    assert near.score.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_tracks_without_an_artist_bring_nobody_together() -> None:
    some = items(4)
    nameless = replace(some, artist_ids=["", *some.artist_ids[1:]])
    near = train(plays([[0, 1], [0, 2], [0, 3]] * 5), nameless, vectors(4), WALK)
    assert (near.score == 0).all()
    together = train(plays([[0, 1], [0, 2, 3], [0, 3]] * 5), nameless, vectors(4), ArtistConfig())
    assert together.ids[2, 0] == 3
    assert (together.score[together.ids == 0] == 0).all()


def test_a_vector_that_is_no_number_is_refused() -> None:
    unit = vectors(4)
    unit[3, 1] = np.nan
    with pytest.raises(BadInput, match="not finite"):
        train(plays([[0, 1]]), items(4), unit, ArtistConfig())


def test_what_was_skipped_brings_nobody_together() -> None:
    quiet = train(plays([[0, 1]] * 9, Outcome.SKIP), items(4), vectors(4), WALK)
    assert (quiet.score == 0).all()


def test_of_a_long_list_the_most_played_artists_count() -> None:
    lists = [[0] * 9 + [1] * 5 + [2] * 3 + [3]]
    near = train(plays(lists), items(4), vectors(4), ArtistConfig(prior=0.0, basket=2, keep=3))
    assert (near.ids[0, 0], near.score[0, 0]) == (1, 1.0)
    assert (near.score[3] == 0).all()


def test_a_log_without_plays_and_a_catalog_of_one_artist_have_answers() -> None:
    assert train(Plays.empty(3), items(4), vectors(4), ArtistConfig()).ids.shape == (4, 3)
    assert train(plays([[0]]), items(1), vectors(1), ArtistConfig()).ids.shape == (1, 0)


def test_files_are_read_back_whole_and_refused_otherwise(tmp_path: Path) -> None:
    near = train(plays([[0, 1, 2], [2, 3]]), items(4), vectors(4), ArtistConfig())
    near.save(tmp_path)
    again = ArtistNeighbors.load(tmp_path, items(4))
    assert np.array_equal(again.ids, near.ids)
    assert np.array_equal(again.score, near.score)
    for other in (3, 5):
        with pytest.raises(ReleaseRefused, match="another catalog"):
            ArtistNeighbors.load(tmp_path, items(other))
    replace(near, score=near.score * np.nan).save(tmp_path / "nan")
    with pytest.raises(ReleaseRefused, match="no numbers"):
        ArtistNeighbors.load(tmp_path / "nan", items(4))
    (tmp_path / "neighbors.npz").write_bytes((tmp_path / "neighbors.npz").read_bytes()[:90])
    with pytest.raises(ReleaseRefused, match="cannot be read"):
        ArtistNeighbors.load(tmp_path, items(4))
    with pytest.raises(ReleaseRefused, match="cannot be read"):
        ArtistNeighbors.load(tmp_path / "nowhere", items(4))
