"""Recommendations from seeds: bounds hold, targets pull, every seed has its say, every answer replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.errors import BadInput
from recsys.items import MS_PER_DAY, Items
from recsys.schemas import ARTISTS, Surface
from recsys.schemas import TRACKS as TRACK_COLUMNS
from recsys.types import Ask, Context, Query, UserState
from serving.parts.seeds import genre_names, in_genre
from serving.parts.tunables import FAR, TUNABLES, Attributes
from serving.replay import compare

if TYPE_CHECKING:
    from serving.recommender import Recommender
    from serving.service import Service

CATALOG = [name for name in TUNABLES if name not in ("popularity", "time_signature")]
KNOWN = [*CATALOG, "popularity"]


@pytest.fixture(scope="module")
def recommender(tiny_service: Service) -> Recommender:
    return tiny_service._fleet._by_version["1"]


@pytest.fixture(scope="module")
def now(recommender: Recommender) -> int:
    return recommender.release.manifest.until + MS_PER_DAY


def ask(
    service: Service, now: int, seeds: list[tuple[str, str]], limit: int = 20, **more: Any
) -> dict[str, Any]:
    country = more.pop("country", None)
    options = {"seeds": [{"type": kind, "id": name} for kind, name in seeds], **more}
    return service.recommend(
        Ask(Surface.RECOMMENDATIONS, None, limit, Context(country=country), now, options=options)
    )


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["track_id"] for item in answer["items"]]


def raw(recommender: Recommender, name: str) -> np.ndarray:
    """A column as the release's table has it; popularity by its definition."""
    if name == "popularity":
        plays = recommender.release.popularity[-1]
        return np.rint(100.0 * plays / plays.max())
    return recommender.release.items.frame[name].to_numpy().astype(float)


def bounds() -> st.SearchStrategy[dict[str, tuple[float, float]]]:
    """Quantiles between which each of some attributes must lie."""
    pair = st.tuples(st.floats(0, 0.6), st.floats(0.4, 1)).map(sorted).map(tuple)
    return st.dictionaries(st.sampled_from(KNOWN), pair, min_size=1, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=bounds(),
    sides=st.sampled_from(["min", "max", "both"]),
    seed=st.integers(0, 1999),
    limit=st.integers(1, 100),
    country=st.sampled_from([None, "SE", "US", "AQ"]),
)
def test_every_track_lies_within_every_bound(
    tiny_service: Service,
    recommender: Recommender,
    now: int,
    wanted: dict[str, tuple[float, float]],
    sides: str,
    seed: int,
    limit: int,
    country: str | None,
) -> None:
    items = recommender.release.items
    low = {name: round(float(np.quantile(raw(recommender, name), q[0])), 6) for name, q in wanted.items()}
    high = {name: round(float(np.quantile(raw(recommender, name), q[1])), 6) for name, q in wanted.items()}
    more = ({"min": low} if sides != "max" else {}) | ({"max": high} if sides != "min" else {})
    track = items.track_ids[seed]
    answer = ask(tiny_service, now, [("track", track)], limit, country=country, **more)
    shown = items.numbers(ids(answer))
    allowed = items.available(items.country_number(country), now) & items.released(now)
    allowed[seed] = False
    for name in wanted:
        values = np.round(raw(recommender, name), 6)
        allowed &= values >= low[name] if sides != "max" else True
        allowed &= values <= high[name] if sides != "min" else True
    assert allowed[shown].all()
    assert len(set(shown.tolist())) == len(shown) <= limit
    pool = answer["seeds"][0]
    assert pool["initial"] >= pool["fitting"] >= pool["available"] == allowed.sum()
    most = np.minimum(np.bincount(items.artist[allowed]), 3).sum()
    assert len(shown) == min(limit, most) or (len(shown) < limit and allowed.sum() > 500)


def test_a_target_pulls_towards_itself(tiny_service: Service, recommender: Recommender, now: int) -> None:
    seed = [("genre", "pop")]
    for name, target in (("energy", 0.95), ("energy", 0.05), ("tempo", 80.0), ("popularity", 20.0)):
        values = raw(recommender, name)
        without = recommender.release.items.numbers(ids(ask(tiny_service, now, seed)))
        aimed = recommender.release.items.numbers(ids(ask(tiny_service, now, seed, target={name: target})))
        assert np.abs(values[aimed] - target).mean() < 0.7 * np.abs(values[without] - target).mean()


