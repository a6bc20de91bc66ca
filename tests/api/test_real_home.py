"""The HTTP surface over a real tiny home: shapes, the loop from answer to event to answer, many threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from recsys.ids import uuid7
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.api.list_schemas import SimilarAnswer
from serving.api.schemas import Acknowledgement, HomeAnswer, RadioAnswer

if TYPE_CHECKING:
    from serving.service import Service


@pytest.fixture(scope="module")
def client(tiny_service: Service) -> Iterator[TestClient]:
    yield TestClient(create_app(tiny_service, access=UNGUARDED))
    tiny_service.observers.clear()


@pytest.fixture(scope="module")
def listener(client: TestClient, tiny_service: Service) -> str:
    return str(tiny_service.listeners(1)[0]["user_id"])


def event(answer: Any, item: Any, kind: str, **more: Any) -> dict[str, Any]:
    base = {"event_id": uuid7(), "kind": kind, "user_id": answer.user_id, "ts": "2026-03-01T10:00:00Z"}
    return base | {"request_id": answer.request_id, "track_id": item.track_id} | more


def home(client: TestClient, user_id: str | None, limit: int = 10) -> HomeAnswer:
    params = {"limit": limit} | ({"user_id": user_id} if user_id else {})
    return HomeAnswer.model_validate(client.get("/v1/home", params=params).json(), strict=True)


def test_home_of_a_listener_and_of_somebody_new_have_the_documented_shape(
    client: TestClient, listener: str
) -> None:
    known, new = home(client, listener), home(client, None)
    assert known.user_id == listener
    for answer in (known, new):
        assert answer.rung == "full"
        assert answer.logged
        shown = [item.track_id for shelf in answer.shelves for item in shelf.items]
        assert len(shown) >= 10
        assert len(shown) == len(set(shown))


@pytest.mark.parametrize("limit", [1, 50])
def test_the_smallest_and_the_largest_limit_are_answered(
    client: TestClient, listener: str, limit: int
) -> None:
    answer = home(client, listener, limit)
    assert max(len(shelf.items) for shelf in answer.shelves) <= limit


def test_a_station_of_many_pages_never_repeats_a_track(client: TestClient, listener: str) -> None:
    first = home(client, listener).shelves[0].items[0]
    for seed in (f"track:{first.track_id}", f"artist:{first.artist_id}", f"playlist:{first.track_id}"):
        cursor, heard = None, []
        for _ in range(4):
            params = {"seed": seed, "user_id": listener} | ({"cursor": cursor} if cursor else {})
            page = RadioAnswer.model_validate(client.get("/v1/radio", params=params).json(), strict=True)
            cursor = page.cursor
            heard += [item.track_id for item in page.items]
        assert len(heard) == len(set(heard)) == 40


def test_a_cursor_that_is_not_ours_is_a_problem(client: TestClient, listener: str) -> None:
    track = home(client, listener).shelves[0].items[0].track_id
    for cursor, status in (("nonsense", 400), ("0199b3c5-7a10-7c3e-9f21-6d0b2f4e8a55.10", 404)):
        answer = client.get("/v1/radio", params={"seed": f"track:{track}", "cursor": cursor})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_what_a_listener_rejects_is_not_in_the_next_answer(client: TestClient) -> None:
    answer = home(client, None)
    item = answer.shelves[0].items[0]
    batch = [event(answer, item, "not_interested"), event(answer, item, "play_end")]
    receipt = client.post("/v1/events", json={"events": batch}).json()
    assert Acknowledgement.model_validate(receipt).accepted == 1
    assert receipt["refused"] == [{"index": 1, "reason": "event: Value error, play_end needs ms_played"}]
    then = home(client, answer.user_id)
    assert item.track_id not in {i.track_id for shelf in then.shelves for i in shelf.items}


def test_a_client_cannot_forge_a_decision(client: TestClient) -> None:
    answer = home(client, None)
    forged = event(answer, answer.shelves[0].items[0], "decision", payload="{}")
    receipt = client.post("/v1/events", json={"events": [forged]}).json()
    assert receipt["accepted"] == 0
    assert len(receipt["refused"]) == 1


def test_similar_tracks_and_the_catalog_know_the_shown_tracks(client: TestClient, listener: str) -> None:
    item = home(client, listener).shelves[0].items[0]
    similar = client.get(f"/v1/tracks/{item.track_id}/similar", params={"limit": 8}).json()
    assert len(SimilarAnswer.model_validate(similar, strict=True).items) == 8
    assert client.get(f"/v1/tracks/{item.track_id}").json()["title"] == item.title
    assert client.get(f"/v1/artists/{item.artist_id}").json()["name"] == item.artist_name


def test_the_record_and_its_page_say_what_was_shown(client: TestClient, listener: str) -> None:
    answer = home(client, listener)
    shown = [item.track_id for shelf in answer.shelves for item in shelf.items]
    record = client.get(f"/v1/decisions/{answer.request_id}").json()
    assert [slot["track_id"] for slot in record["slots"]] == shown
    page = client.get(f"/decisions/{answer.request_id}")
    assert page.status_code == 200
    assert f"{len(shown)} slots from {len(record['eligible'])} eligible tracks" in page.text


def test_the_pages_render_real_answers(client: TestClient, listener: str) -> None:
    html = client.get("/", params={"user_id": listener}).text
    assert html.count('class="track"') >= 20
    seed = f"track:{home(client, listener).shelves[0].items[0].track_id}"
    assert client.get("/radio", params={"seed": seed}).text.count('class="track"') == 10


def test_stage_times_and_lags_are_in_the_metrics(client: TestClient, listener: str) -> None:
    home(client, listener)
    text = client.get("/metrics").text
    assert 'recsys_stage_milliseconds_count{stage="select",surface="home"}' in text
    assert "recsys_status_lake_lag" in text


def test_many_threads_get_as_many_different_answers(client: TestClient, listener: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: home(client, listener), range(24)))
    assert len({answer.request_id for answer in answers}) == 24
    assert {answer.rung for answer in answers} == {"full"}
