"""Radio over a tiny world: seeds, dial, feedback, separation, relaxation, cursors, replay."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests_events import event, play

from recsys.errors import BadInput
from recsys.items import MS_PER_DAY, Items
from recsys.schemas import Surface
from recsys.state_store import LocalStore
from recsys.types import Ask, Context, Query, UserState
from serving.recommender import Recommender
from serving.replay import compare
from serving.service import Service
from serving.surfaces import stations
from serving.surfaces.radio import tuned
from serving.surfaces.stations import Station
from tests.serving.radio_walks import closed, walk


@pytest.fixture(scope="module")
def recommender(tiny_service: Service) -> Recommender:
    return tiny_service._fleet._by_version["1"]


@pytest.fixture(scope="module")
def items(recommender: Recommender) -> Items:
    return recommender.release.items


@pytest.fixture(scope="module")
def now(recommender: Recommender) -> int:
    return recommender.release.manifest.until + MS_PER_DAY


@pytest.fixture(scope="module")
def listeners(tiny_service: Service) -> list[UserState]:
    rows = (tiny_service.state(row["user_id"]) for row in tiny_service.listeners(60))
    return [state for state in rows if state.personalized and len(state.track_id) > 100]


def test_less_of_what_was_heard_before_comes_as_the_dial_goes_to_discover(
    recommender: Recommender, items: Items, listeners: list[UserState], now: int
) -> None:
    shares = []
    for dial in (0.0, 0.25, 0.5, 0.75, 1.0):
        tracks, artists = [], []
        for number, user in enumerate(listeners[:8]):
            station = Station(f"d{number}", f"track:{user.track_id[-1]}", user.user_id, now, dial=dial)
            heard, _ = walk(recommender, station, 2, user)
            known = set(user.track_id)
            known_artists = {items.artist[t] for t in items.numbers(user.track_id) if t >= 0}
            tracks.append(np.mean([t in known for t in heard]))
            artists.append(np.mean([items.artist[items.number(t)] in known_artists for t in heard]))
        shares.append((float(np.mean(tracks)), float(np.mean(artists))))
    for before, after in pairwise(shares):
        assert after[0] <= before[0] + 0.02
        assert after[1] <= before[1] + 0.02
    assert shares[0][0] > 1.5 * shares[-1][0]
    assert shares[0][1] > shares[-1][1] + 0.1


def genre_of(items: Items, track_id: str) -> int:
    return int(items.genre[items.number(track_id)])


def test_three_skips_of_a_genre_lower_its_share_by_a_third_within_a_second(
    tiny_service: Service, items: Items, now: int
) -> None:
    with_skips, without = [], []
    for number in range(6):
        seed = f"track:{items.track_id(number * 50)}"
        ask = Ask(Surface.RADIO, f"{number:022d}", 20, Context(), now, seed)
        page = tiny_service.recommend(ask)
        genres = [genre_of(items, i["track_id"]) for i in page["items"]]
        genre = max(set(genres), key=genres.count)
        gone = [i["track_id"] for i in page["items"] if genre_of(items, i["track_id"]) == genre][:3]
        twin = tiny_service.recommend(replace(ask, cursor=page["cursor"], user_id="N" * 22, now=now + 60_000))
        events = [play(ask.user_id, t, now + 10_000 * i, 3_000, "fwdbtn") for i, t in enumerate(gone)]
        assert tiny_service.ingest(events)["accepted"] == 3
        after = tiny_service.recommend(replace(ask, cursor=page["cursor"], now=now + 60_000))
        for answer, shares in ((twin, without), (after, with_skips)):
            shares.append(np.mean([genre_of(items, i["track_id"]) == genre for i in answer["items"]]))
    assert np.mean(with_skips) <= 0.7 * np.mean(without)


def test_finishes_and_saves_pull_a_station_towards_their_like(
    recommender: Recommender, items: Items, now: int
) -> None:
    unit = recommender.release.two_tower.unit_vectors
    station = Station("p", "genre:pop", "u", now)
    first, _ = walk(recommender, station, 1, limit=20)
    station = replace(station, tracks=tuple(first))
    spread = unit[items.numbers(first)] @ unit[items.numbers(first)].T
    liked = [first[int(t)] for t in np.argsort(spread.mean(axis=1))[:3]]  # the three least typical ones
    state = UserState("u" * 22, saves=tuple((t, now + 1, True) for t in liked))
    target = unit[items.numbers(liked)].mean(axis=0)
    pull = []
    for user in (UserState("u" * 22), state):
        heard, _ = walk(recommender, station, 1, user)
        pull.append(float(np.mean(unit[items.numbers(heard[20:])] @ target)))
    assert pull[1] > pull[0]


def test_a_long_station_keeps_every_rule_or_names_what_it_gave_up(
    recommender: Recommender, items: Items, now: int
) -> None:
    gaps = recommender.settings.radio.gaps
    user = UserState("u" * 22, not_interested=frozenset(items.track_ids[::7]))
    context = Context(country="SE", explicit=False)
    station = Station("long", f"track:{items.track_id(11)}", "u", now)
    heard, relaxed = walk(recommender, station, 15, user, context, limit=20)
    tracks = items.numbers(heard)
    assert len(heard) == len(set(heard)) == 300
    may = items.available(items.country_number("SE"), now) & items.released(now) & ~items.explicit
    assert may[tracks].all()
    assert not user.not_interested & set(heard)
    artist = items.artist[tracks]
    assert all(artist[i] not in artist[max(0, i - gaps.artist) : i] for i in range(300))
    title = items.frame["title"].str.to_lowercase().gather(tracks).to_list()
    assert all(title[i] not in title[max(0, i - gaps.title) : i] for i in range(300))
    assert relaxed <= {"album_gap", "genre", "parent_genre", "catalog"}
    assert "parent_genre" in relaxed  # a neighbourhood of 100 tracks cannot give 300


def test_a_catalog_of_twelve_tracks_plays_all_of_them_before_one_comes_again(
    recommender: Recommender, items: Items, now: int
) -> None:
    few = np.random.default_rng(0).choice(len(items), 12, replace=False)
    small = closed(recommender, few)
    heard, relaxed = walk(small, Station("few", f"track:{items.track_id(0)}", "u", now), 4, limit=6)
    allowed = {items.track_id(int(t)) for t in few}
    assert len(heard) == 24
    assert set(heard) == allowed
    assert set(heard[:12]) == allowed
    assert "repeats" in relaxed
    assert all(a != b for a, b in pairwise(heard))


def test_one_artist_alone_gives_up_the_artist_gap_before_it_repeats(
    recommender: Recommender, items: Items, now: int
) -> None:
    artist = int(np.bincount(items.artist).argmax())
    own = np.flatnonzero(items.artist == artist)[:14]
    heard, relaxed = walk(closed(recommender, own), Station("one", f"track:{items.track_id(0)}", "u", now), 1)
    assert len(set(heard)) == 10
    assert "artist_gap" in relaxed
    assert "repeats" not in relaxed


def test_even_a_single_playable_track_is_played(recommender: Recommender, items: Items, now: int) -> None:
    heard, relaxed = walk(
        closed(recommender, np.array([5])), Station("1", "genre:rock", "u", now), 3, limit=2
    )
    assert heard == [items.track_id(5)] * 3
    assert "repeats" in relaxed


def test_answers_below_the_full_rung_keep_the_rules_too(
    recommender: Recommender, items: Items, now: int
) -> None:
    class Down:
        name = "down"

        def __getattr__(self, name: str) -> None:
            raise RuntimeError("down")

    for parts, rung in (({"ranker": Down()}, "light"), ({"two_tower": Down()}, "popular")):
        broken = Recommender(replace(recommender.release, **parts))
        query = Query("q", Surface.RADIO, now, 1, 20, UserState("u" * 22), Context(explicit=False))
        heard: list[str] = []
        for page in range(3):
            station = Station("l", f"track:{items.track_id(11)}", "u", now, tuple(heard))
            decision = broken.answer(tuned(replace(query, seed=page), station, broken))
            assert decision.rung == rung
            heard += [slot["track_id"] for slot in decision.slots]
        tracks = items.numbers(heard)
        assert len(set(heard)) == 60
        assert not items.explicit[tracks].any()
        assert all(
            items.artist[t] not in items.artist[tracks[max(0, i - 5) : i]] for i, t in enumerate(tracks)
        )


def test_radio_decisions_replay_with_dial_skips_and_likes(
    tiny_service: Service, items: Items, now: int
) -> None:
    recommender = tiny_service._fleet._by_version["1"]
    user, asked = "P" * 22, []
    for number, seed in enumerate(("genre:jazz", "words:light", f"track:{items.track_id(3)}")):
        ask = Ask(Surface.RADIO, user, 10, Context(country="DE"), now + number, seed, options={"dial": 0.2})
        page = tiny_service.recommend(ask)
        ids = [i["track_id"] for i in page["items"]]
        events = [play(user, t, now + 1000 * i, 3_000, "fwdbtn") for i, t in enumerate(ids[:4])]
        events += [play(user, ids[5], now + 9_000, 200_000, "trackdone")]
        events += [event("save", user, ids[6], now + 9_500)]
        tiny_service.ingest(events)
        page = tiny_service.recommend(replace(ask, cursor=page["cursor"], now=now + 400_000, options={}))
        assert page["dial"] == 0.2
        asked.append(page["request_id"])
    tiny_service._recent.clear()
    for request_id in asked:
        record = tiny_service.decision_record(request_id)
        assert record.listener["skipped"]
        assert record.listener["options"]["liked"]
        assert compare(recommender, record)["same"]


def test_a_dial_outside_its_range_is_refused(tiny_service: Service, now: int) -> None:
    for dial in (-0.1, 1.1, float("nan"), "0.5", True):
        with pytest.raises(BadInput, match="dial must be"):
            tiny_service.recommend(
                Ask(Surface.RADIO, None, 5, now=now, seed="genre:rock", options={"dial": dial})
            )


def test_answers_from_one_cursor_at_once_do_not_disturb_each_other(tiny_service: Service, now: int) -> None:
    ask = Ask(Surface.RADIO, "C" * 22, 10, Context(), now, "genre:rock")
    first = tiny_service.recommend(ask)
    again = replace(ask, cursor=first["cursor"])
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: tiny_service.recommend(again), range(4)))
    assert len({page["cursor"] for page in pages}) == 4
    for page in pages:
        played = [i["track_id"] for i in (*first["items"], *page["items"])]
        assert list(stations.load(tiny_service.store, page["cursor"]).tracks) == played
        on = tiny_service.recommend(replace(ask, cursor=page["cursor"]))
        assert not set(played) & {i["track_id"] for i in on["items"]}


def test_an_old_cursor_sees_what_had_been_played_by_then_beyond_the_memory(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stations, "MEMORY", 6)
    store = LocalStore(tmp_path / "state.sqlite")  # type: ignore[operator]
    station = Station("0" * 36, "genre:rock", "u", 0)
    cursors = []
    for page in range(5):
        station = stations.extend(store, station, tuple(f"{page}{i}" for i in "abc"), f"{page}" * 36)
        cursors.append(station.cursor)
    assert station.cursor.endswith(".15")
    assert station.tracks == ("3a", "3b", "3c", "4a", "4b", "4c")
    assert stations.load(store, cursors[3]).tracks == ("3a", "3b", "3c")
    assert stations.load(store, cursors[0]).tracks == ()


@given(
    seed=st.integers(0, 10_000), left=st.integers(2, 40), pages=st.integers(1, 3), limit=st.integers(1, 12)
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_few_tracks_are_left_pages_are_full_and_name_each_rule_that_they_break(
    recommender: Recommender, items: Items, now: int, seed: int, left: int, pages: int, limit: int
) -> None:
    may = np.flatnonzero(items.available(items.country_number("SE"), now) & items.released(now))
    allowed = set(np.random.default_rng(seed).choice(may, left, replace=False).tolist())
    user = UserState(
        "u" * 22, not_interested=frozenset(t for i, t in enumerate(items.track_ids) if i not in allowed)
    )
    station = Station(f"few{seed}", f"track:{items.track_id(seed % len(items))}", "u", now)
    heard, relaxed = walk(recommender, station, pages, user, Context(country="SE"), limit)
    tracks = items.numbers(heard).tolist()
    assert set(tracks) <= allowed
    assert len(tracks) >= min(pages * limit, left)
    assert ("repeats" in relaxed) == (len(set(tracks)) < len(tracks))
    line = [int(items.artist[t]) for t in tracks]
    if any(line[i] in line[max(0, i - 5) : i] for i in range(1, len(line))):
        assert "artist_gap" in relaxed


def test_relaxations_are_counted(recommender: Recommender, items: Items, now: int) -> None:
    from serving.metrics import Metrics

    small = closed(recommender, np.arange(4))
    query = Query("q", Surface.RADIO, now, 1, 3, UserState("u" * 22))
    metrics = Metrics()
    metrics.decided(small.answer(tuned(query, Station("m", f"track:{items.track_id(9)}", "u", now), small)))
    assert 'recsys_relaxations_total{rule="catalog",surface="radio"} 1.0' in metrics.text().decode()
