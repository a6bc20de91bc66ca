"""Listener control over HTTP and a real home: each wish holds from the next request on, everywhere, and stays."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from tests_events import event, play

from recsys.dataset import trainable
from recsys.features.backfill import backfill
from recsys.home import Home
from recsys.ids import public_id
from recsys.ingest import move
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.schemas import Surface
from recsys.types import Context, Query, UserState
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.recommender import Recommender, request_seed
from serving.replay import compare
from serving.service import Service
from serving.settings import ServiceSettings

MORNING, NIGHT, PLAYLIST = "morning", "night", public_id("controls", "playlist")


@dataclass
class Place:
    """A service of this file's own, reached over HTTP, that can be stopped and started again."""

    home: Home
    service: Service
    client: TestClient

    @classmethod
    def open(cls, root: Path) -> Place:
        settings = ServiceSettings(source_budget_ms=None)  # a busy machine answers in full as well
        service = Service.open(Home.of(root), settings, background=False)
        return cls(Home.of(root), service, TestClient(create_app(service, access=UNGUARDED)))

    def post(self, *events: dict[str, Any]) -> None:
        answer = self.client.post("/v1/events", json={"events": list(events)}).json()
        assert (answer["accepted"], answer["refused"]) == (len(events), [])

    def home_of(self, user: str, **more: Any) -> dict[str, Any]:
        answer = self.client.get("/v1/home", params={"user_id": user, "limit": 20, **more})
        assert answer.status_code == 200
        return dict(answer.json())

    def listener(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What the scorers read of the listener for an answer."""
        return dict(self.client.get(f"/v1/decisions/{answer['request_id']}").json()["listener"])


@pytest.fixture(scope="module")
def place(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    opened = Place.open(Path(shutil.copytree(tiny_root, tmp_path_factory.mktemp("controls") / "home")))
    yield opened
    opened.service.close()


@pytest.fixture(scope="module")
def now(place: Place) -> int:
    return place.service._fleet._by_version["1"].release.manifest.until + MS_PER_DAY


def items(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for shelf in answer.get("shelves", [answer]) for item in shelf["items"]]


def tracks(answer: dict[str, Any]) -> set[str]:
    return {item["track_id"] for item in items(answer)}


def artists(answer: dict[str, Any]) -> set[str]:
    return {item["artist_id"] for item in items(answer)}


def somebody(place: Place, name: str, now: int) -> str:
    """A listener with three plays in the morning and three, from a playlist, at night."""
    user = public_id("controls", name)
    found = [item["track_id"] for item in items(place.home_of(user))][:6]
    events = [
        play(
            user, track, now - (7 - i) * 200_000, 180_000, "trackdone", session_id=MORNING if i < 3 else NIGHT
        )
        | ({} if i < 3 else {"playlist_id": PLAYLIST})
        for i, track in enumerate(found)
    ]
    place.post(*events)
    return user


WISHES = [
    ("not_interested", "undo_not_interested", "track_id"),
    ("not_interested", "undo_not_interested", "artist_id"),
    ("snooze_artist", "unsnooze_artist", "artist_id"),
]


@pytest.mark.parametrize(("wish", "back", "about"), WISHES)
def test_what_is_not_wanted_is_gone_with_the_next_request_and_can_be_taken_back(
    place: Place, now: int, wish: str, back: str, about: str
) -> None:
    user = somebody(place, f"{wish} {about}", now)
    first = place.home_of(user)
    unwanted = items(first)[0]
    told = {about: unwanted[about]} | ({"snooze_days": 3650} if wish == "snooze_artist" else {})
    place.post(event(wish, user, None, now, **told))
    for seed in (f"track:{unwanted['track_id']}", f"artist:{unwanted['artist_id']}"):
        page = place.client.get("/v1/radio", params={"seed": seed, "user_id": user, "limit": 50}).json()
        assert unwanted[about] not in {item[about] for item in items(page)}
    for answer in (place.home_of(user), place.home_of(user, incognito=True)):
        assert len(items(answer)) >= 20
        assert unwanted[about] not in {item[about] for item in items(answer)}
    place.post(event(back, user, None, now + 1, **{about: unwanted[about]}))
    shown = (place.home_of(user, limit=50) for _ in range(20))  # exploration may leave it out of one
    assert any(unwanted[about] in {item[about] for item in items(answer)} for answer in shown)


def test_a_snooze_ends_at_its_time(place: Place, now: int) -> None:
    user = somebody(place, "snoozer", now)
    page = items(place.service.home(user, 20, Context(), now))
    [(artist, _)] = Counter(item["artist_id"] for item in page).most_common(1)  # wanted, not drawn by chance
    place.post(event("snooze_artist", user, None, now, artist_id=artist, snooze_days=2))
    last, after = now + 2 * MS_PER_DAY - 1, now + 2 * MS_PER_DAY
    assert artist not in artists(place.service.home(user, 50, Context(), last))
    shown = (
        place.service.home(user, 50, Context(), after) for _ in range(10)
    )  # exploration may leave it out
    assert any(artist in artists(answer) for answer in shown)


@pytest.mark.parametrize("about", [{"session_id": NIGHT}, {"session_id": MORNING, "playlist_id": PLAYLIST}])
def test_what_is_excluded_from_taste_is_read_by_nothing_until_it_is_included_again(
    place: Place, now: int, about: dict[str, str]
) -> None:
    user = somebody(place, f"excluder {len(about)}", now)
    before = place.home_of(user)
    place.post(event("exclude_from_taste", user, None, now, **about))
    without = place.home_of(user)
    place.post(event("include_in_taste", user, None, now + 1, **about))
    after = place.home_of(user)
    assert [place.listener(answer)["plays"] for answer in (before, without, after)] == [6, 3, 6]
    assert len(place.service.state(user).track_id) == 6, "the plays themselves are kept"
    recommender = place.service._fleet._by_version["1"]
    assert compare(recommender, place.service.decision_record(without["request_id"]))["same"]


def test_an_incognito_answer_reads_no_history_and_trains_nothing(place: Place, now: int) -> None:
    user = somebody(place, "incognito", now)
    state = place.service.state(user)
    home = place.home_of(user, incognito=True)
    seed = f"track:{items(home)[0]['track_id']}"
    page = place.client.get("/v1/radio", params={"seed": seed, "user_id": user, "incognito": True}).json()
    for answer in (home, page):
        seen = place.listener(answer)
        assert (seen["plays"], seen["personalized"], seen["incognito"]) == (0, False, True)
        assert answer["user_id"] != user
    assert home["rung"] == "popular"
    place.post(play(user, items(home)[1]["track_id"], now, 180_000, "trackdone", incognito_mode=True))
    assert replace(place.service.state(user), offset=-1) == replace(state, offset=-1)
    assert place.home_of(user)["rung"] == "full"
    move(place.service.log, Lake(place.home.lake))
    logged = (
        Lake(place.home.lake)
        .scan("events")
        .filter(pl.col("event_id").is_in([home["request_id"], page["request_id"]]))
    )
    assert (
        logged.select("incognito_mode", "consent_personalization", "consent_analytics").collect().rows()
        == [(True, False, False)] * 2
    )
    assert trainable(logged).collect().is_empty()


def test_without_personalization_no_surface_reads_anything_and_the_next_consent_brings_it_back(
    place: Place, now: int
) -> None:
    user = somebody(place, "refuser", now)
    seed = f"track:{items(place.home_of(user))[0]['track_id']}"

    def answers() -> list[dict[str, Any]]:
        radio = place.client.get("/v1/radio", params={"seed": seed, "user_id": user}).json()
        return [place.home_of(user), radio]

    place.post(event("consent", user, None, now, consent_personalization=False))
    for answer in answers():
        seen = place.listener(answer)
        assert (seen["plays"], seen["personalized"], answer["user_id"]) == (0, False, user)
        assert (answer["rung"] == "popular") == (answer["surface"] == "home")
        recommender = place.service._fleet._by_version["1"]
        assert compare(recommender, place.service.decision_record(answer["request_id"]))["same"]
    place.post(event("consent", user, None, now + 1, consent_personalization=True))
    assert [(answer["rung"], place.listener(answer)["plays"]) for answer in answers()] == [("full", 6)] * 2


def test_two_listeners_without_personalization_get_the_same_ladder_whatever_they_heard(
    place: Place, now: int
) -> None:
    recommender = place.service._fleet._by_version["1"]
    blank = UserState("B" * 22, personalized=False)
    heard = replace(place.service.state(somebody(place, "heard", now)), user_id="B" * 22, personalized=False)
    recommender.last_good.remember("B" * 22, [1, 2, 3])
    for surface in (Surface.HOME, Surface.RADIO):
        slots = [recommender.answer(query(user, surface, now)).slots for user in (blank, heard)]
        assert slots[0] == slots[1] != []


class Broken:
    """A model whose every call fails."""

    name = "broken"

    def __getattr__(self, attribute: str) -> None:
        raise RuntimeError("the model is down")


def query(user: UserState, surface: Surface, now: int) -> Query:
    return Query("r", surface, now, request_seed("r"), 30, user, Context(country="SE"), station=(1, 2))


@pytest.mark.parametrize("surface", [Surface.HOME, Surface.RADIO])
@pytest.mark.parametrize("personalized", [True, False])
@pytest.mark.parametrize(
    "broken", [[], ["ranker"], ["ranker", "light"], ["ranker", "light", "two_tower"], ["all but last good"]]
)
def test_wishes_hold_on_every_rung(
    place: Place, now: int, surface: Surface, broken: list[str], personalized: bool
) -> None:
    release = place.service._fleet._by_version["1"].release
    user = replace(place.service.state(somebody(place, "rungs", now)), personalized=personalized)
    parts = ["ranker", "light", "two_tower"] if broken == ["all but last good"] else broken
    recommender = Recommender(replace(release, **{name: Broken() for name in parts}))
    if broken == ["all but last good"]:
        recommender.last_good.remember(user.user_id, list(range(0, len(release.items), 3)))
    shown = np.array([slot["track"] for slot in recommender.answer(query(user, surface, now)).slots])
    first, second, third = [*dict.fromkeys(release.items.artist[shown].tolist())][:3]
    ids = release.items.artist_ids
    wishing = replace(
        user,
        not_interested_artists=frozenset([ids[first], public_id("controls", "an artist not in the release")]),
        snoozed=((ids[second], now + 1), (ids[third], now)),
        not_interested=frozenset([release.items.track_id(int(shown[-1]))]),
    )
    after = recommender.answer(query(wishing, surface, now))
    placed = np.array([slot["track"] for slot in after.slots])
    assert not set(release.items.artist[placed]) & {first, second}
    assert third in release.items.artist[placed], "that snooze is over"
    assert shown[-1] not in placed
    assert len(placed) >= 10


def test_wishes_are_there_after_a_restart_and_in_a_backfill(place: Place, now: int) -> None:
    user = somebody(place, "restart", now)
    unwanted = items(place.home_of(user))[0]
    place.post(
        event("snooze_artist", user, None, now, artist_id=unwanted["artist_id"], snooze_days=3650),
        event("exclude_from_taste", user, None, now, session_id=NIGHT),
        event("not_interested", user, unwanted["track_id"], now),
    )
    state = place.service.state(user)
    place.service.close()
    reopened = Place.open(place.home.root)
    place.service, place.client = reopened.service, reopened.client
    assert place.service.state(user) == state
    assert list(backfill(Lake(place.home.lake), [user])) == [replace(state, offset=-1)]
    answer = place.home_of(user)
    assert unwanted["artist_id"] not in artists(answer)
    assert place.listener(answer)["plays"] == 3
