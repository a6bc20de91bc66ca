"""Home, radio and similar of the real service over a tiny world."""

import numpy as np
import pytest

from recsys.errors import BadInput, UnknownId
from recsys.ids import public_id, uuid7
from recsys.items import MS_PER_DAY
from recsys.types import Context
from serving.service import Service


@pytest.fixture(scope="module")
def now(tiny_service: Service) -> int:
    return tiny_service._fleet.of.__self__._by_version["1"].release.manifest.until + MS_PER_DAY


def heavy(service: Service) -> str:
    """A listener with plays and with consent."""
    for row in service.listeners(200):
        if row["plays"] > 50 and service.state(row["user_id"]).personalized:
            return str(row["user_id"])
    raise AssertionError("the tiny world has no heavy listener")


def tracks(answer: dict) -> list[str]:
    return [item["track_id"] for shelf in answer["shelves"] for item in shelf["items"]]


def test_a_known_listener_gets_full_personal_shelves(tiny_service: Service, now: int) -> None:
    answer = tiny_service.home(heavy(tiny_service), 10, Context(country="SE"), now)
    assert answer["rung"] == "full"
    assert answer["logged"]
    shelves = {shelf["id"]: shelf for shelf in answer["shelves"]}
    assert {"made_for_you", "popular"} < set(shelves)
    assert len(shelves["made_for_you"]["items"]) == 10
    alike = shelves.get("because_you_finished") or shelves["more_like"]
    assert alike["title"].startswith(("Because you finished ", "More like "))
    assert len(set(tracks(answer))) == len(tracks(answer))


def test_at_least_two_hundred_candidates_are_fully_ranked(tiny_service: Service, now: int) -> None:
    answer = tiny_service.home(heavy(tiny_service), 10, Context(), now)
    counts = tiny_service.decision(answer["request_id"])["counts"]
    assert counts["union"] > counts["rank"] >= 200


def test_a_new_listener_gets_a_sensible_answer(tiny_service: Service, now: int) -> None:
    answer = tiny_service.home(None, 5, Context(country="DE"), now)
    assert len(tracks(answer)) >= 10
    assert {i["reason"]["code"] for s in answer["shelves"] for i in s["items"]} <= {
        "popular_near_you",
        "explore",
        "new_release",
    }


def test_a_listener_without_consent_gets_the_nonpersonal_rung(tiny_service: Service, now: int) -> None:
    user = next(
        row["user_id"]
        for row in tiny_service.listeners(500)
        if not tiny_service.state(row["user_id"]).personalized
    )
    assert tiny_service.home(user, 5, Context(), now)["rung"] == "popular"


def test_only_tracks_open_in_the_country_are_shown(tiny_service: Service, now: int) -> None:
    items = tiny_service._fleet._by_version["1"].release.items
    user = heavy(tiny_service)
    for country in (*items.countries, None, "AQ"):
        answer = tiny_service.home(user, 20, Context(country=country), now)
        allowed = items.available(items.country_number(country), now) & items.released(now)
        assert all(allowed[items.number(t)] for t in tracks(answer))


def test_propensities_are_those_of_epsilon_greedy(tiny_service: Service, now: int) -> None:
    answer = tiny_service.home(heavy(tiny_service), 10, Context(), now)
    values = [item["propensity"] for shelf in answer["shelves"] for item in shelf["items"]]
    assert all(0 < p <= 1 for p in values)
    assert np.mean(np.array(values) > 0.94) > 0.7


def test_radio_never_repeats_and_keeps_artists_apart(tiny_service: Service, now: int) -> None:
    user = heavy(tiny_service)
    seed = tracks(tiny_service.home(user, 5, Context(), now))[0]
    page = tiny_service.radio(f"track:{seed}", None, user, 10, Context(), now)
    heard = [(i["track_id"], i["artist_id"]) for i in page["items"]]
    for k in range(6):
        page = tiny_service.radio(page["seed"], page["cursor"], user, 10, Context(), now + k)
        heard += [(i["track_id"], i["artist_id"]) for i in page["items"]]
    assert len(heard) == 70
    assert len({track for track, _ in heard} | {seed}) == 71
    assert all(heard[i][1] not in {a for _, a in heard[max(0, i - 3) : i]} for i in range(1, 70))


