"""The list surfaces of the real service over a tiny world: their promises, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests_events import event, play

from recsys.errors import BadInput, UnknownId
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.schemas import Surface
from recsys.types import Ask, Context
from serving.replay import compare
from serving.service import Service
from tests.patient import patient

HOUR = 3_600_000
KEPT = (Surface.DAILY_MIX, Surface.DISCOVERY, Surface.RELEASE_RADAR)


@pytest.fixture(scope="module")
def now(tiny_service: Service) -> int:
    """Noon, UTC, two days after the training ended."""
    return tiny_service._fleet._by_version["1"].release.manifest.until + 2 * MS_PER_DAY + 12 * HOUR


@pytest.fixture(scope="module")
def listeners(tiny_service: Service) -> list[str]:
    """Listeners with the consent and at least 30 plays."""
    rows = tiny_service.listeners(600)
    users = [r["user_id"] for r in rows if r["plays"] >= 30]
    return [u for u in users if tiny_service.state(u).personalized]


@pytest.fixture(scope="module")
def asks(tiny_service: Service) -> dict[Surface, dict[str, Any]]:
    """What each surface is asked with, beside the listener."""
    items = tiny_service._fleet._by_version["1"].release.items
    tracks = items.track_ids
    return {
        Surface.DAILY_MIX: {},
        Surface.DISCOVERY: {},
        Surface.RELEASE_RADAR: {},
        Surface.BECAUSE: {"seed": f"track:{tracks[7]}"},
        Surface.SIMILAR: {"seed": f"track:{tracks[7]}"},
        Surface.SIMILAR_ARTISTS: {"seed": f"artist:{items.artist_ids[3]}"},
        Surface.CONTINUATION: {"options": {"track_ids": tracks[40:52]}},
        Surface.NEXT_UP: {"options": {"current": tracks[7], "queue": tracks[60:63]}},
    }


def slots(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found = answer["items"] if "items" in answer else [i for m in answer["mixes"] for i in m["items"]]
    return [i["top_track"] | i if "top_track" in i else i for i in found]


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["track_id"] for item in slots(answer)]


_users = iter(range(10_000))


@pytest.fixture
def twin(tiny_service: Service, listeners: list[str], now: int) -> Callable[[int], str]:
    """Makes a listener of one's own with the plays of a real one, all before the day of `now`."""

    def make(which: int = 0) -> str:
        user, source = f"{next(_users):04d}".rjust(22, "T"), tiny_service.state(listeners[which])
        rows = zip(source.track_id, source.start, source.ms_played, source.outcome, strict=True)
        bodies = [
            play(user, track, start + ms, ms, "trackdone" if outcome == 2 else "fwdbtn")
            for track, start, ms, outcome in rows
            if start + ms < now - MS_PER_DAY
        ]
        assert tiny_service.ingest(bodies)["refused"] == []
        return user

    return make


def test_mixes_share_no_track_and_are_long_enough(
    tiny_service: Service, listeners: list[str], now: int
) -> None:
    several = 0
    for user in listeners[::40]:
        answer = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 100, Context(), now))
        assert answer["rung"] == "full"
        assert 1 <= len(answer["mixes"]) <= 6
        assert len(set(ids(answer))) == len(ids(answer))
        assert all(50 <= len(mix["items"]) <= 100 for mix in answer["mixes"])
        assert len({mix["title"] for mix in answer["mixes"]}) == len(answer["mixes"])
        several += len(answer["mixes"]) > 1
    assert several


def test_mixes_lie_apart_and_mingle_familiar_with_new(
    tiny_service: Service, listeners: list[str], now: int
) -> None:
    release = tiny_service._fleet._by_version["1"].release
    unit, between, familiar = release.two_tower.unit_vectors, [], []
    for user in listeners[:8]:
        answer = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 50, Context(), now))
        known = set(tiny_service.state(user).track_id)
        means = [
            unit[release.items.numbers(i["track_id"] for i in m["items"])].mean(0) for m in answer["mixes"]
        ]
        units = np.stack([m / np.linalg.norm(m) for m in means])
        between += (units @ units.T)[np.triu_indices(len(units), 1)].tolist()
        familiar.append(np.mean([t in known for t in ids(answer)]))
    assert np.mean(between) < 0.3
    assert 0.15 < np.mean(familiar) < 0.7