def test_a_target_does_not_drown_the_seed(tiny_service: Service, recommender: Recommender, now: int) -> None:
    answer = ask(tiny_service, now, [("genre", "jazz")], target={"valence": 0.9})
    assert in_genre(recommender.release.items, "jazz")[recommender.release.items.numbers(ids(answer))].all()


def test_each_of_several_seeds_has_its_say(tiny_service: Service, recommender: Recommender, now: int) -> None:
    items = recommender.release.items
    parents = ["jazz", "rock", "classical"]
    seeds = [("genre", name) for name in parents]
    shown = items.numbers([track for _ in range(5) for track in ids(ask(tiny_service, now, seeds, limit=30))])
    counts = [int(in_genre(items, name)[shown].sum()) for name in parents]
    assert sum(counts) == 150
    assert (
        min(counts) >= 20
    )  # a third each, but for artists that have come three times and what is drawn at random


def test_an_artist_seed_leads_near_the_artist(
    tiny_service: Service, recommender: Recommender, now: int
) -> None:
    items, unit = recommender.release.items, recommender.release.two_tower.unit_vectors
    for artist in (3, 40, 80):
        shown = items.numbers(ids(ask(tiny_service, now, [("artist", items.artist_ids[artist])])))
        middle = unit[items.artist == artist].mean(axis=0)
        assert (unit[shown] @ middle).mean() > np.quantile(unit @ middle, 0.95)


def test_seed_tracks_do_not_come_and_artists_come_three_times_at_most(
    tiny_service: Service, recommender: Recommender, now: int
) -> None:
    items = recommender.release.items
    seeds = [("track", items.track_ids[t]) for t in (1, 200, 700)]
    answer = ask(tiny_service, now, seeds, limit=100)
    artists = items.artist[items.numbers(ids(answer))]
    assert len(artists) == 100
    assert not {track for _, track in seeds} & set(ids(answer))
    assert np.bincount(artists).max() <= 3


def test_every_answer_is_logged_and_replays_exactly(
    tiny_service: Service, recommender: Recommender, now: int
) -> None:
    items = recommender.release.items
    asked = [
        ask(tiny_service, now, [("track", items.track_ids[7])], min={"energy": 0.3}, target={"key": 11.0}),
        ask(tiny_service, now, [("genre", "rock"), ("artist", items.artist_ids[5])], 100, country="SE"),
        ask(tiny_service, now, [("genre", "electronic")], max={"popularity": 60.0, "tempo": 120.0}),
    ]
    tiny_service._recent.clear()  # read back from the log, not from memory
    for answer in asked:
        assert answer["logged"]
        assert answer["rung"] == "full"
        record = tiny_service.decision_record(answer["request_id"])
        report = compare(recommender, record)
        assert report["same"], report["differences"]
        assert report["slots"] == len(answer["items"]) > 0
        assert all(0 < slot["propensity"] <= 1 for slot in record.slots)


def test_the_same_question_has_the_same_best_tracks_for_everybody(tiny_service: Service, now: int) -> None:
    """All but the slots drawn at random."""
    first, second = (set(ids(ask(tiny_service, now, [("genre", "pop")], 50))) for _ in range(2))
    assert len(first & second) >= 35


def test_when_the_seeds_fail_popular_tracks_within_the_bounds_answer(
    recommender: Recommender, now: int
) -> None:
    nowhere = {"type": "track", "id": "A" * 22, "tracks": [10**8]}
    options = {"seeds": [nowhere], "min": {"energy": 0.7}, "target": {"energy": 0.7}}
    query = Query("r", Surface.RECOMMENDATIONS, now, 1, 10, UserState("u"), options=options)
    decision = recommender.answer(query)
    assert decision.rung == "popular"
    assert len(decision.slots) == 10
    assert all(raw(recommender, "energy")[slot["track"]] >= 0.7 - 1e-6 for slot in decision.slots)


def test_nothing_left_is_an_empty_list_and_no_decision(tiny_service: Service, now: int) -> None:
    unknown = ask(tiny_service, now, [("artist", "A" * 22), ("genre", "no-such-genre")])
    assert [pool["initial"] for pool in unknown["seeds"]] == [0, 0]
    narrow = ask(tiny_service, now, [("genre", "jazz")], min={"energy": 0.9}, max={"energy": 0.1})
    assert narrow["seeds"][0]["initial"] > narrow["seeds"][0]["fitting"] == 0
    for answer in (unknown, narrow):
        assert answer["items"] == []
        assert answer["request_id"] is None


