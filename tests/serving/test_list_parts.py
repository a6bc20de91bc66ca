"""The parts that lists are made of: slot policy, floors, periods, tastes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.softmax import Softmax
from models.artists import ArtistNeighbors
from models.sequence.tokens import KNOWN_SURFACES
from recsys.errors import BadInput
from recsys.plays import Outcome, Plays
from recsys.slate import Problem, Rules, Shelf, at_quantile, fill, propensities
from recsys.types import SURFACES
from serving.list_settings import MixSettings
from serving.parts.near import NearArtistSource
from serving.parts.shares import Floors
from serving.parts.taste import taste_of
from serving.service import Service
from serving.surfaces.periods import day, week


def problem(n: int, size: int, seed: int, **more: object) -> Problem:
    rng = np.random.default_rng(seed)
    shelf = Shelf("only", size, np.ones(n, bool))
    plain = Rules(artist_cap_shelf=0, artist_cap_slate=0)
    return Problem(np.arange(n), rng.normal(size=n), rng.integers(0, 5, n), (shelf,), plain, **more)  # type: ignore[arg-type]


@given(
    st.integers(2, 30),
    st.integers(0, 1000),
    st.floats(0.01, 5),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)
def test_softmax_is_a_distribution_that_follows_the_utility(
    n: int, seed: int, temperature: float, epsilon: float, u: float
) -> None:
    rng = np.random.default_rng(seed)
    utility, allowed = rng.normal(size=n), rng.random(n) < 0.6
    allowed[int(rng.integers(n))] = True
    p = Softmax(temperature, epsilon).distribution(utility, allowed)
    assert p.sum() == pytest.approx(1)
    assert (p[~allowed] == 0).all()
    assert (p[allowed] >= epsilon / allowed.sum() - 1e-12).all()
    row, probability = Softmax(temperature, epsilon).pick(utility, allowed, u)
    assert (row, probability) == at_quantile(p, u)
    order = np.argsort(utility[allowed])
    assert (np.diff(p[allowed][order]) >= -1e-12).all()


def test_softmax_draws_as_often_as_it_says() -> None:
    one = problem(6, 1, seed=3)
    policy = Softmax(0.7, 0.1)
    said = propensities(one, policy, 0, [0])[0]
    drawn = np.bincount([fill(one, policy, seed)[0].row for seed in range(4000)], minlength=6) / 4000
    assert np.abs(said - drawn).max() < 4 * np.sqrt(0.25 / 4000)


@pytest.mark.parametrize(("temperature", "epsilon"), [(0, 0), (-1, 0), (1, 1.5), (float("nan"), 0)])
def test_softmax_refuses_what_is_no_distribution(temperature: float, epsilon: float) -> None:
    with pytest.raises(BadInput):
        Softmax(temperature, epsilon)


def test_artists_without_neighbours_are_near_by_their_vectors(tiny_service: Service) -> None:
    release = tiny_service._fleet._by_version["1"].release
    near = release.artists
    assert near is not None
    few = ArtistNeighbors(near.ids[:50, :10], near.score[:50, :10])  # as if the others had come since
    source = NearArtistSource(release.two_tower, release.items, release.popularity, few)
    plain = replace(source, neighbors=None)
    others = np.arange(len(release.items.artist_ids))
    cosine = source.vectors @ source.vectors.T
    assert source._scores(60, others) == pytest.approx(cosine[60], abs=1e-5)
    assert plain._scores(7, others) == pytest.approx(cosine[7], abs=1e-5)
    mixed, known = source._scores(7, others), np.isin(others, few.ids[7])
    assert mixed[few.ids[7]] == pytest.approx(few.score[7])
    assert mixed[~known] == pytest.approx((cosine[7, ~known] - 1) / 2, abs=1e-5)
    assert mixed[~known].max() <= 1e-6 <= few.score[7].min()


@settings(deadline=None)
@given(st.integers(0, 500), st.floats(0, 0.5), st.floats(0, 0.5))
def test_floors_hold_at_every_place_while_there_are_tracks(seed: int, a: float, b: float) -> None:
    rng = np.random.default_rng(seed)
    kind = rng.random(40) < 0.5
    floors = Floors(((kind, a), (~kind, b)))
    slots = fill(problem(40, 12, seed, effects=(floors,)), Softmax(0.1), seed)
    rows = np.array([slot.row for slot in slots])
    assert len(rows) == 12
    for upto in range(1, 13):
        for wanted, share in ((kind, a), (~kind, b)):
            placed = wanted[rows[:upto]].sum()
            assert placed >= min(np.floor(share * upto), wanted.sum()) - 1  # two floors can be due at once
    assert kind[rows].sum() >= min(np.floor(a * 12), kind.sum()) - 1


def test_a_floor_that_cannot_be_met_ends_no_list() -> None:
    nothing = np.zeros(20, bool)
    slots = fill(problem(20, 10, 1, effects=(Floors(((nothing, 1.0),)),)), Softmax(0.1), 1)
    assert len(slots) == 10


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("when", "tz", "name", "start"),
    [
        ("2026-03-01T23:30", "UTC", "2026-03-01", "2026-03-01T00:00"),
        ("2026-03-01T23:30", "Asia/Tokyo", "2026-03-02", "2026-03-01T15:00"),
        ("2026-03-01T04:30", "America/New_York", "2026-02-28", "2026-02-28T05:00"),
        ("2026-03-29T20:00", "Europe/Stockholm", "2026-03-29", "2026-03-28T23:00"),  # 23 hours long
        ("2026-03-01T12:00", "No/Where", "2026-03-01", "2026-03-01T00:00"),
    ],
)
def test_days_begin_at_local_midnight(when: str, tz: str, name: str, start: str) -> None:
    period = day(at(when), tz)
    assert (period.name, period.start) == (name, at(start))


def test_weeks_begin_on_local_monday_and_sort_over_new_year() -> None:
    assert week(at("2026-03-29T20:00"), "Europe/Stockholm").start == at("2026-03-22T23:00")
    assert week(at("2026-03-29T22:30"), "Europe/Stockholm").name == "2026-W14"
    names = [week(at(f"2025-12-{d}T12:00"), "UTC").name for d in (22, 28, 29)]
    assert names == ["2025-W52", "2025-W52", "2026-W01"]


def history(tracks: list[int], outcomes: list[int] | None = None) -> Plays:
    n = len(tracks)
    return replace(
        Plays.empty(1),
        offsets=np.array([0, n], np.int64),
        track=np.array(tracks, np.int32),
        start=np.arange(n, dtype=np.int64) * 200_000,
        outcome=np.array(outcomes or [Outcome.FINISH] * n, np.int8),
    )


def world() -> tuple[np.ndarray, np.ndarray]:
    """Thirty artists with ten tracks each, in three corners that lie at right angles."""
    rng = np.random.default_rng(0)
    artist = np.repeat(np.arange(30), 10)
    unit = np.eye(8, dtype=np.float32)[artist % 3] + 0.1 * rng.normal(size=(300, 8)).astype(np.float32)
    return unit / np.linalg.norm(unit, axis=1, keepdims=True), artist


def test_tastes_find_the_corners_that_are_played_and_weigh_them() -> None:
    unit, artist = world()
    corner = [[t for t in range(300) if artist[t] % 3 == c] for c in range(3)]
    taste = taste_of(history(corner[0][:40] + corner[2][:20]), unit, artist, MixSettings())
    assert taste.centers.shape == (2, 8)
    assert set(taste.centers.argmax(axis=1).tolist()) == {0, 2}
    assert taste.share.sum() == pytest.approx(1)
    group, cosine = taste.group(unit)
    assert len(set(group[corner[0]].tolist())) == 1
    assert cosine[corner[0]].min() > 0.7


def test_tastes_leave_out_skips_and_unknown_tracks() -> None:
    unit, artist = world()
    taste = taste_of(history([0, 1, 2, 10, 11, -1], [2, 2, 2, 0, 0, 2]), unit, artist, MixSettings())
    assert taste.centers.shape == (1, 8)
    assert taste.centers[0].argmax() == 0
    assert taste_of(history([10, -1], [0, 2]), unit, artist, MixSettings()).centers.shape == (0, 8)


def test_there_are_at_most_as_many_tastes_as_mixes() -> None:
    artist = np.arange(40)
    unit = np.eye(40, dtype=np.float32)  # nobody is near anybody
    taste = taste_of(history(list(range(40))), unit, artist, MixSettings(least=0))
    assert len(taste.centers) == 6


def test_surfaces_keep_their_numbers() -> None:
    """They are stored as numbers in states, logs and trained weights."""
    assert SURFACES[:KNOWN_SURFACES] == ["home", "radio", "search", "library", "similar"]
    assert SURFACES.index("daily_mix") == KNOWN_SURFACES