@pytest.mark.parametrize("surface", KEPT)
def test_a_kept_list_stays_though_events_arrive_and_another_replica_answers(
    tiny_service: Service,
    tiny_home: Home,
    twin: Callable[[int], str],
    asks: dict[Surface, Any],
    now: int,
    surface: Surface,
) -> None:
    user = twin(1)
    first = tiny_service.recommend(Ask(surface, user, 30, Context(), now))
    assert not first["stored"]
    played = ids(first)[-1]
    tiny_service.ingest([play(user, played, now + 300_000, 200_000, "trackdone")])
    again = tiny_service.recommend(Ask(surface, user, 30, Context(), now + HOUR))
    with Service.open(tiny_home, patient(), background=False) as replica:
        elsewhere = replica.recommend(Ask(surface, user, 30, Context(), now + 2 * HOUR))
    for later in (again, elsewhere):
        assert slots(later) == slots(first)
        assert (later["stored"], later["dropped"]) == (True, 0)
        assert later["request_id"] == first["request_id"]


class NoStore:
    """An online store whose kept lists can be neither read nor written."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def get(self, key: str) -> bytes | None:
        if key.startswith("list:"):
            raise OSError("the store is away")
        return self._inner.get(key)

    def put(self, values: list[tuple[str, bytes]]) -> None:
        raise OSError("the store is away")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("surface", KEPT)
def test_without_a_store_the_same_list_comes_out_all_day(
    tiny_service: Service,
    twin: Callable[[int], str],
    now: int,
    surface: Surface,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = twin(2)
    with monkeypatch.context() as patch:
        patch.setattr(tiny_service, "quick", NoStore(tiny_service.quick))
        first = tiny_service.recommend(Ask(surface, user, 30, Context(), now))
    unrelated = tiny_service._fleet._by_version["1"].release.items.track_ids[1999]
    tiny_service.ingest([play(user, unrelated, now + 300_000, 9_000, "fwdbtn")])
    with monkeypatch.context() as patch:
        patch.setattr(tiny_service, "quick", NoStore(tiny_service.quick))
        second = tiny_service.recommend(Ask(surface, user, 30, Context(), now + HOUR))
    assert not second["stored"]
    assert second["request_id"] != first["request_id"]
    assert ids(second) == ids(first)


def test_the_day_is_the_listeners_own(tiny_service: Service, twin: Callable[[int], str], now: int) -> None:
    user, tokyo = twin(3), Context(tz="Asia/Tokyo")
    midnight = now - 12 * HOUR  # in UTC; 09:00 in Tokyo
    evening = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 30, tokyo, midnight - HOUR))
    morning = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 30, tokyo, midnight + HOUR))
    assert evening["period"] == morning["period"]
    assert ids(evening) == ids(morning)
    tomorrow = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 30, tokyo, midnight + 16 * HOUR))
    assert tomorrow["period"] > morning["period"]
    assert len(set(ids(tomorrow)) & set(ids(morning))) < 0.9 * len(ids(morning))


def test_what_is_rejected_leaves_a_kept_list_and_is_counted(
    tiny_service: Service, twin: Callable[[int], str], now: int
) -> None:
    user = twin(4)
    first = tiny_service.recommend(Ask(Surface.DISCOVERY, user, 30, Context(), now))
    unwanted = ids(first)[3:5]
    tiny_service.ingest([event("not_interested", user, t, now + 1_000) for t in unwanted])
    again = tiny_service.recommend(Ask(Surface.DISCOVERY, user, 30, Context(), now + 2_000))
    assert again["dropped"] == 2
    assert slots(again) == [item for item in slots(first) if item["track_id"] not in unwanted]


def test_a_listener_in_another_country_gets_only_what_is_open_there(
    tiny_service: Service, twin: Callable[[int], str], now: int
) -> None:
    items, user = tiny_service._fleet._by_version["1"].release.items, twin(5)
    for country in items.countries:
        answer = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 100, Context(country=country), now))
        open_ = items.available(items.country_number(country), now) & items.released(now)
        assert all(open_[items.number(t)] for t in ids(answer))


def never_heard(service: Service, user: str, now: int) -> list[str]:
    """This and next week's list of one listener, after checking that nothing in them was met before."""
    state = service.state(user)
    met = {*state.track_id, *state.saved}
    found: list[str] = []
    for week in (0, 1):
        answer = service.recommend(Ask(Surface.DISCOVERY, user, 30, Context(), now + week * 7 * MS_PER_DAY))
        assert answer["rung"] == "full"
        assert len(ids(answer)) == 30
        assert not set(ids(answer)) & met
        met |= set(ids(answer))
        found += ids(answer)
    return found