def test_one_seed_may_stand_by_itself(tiny_service: Service, recommender: Recommender, now: int) -> None:
    answer = tiny_service.recommend(Ask(Surface.RECOMMENDATIONS, limit=5, now=now, seed="genre:jazz"))
    assert in_genre(recommender.release.items, "jazz")[recommender.release.items.numbers(ids(answer))].all()
    assert len(answer["items"]) == 5


def test_a_seed_that_is_not_known_stands_beside_one_that_is(tiny_service: Service, now: int) -> None:
    answer = ask(tiny_service, now, [("track", "A" * 22), ("genre", "jazz")])
    assert [pool["initial"] > 0 for pool in answer["seeds"]] == [False, True]
    assert len(answer["items"]) == 20


@pytest.mark.parametrize("seeds", [[], [("genre", "pop")] * 6, [("listener", "A" * 22)]])
def test_seeds_of_the_wrong_number_or_kind_are_refused(
    tiny_service: Service, now: int, seeds: list[tuple[str, str]]
) -> None:
    with pytest.raises(BadInput):
        ask(tiny_service, now, seeds)


def test_every_genre_of_the_catalog_is_a_seed(
    tiny_service: Service, recommender: Recommender, now: int
) -> None:
    items = recommender.release.items
    for name in genre_names(items):
        answer = ask(tiny_service, now, [("genre", name)], limit=3)
        assert in_genre(items, name)[items.numbers(ids(answer))].all()
        assert len(answer["items"]) == 3


# --- attributes that are not known ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sparse() -> Attributes:
    """Four tracks; nothing is known of how the last one sounds."""
    columns = {
        "track_id": [c * 22 for c in "abcd"],
        "genre": ["rock/punk", "rock/indie rock", "R&B, Soul", None],
        "energy": [0.2, 0.5, 0.8, None],
        "key": [0, 11, 6, None],
        "duration_ms": [100_000, 200_000, 300_000, None],
    }
    tracks = pl.DataFrame(columns).select(
        (pl.col(name).cast(kind) if name in columns else pl.lit(None, kind).alias(name))
        for name, kind in TRACK_COLUMNS.items()
    )
    return Attributes(
        Items.of(tracks, pl.DataFrame(schema=ARTISTS), None), np.array([0, 1, 4, 8], np.float32)
    )


def test_an_unknown_value_fails_every_bound(sparse: Attributes) -> None:
    for name in ("energy", "key", "duration_ms"):
        assert sparse.fits({"min": {name: -1e9}}).tolist() == [True, True, True, False]
        assert sparse.fits({"max": {name: 1e9}}).tolist() == [True, True, True, False]
    assert not sparse.fits({"min": {"time_signature": 0}}).any()
    assert sparse.fits({"min": {"popularity": 50}, "max": {"popularity": 50}}).tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert sparse.fits({}).all()


def test_a_bound_includes_the_value_that_clients_read(sparse: Attributes) -> None:
    assert sparse.fits({"min": {"energy": 0.8}}).tolist() == [False, False, True, False]
    assert sparse.fits({"max": {"energy": 0.2}}).tolist() == [True, False, False, False]


def test_an_unknown_value_is_as_far_from_a_target_as_can_be(sparse: Attributes) -> None:
    distance = sparse.distance({"target": {"energy": 0.8}}, np.arange(4))
    assert distance[3] == FAR
    assert distance[2] == pytest.approx(0, abs=1e-6)
    assert distance[0] > distance[1] > distance[2]
    assert not sparse.distance({}, np.arange(4)).any()


def test_keys_lie_on_a_circle(sparse: Attributes) -> None:
    distance = sparse.distance({"target": {"key": 0}}, np.arange(3))
    assert distance[0] == 0
    assert distance[1] == pytest.approx(distance[2] / 6)


def test_genres_are_seeds_on_both_levels_in_one_spelling(sparse: Attributes) -> None:
    assert genre_names(sparse.items) == ["indie-rock", "punk", "r&b-soul", "rock"]
    assert in_genre(sparse.items, "rock").tolist() == [True, True, False, False]
    assert in_genre(sparse.items, "Indie Rock").tolist() == [False, True, False, False]
    assert in_genre(sparse.items, "r&b-soul").tolist() == [False, False, True, False]