def test_radio_moves_away_from_what_is_skipped(tiny_service: Service, now: int) -> None:
    from tests_events import play

    user = "R" * 22
    seed = tracks(tiny_service.home(None, 5, Context(), now))[0]
    page = tiny_service.radio(f"track:{seed}", None, user, 10, Context(), now)
    parent = [i["genre"].split("/")[0] for i in page["items"]]
    bad = max(set(parent), key=parent.count)
    skipped = [i["track_id"] for i in page["items"] if i["genre"].startswith(bad)][:3]
    unskipped = tiny_service.radio(page["seed"], page["cursor"], "Q" * 22, 20, Context(), now + 1)
    events = [play(user, t, now + 60_000 * (i + 1), 4_000, "fwdbtn") for i, t in enumerate(skipped)]
    assert tiny_service.ingest(events)["accepted"] == len(skipped)
    after = tiny_service.radio(page["seed"], page["cursor"], user, 20, Context(), now + 600_000)

    def share(answer: dict) -> float:
        return float(np.mean([i["genre"].startswith(bad) for i in answer["items"]]))

    assert share(after) <= share(unskipped)
    assert tiny_service.decision(after["request_id"])["listener"]["skipped"]


def test_artist_and_playlist_seeds_start_stations(tiny_service: Service, now: int) -> None:
    home = tiny_service.home(None, 5, Context(), now)
    item = home["shelves"][0]["items"][0]
    for seed in (f"artist:{item['artist_id']}", "playlist:" + ",".join(tracks(home)[:3])):
        assert len(tiny_service.radio(seed, None, None, 10, Context(), now)["items"]) == 10


@pytest.mark.parametrize("seed", ["", "track:", "mood:rock", "track", "playlist:"])
def test_a_malformed_seed_is_refused_in_words(tiny_service: Service, now: int, seed: str) -> None:
    with pytest.raises(BadInput, match="seed must be"):
        tiny_service.radio(seed, None, None, 10, Context(), now)


def test_unknown_ids_are_refused(tiny_service: Service, now: int) -> None:
    with pytest.raises(UnknownId):
        tiny_service.similar("x" * 22, 5)
    with pytest.raises(UnknownId):
        tiny_service.radio("track:" + "x" * 22, None, None, 10, Context(), now)
    with pytest.raises(BadInput):
        tiny_service.radio("", "../../etc", None, 10, Context(), now)


def test_not_interested_takes_a_track_away_at_once(tiny_service: Service, now: int) -> None:
    from tests_events import event

    user = heavy(tiny_service)
    unwanted = tracks(tiny_service.home(user, 10, Context(), now))[:3]
    tiny_service.ingest([event("not_interested", user, t, now) for t in unwanted])
    assert not set(unwanted) & set(tracks(tiny_service.home(user, 10, Context(), now + 1)))


def test_a_play_is_in_the_next_answers_history(tiny_service: Service, now: int) -> None:
    from tests_events import play

    user = public_id("one play", uuid7())  # nobody's yet, on any engine
    first = tiny_service.home(user, 5, Context(), now)
    track = first["shelves"][0]["items"][0]["track_id"]
    tiny_service.ingest([play(user, track, now + 200_000, 180_000, "trackdone")])
    second = tiny_service.home(user, 5, Context(), now + 300_000)
    alike = next(s for s in second["shelves"] if s["id"] == "more_like")
    assert alike["items"][0]["reason"]["code"] == f"similar:{track}"


def test_similar_tracks_are_ordered_and_exclude_the_track(tiny_service: Service, now: int) -> None:
    track = tracks(tiny_service.home(None, 5, Context(), now))[0]
    items = tiny_service.similar(track, 10)["items"]
    scores = [i["score"] for i in items]
    assert scores == sorted(scores, reverse=True)
    assert track not in {i["track_id"] for i in items}