def test_discovery_holds_nothing_that_was_played_saved_or_listed_before(
    tiny_service: Service, listeners: list[str], now: int
) -> None:
    for user in listeners[5::40]:
        never_heard(tiny_service, user, now)


@pytest.mark.slow
def test_discovery_holds_nothing_met_before_for_every_listener(
    tiny_service: Service, listeners: list[str], now: int
) -> None:
    for user in listeners:
        never_heard(tiny_service, user, now + 50 * MS_PER_DAY)


def test_discovery_brings_more_new_artists_than_home(
    tiny_service: Service, listeners: list[str], now: int
) -> None:
    items, shares = tiny_service._fleet._by_version["1"].release.items, []
    for user in listeners[::40]:
        tracks = items.numbers(tiny_service.state(user).track_id)
        known = {items.artist_ids[a] for a in items.artist[tracks[tracks >= 0]]}
        home = tiny_service.home(user, 10, Context(), now)
        feed = [i["artist_id"] for s in home["shelves"] for i in s["items"]]
        found = tiny_service.recommend(Ask(Surface.DISCOVERY, user, 30, Context(), now + 30 * MS_PER_DAY))
        shares.append([np.mean([a not in known for a in feed])])
        shares[-1].append(np.mean([i["artist_id"] not in known for i in slots(found)]))
    home_share, discovery_share = np.mean(shares, axis=0)
    assert discovery_share > 0.75
    assert discovery_share > home_share + 0.3


def test_the_radar_holds_only_new_releases_followed_artists_first(
    tiny_service: Service, twin: Callable[[int], str], now: int
) -> None:
    items = tiny_service._fleet._by_version["1"].release.items
    fresh = np.flatnonzero((items.age_days(now) >= 0) & (items.age_days(now) <= 28) & items.released(now))
    user, artist = twin(6), items.artist_ids[items.artist[fresh[0]]]
    tiny_service.ingest([event("follow", user, None, now - MS_PER_DAY, artist_id=artist)])
    answer = tiny_service.recommend(Ask(Surface.RELEASE_RADAR, user, 50, Context(), now))
    assert answer["rung"] == "full"
    assert set(items.numbers(ids(answer))) <= set(fresh.tolist())
    codes = [i["reason"]["code"] for i in slots(answer) if i["propensity"] > 0.5]  # not explored
    order = ["followed_release", "played_release", "near_release"]
    caps = [order.index(code) for code in codes]
    assert codes[0] == "followed_release"
    assert {i["artist_id"] for i in slots(answer) if i["reason"]["code"] == "followed_release"} == {artist}
    assert np.mean(np.diff(caps) >= 0) > 0.8  # artist separation may defer a tier's last tracks


def test_because_starts_from_what_was_finished_last(
    tiny_service: Service, twin: Callable[[int], str], now: int
) -> None:
    user, track = twin(7), tiny_service._fleet._by_version["1"].release.items.track_ids[11]
    tiny_service.ingest([play(user, track, now - HOUR, 200_000, "trackdone")])
    answer = tiny_service.recommend(Ask(Surface.BECAUSE, user, 20, Context(), now))
    assert answer["seed"] == f"track:{track}"
    assert answer["title"].startswith("Because you listened to ")
    assert track not in ids(answer)
    other = tiny_service._fleet._by_version["1"].release.items.track_ids[12]
    asked = tiny_service.recommend(Ask(Surface.BECAUSE, "U" * 22, 20, Context(), now, seed=f"track:{other}"))
    assert asked["title"].startswith("More like ")  # nobody listened to it


def test_similar_artists_are_other_artists_nearest_first(
    tiny_service: Service, asks: dict[Surface, Any], now: int
) -> None:
    ask = asks[Surface.SIMILAR_ARTISTS]
    answer = tiny_service.recommend(Ask(Surface.SIMILAR_ARTISTS, None, 30, Context(), now, **ask))
    artists = [item["artist_id"] for item in answer["items"]]
    scores = [item["score"] for item in answer["items"]]
    assert len(set(artists)) == 30
    assert ask["seed"].partition(":")[2] not in artists
    assert scores == sorted(scores, reverse=True)
    assert all(i["top_track"]["artist_id"] == i["artist_id"] for i in answer["items"])
    release = tiny_service._fleet._by_version["1"].release
    own = release.items.artist_number(ask["seed"].partition(":")[2])
    near = [release.items.artist_ids[a] for a in release.artists.ids[own]]
    assert artists == [a for a in near if a in artists]


def test_a_continuation_never_repeats_the_list(
    tiny_service: Service, asks: dict[Surface, Any], listeners: list[str], now: int
) -> None:
    given = [*asks[Surface.CONTINUATION]["options"]["track_ids"], "0" * 22]
    ask = Ask(Surface.CONTINUATION, listeners[0], 50, Context(), now, options={"track_ids": given})
    answer = tiny_service.recommend(ask)
    assert (len(answer["items"]), answer["unknown"]) == (50, 1)
    assert not set(ids(answer)) & set(given)
    seeded = Ask(Surface.CONTINUATION, None, 10, Context(), now, seed="playlist:" + ",".join(given))
    assert len(tiny_service.recommend(seeded)["items"]) == 10


def test_next_up_keeps_away_from_what_was_just_skipped(
    tiny_service: Service, twin: Callable[[int], str], asks: dict[Surface, Any], now: int
) -> None:
    items, options = tiny_service._fleet._by_version["1"].release.items, asks[Surface.NEXT_UP]["options"]
    shares = []
    for which in (8, 9, 10, 11):
        user = twin(which)
        before = tiny_service.recommend(Ask(Surface.NEXT_UP, user, 20, Context(), now, options=options))
        genres = [i["genre"].split("/")[0] for i in slots(before)]
        bad = max(set(genres), key=genres.count)
        skipped = [i["track_id"] for i in slots(before) if i["genre"].startswith(bad)][:3]
        tiny_service.ingest(
            [play(user, t, now + 60_000 * (k + 1), 4_000, "fwdbtn") for k, t in enumerate(skipped)]
        )
        after = tiny_service.recommend(
            Ask(Surface.NEXT_UP, user, 20, Context(), now + 300_000, options=options)
        )
        assert after["skips"] == len(skipped)
        assert not set(ids(after)) & {*skipped, options["current"], *options["queue"]}
        artists = [int(items.artist[items.number(t)]) for t in [*options["queue"], *ids(after)]]
        assert all(artists[i] not in artists[max(0, i - 2) : i] for i in range(3, len(artists)))
        shares.append([np.mean([g == bad for g in genres])])
        shares[-1].append(np.mean([i["genre"].startswith(bad) for i in slots(after)]))
    was, became = np.mean(shares, axis=0)
    assert became < was


def test_every_list_replays_exactly_from_the_log(
    tiny_service: Service, listeners: list[str], asks: dict[Surface, Any], now: int
) -> None:
    recommender = tiny_service._fleet._by_version["1"]
    users = [*listeners[:3], None, nobody(tiny_service, 20, now)]
    asked = [
        tiny_service.recommend(Ask(surface, user, 20, Context(country="SE"), now, **more))["request_id"]
        for surface, more in asks.items()
        for user in users
    ]
    tiny_service._recent.clear()
    reports = [compare(recommender, tiny_service.decision_record(request_id)) for request_id in asked]
    assert [r for r in reports if not r["same"]] == []
    assert all(r["slots"] for r in reports)


def nobody(service: Service, first: int, now: int) -> str:
    """A listener with plays who has withdrawn the consent."""
    user = f"{next(_users):04d}".rjust(22, "C")
    tracks = service._fleet._by_version["1"].release.items.track_ids[first : first + 5]
    service.ingest([play(user, t, now - HOUR, 200_000, "trackdone") for t in tracks])
    service.ingest([event("search", user, None, now - 1, consent_personalization=False)])
    assert not service.state(user).personalized
    return user


@pytest.mark.parametrize("surface", [*KEPT, Surface.CONTINUATION, Surface.NEXT_UP, Surface.BECAUSE])
def test_without_the_consent_nothing_of_the_listener_is_read(
    tiny_service: Service, asks: dict[Surface, Any], now: int, surface: Surface
) -> None:
    def scores(user: str) -> dict[str, Any]:
        answer = tiny_service.recommend(Ask(surface, user, 20, Context(country="SE"), now, **asks[surface]))
        assert answer["rung"] in ("popular", "alone", "retrieval")
        assert not answer.get("stored")
        record = tiny_service.decision_record(answer["request_id"])
        return {name: column.tolist() for name, column in record.scores.items()} | {"ids": record.eligible}

    one, other = nobody(tiny_service, 100, now), nobody(tiny_service, 900, now)
    assert str(scores(one)) == str(scores(other))  # as text: nan is not equal to itself


@pytest.mark.parametrize(
    ("surface", "wrong", "error"),
    [
        (Surface.BECAUSE, {"seed": "track:" + "0" * 22}, UnknownId),
        (Surface.BECAUSE, {"seed": "genre:rock"}, BadInput),
        (Surface.SIMILAR, {"seed": "track:" + "0" * 22}, UnknownId),
        (Surface.SIMILAR, {}, BadInput),
        (Surface.SIMILAR_ARTISTS, {"seed": "artist:" + "0" * 22}, UnknownId),
        (Surface.SIMILAR_ARTISTS, {"seed": "track:" + "0" * 22}, BadInput),
        (Surface.CONTINUATION, {"options": {"track_ids": ["0" * 22]}}, UnknownId),
        (Surface.CONTINUATION, {}, BadInput),
        (Surface.CONTINUATION, {"options": {"track_ids": ["0" * 22] * 201}}, BadInput),
        (Surface.NEXT_UP, {"options": {"current": "0" * 22}}, UnknownId),
        (Surface.NEXT_UP, {}, BadInput),
    ],
)
def test_unknown_and_malformed_seeds_are_refused(
    tiny_service: Service, now: int, surface: Surface, wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        tiny_service.recommend(Ask(surface, None, 10, Context(), now, **wrong))


class Broken:
    """A model whose every call fails."""

    name = "broken"

    def __getattr__(self, attribute: str) -> None:
        raise RuntimeError("the model is down")


@pytest.fixture
def crippled(tiny_service: Service) -> Iterator[Callable[..., None]]:
    """Replaces parts of the loaded release for one test."""
    from dataclasses import replace

    from serving.recommender import Recommender

    whole = tiny_service._fleet._by_version["1"]

    def without(*parts: str) -> None:
        release = replace(whole.release, **{part: Broken() for part in parts})
        tiny_service._fleet._by_version["1"] = Recommender(release)
        tiny_service.live.keep([])  # what followed the catalog for the whole one

    yield without
    tiny_service._fleet._by_version["1"] = whole
    tiny_service.live.keep([])


RUNGS = {
    Surface.DAILY_MIX: ("light", "popular"),
    Surface.DISCOVERY: ("light", "popular"),
    Surface.RELEASE_RADAR: ("light", "retrieval"),
    Surface.BECAUSE: ("retrieval", "popular"),
    Surface.SIMILAR: ("full", "popular"),
    Surface.SIMILAR_ARTISTS: ("full", "popular"),
    Surface.CONTINUATION: ("retrieval", "popular"),
    Surface.NEXT_UP: ("light", "popular"),
}


@pytest.mark.parametrize("surface", RUNGS)
def test_every_list_has_a_ladder_and_keeps_the_rights_on_it(
    tiny_service: Service,
    crippled: Callable[..., None],
    twin: Callable[[int], str],
    asks: dict[Surface, Any],
    now: int,
    surface: Surface,
) -> None:
    items, user = tiny_service._fleet._by_version["1"].release.items, twin(12)
    open_ = items.available(items.country_number("SE"), now) & items.released(now)
    for broken, rung in zip((["sequence"], ["sequence", "two_tower"]), RUNGS[surface], strict=True):
        crippled(*broken)
        answer = tiny_service.recommend(Ask(surface, user, 20, Context(country="SE"), now, **asks[surface]))
        assert answer["rung"] == rung
        assert len(ids(answer)) >= 10
        assert all(open_[items.number(t)] for t in ids(answer))
        assert not answer.get("stored")  # what a lesser rung gave is not kept for the day


def test_a_kept_list_is_served_though_every_model_is_down(
    tiny_service: Service, crippled: Callable[..., None], twin: Callable[[int], str], now: int
) -> None:
    user = twin(13)
    first = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 20, Context(), now))
    crippled("sequence", "two_tower", "ranker", "light")
    again = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 20, Context(), now + HOUR))
    assert again["stored"]
    assert ids(again) == ids(first)


def test_a_withdrawn_consent_ends_what_was_kept(
    tiny_service: Service, twin: Callable[[int], str], now: int
) -> None:
    user = twin(14)
    assert tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 20, Context(), now))["rung"] == "full"
    tiny_service.ingest([event("search", user, None, now + 1_000, consent_personalization=False)])
    after = tiny_service.recommend(Ask(Surface.DAILY_MIX, user, 20, Context(), now + 2_000))
    assert (after["rung"], after["stored"]) == ("popular", False)


def test_somebody_new_gets_one_mix_and_nothing_is_kept_for_them(tiny_service: Service, now: int) -> None:
    answer = tiny_service.recommend(Ask(Surface.DAILY_MIX, None, 100, Context(country="DE"), now))
    assert answer["rung"] == "full"
    assert [len(mix["items"]) for mix in answer["mixes"]] == [100]
    assert tiny_service.store.get(f"list:daily_mix:{answer['user_id']}") is None


def test_real_answers_have_the_documented_shapes(
    tiny_service: Service, asks: dict[Surface, dict[str, Any]], listeners: list[str], now: int
) -> None:
    from serving.api import list_schemas as shapes

    models = {
        Surface.DAILY_MIX: shapes.MixesAnswer,
        Surface.DISCOVERY: shapes.DiscoveryAnswer,
        Surface.RELEASE_RADAR: shapes.RadarAnswer,
        Surface.BECAUSE: shapes.BecauseAnswer,
        Surface.SIMILAR: shapes.SimilarAnswer,
        Surface.SIMILAR_ARTISTS: shapes.SimilarArtistsAnswer,
        Surface.CONTINUATION: shapes.ContinuationAnswer,
        Surface.NEXT_UP: shapes.NextUpAnswer,
    }
    assert set(models) == set(asks)
    for surface, model in models.items():
        for user in (listeners[2], None):
            answer = tiny_service.recommend(Ask(surface, user, 5, Context(), now, **asks[surface]))
            model.model_validate(answer, strict=True)
