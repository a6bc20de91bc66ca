"""The list endpoints over a hand-written service: shapes, limits, problems."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from recsys.types import Context
from serving.api.app import create_app
from serving.api.list_schemas import (
    BecauseAnswer,
    ContinuationAnswer,
    ContinuationRequest,
    DiscoveryAnswer,
    MixesAnswer,
    NextUpAnswer,
    RadarAnswer,
    SimilarAnswer,
    SimilarArtistsAnswer,
)
from tests.api.fake_service import ARTIST_IDS, LISTENERS, TRACK_IDS, FakeService

READ: list[tuple[str, type[BaseModel]]] = [
    ("/v1/mixes", MixesAnswer),
    ("/v1/discovery", DiscoveryAnswer),
    ("/v1/release-radar", RadarAnswer),
    ("/v1/because", BecauseAnswer),
    (f"/v1/tracks/{TRACK_IDS[3]}/similar", SimilarAnswer),
    (f"/v1/artists/{ARTIST_IDS[1]}/similar", SimilarArtistsAnswer),
]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(FakeService())) as client:
        yield client


@pytest.mark.parametrize(("path", "model"), READ)
def test_every_list_has_the_documented_shape(client: TestClient, path: str, model: type[BaseModel]) -> None:
    params = {"user_id": LISTENERS[0], "limit": 5, "country": "SE", "tz": "Asia/Tokyo"}
    answer = client.get(path, params=params)
    assert answer.status_code == 200
    body = model.model_validate(answer.json()).model_dump()
    assert len(body.get("items") or body["mixes"][0]["items"]) == 5
    assert body["user_id"] == LISTENERS[0]


@pytest.mark.parametrize(("path", "most"), [(p, 100 if p.endswith("mixes") else 50) for p, _ in READ])
def test_limits_are_held(client: TestClient, path: str, most: int) -> None:
    assert client.get(path, params={"limit": most}).status_code == 200
    for limit in (0, most + 1, "many"):
        answer = client.get(path, params={"limit": limit})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["where"] == "query.limit"


def test_a_playlist_is_continued_and_a_queue_goes_on(client: TestClient) -> None:
    body = {"track_ids": [TRACK_IDS[0], "0" * 22], "user_id": LISTENERS[1], "limit": 7}
    answer = ContinuationAnswer.model_validate(client.post("/v1/continuation", json=body).json())
    assert (len(answer.items), answer.unknown) == (7, 1)
    queue = {"current": TRACK_IDS[2], "queue": TRACK_IDS[3:6]}
    assert len(NextUpAnswer.model_validate(client.post("/v1/next-up", json=queue).json()).items) == 20


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/continuation", {}),
        ("/v1/continuation", {"track_ids": []}),
        ("/v1/continuation", {"track_ids": ["a" * 22] * 201}),
        ("/v1/continuation", {"track_ids": ["short"]}),
        ("/v1/continuation", {"track_ids": ["a" * 22], "limit": 51}),
        ("/v1/continuation", {"track_ids": ["a" * 22], "country": "Sweden"}),
        ("/v1/continuation", {"track_ids": ["a" * 22], "surprise": 1}),
        ("/v1/next-up", {"queue": []}),
        ("/v1/next-up", {"current": "a" * 22, "queue": ["a" * 22] * 101}),
        ("/v1/next-up", {"current": "a" * 22, "device": "toaster"}),
    ],
)
def test_a_body_of_the_wrong_form_is_a_problem(client: TestClient, path: str, body: dict) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_unknown_ids_are_problems_too(client: TestClient) -> None:
    nothing = "0" * 22
    asked = [client.get(f"/v1/{kind}s/{nothing}/similar") for kind in ("track", "artist")]
    asked += [client.get("/v1/because", params={"seed": f"{kind}:{nothing}"}) for kind in ("track", "artist")]
    asked += [client.post("/v1/continuation", json={"track_ids": [nothing]})]
    asked += [client.post("/v1/next-up", json={"current": nothing})]
    for answer in asked:
        assert answer.status_code == 404
        assert answer.json()["type"] == "/docs#unknown-id"


@pytest.mark.parametrize("seed", ["", "track:", "genre:rock", "playlist:" + "a" * 22, "a" * 22])
def test_because_takes_a_track_or_an_artist(client: TestClient, seed: str) -> None:
    assert client.get("/v1/because", params={"seed": seed}).status_code == 422


def test_the_page_of_lists_escapes_titles_and_names_every_list(client: TestClient) -> None:
    for path in ("/lists", "/page/lists"):
        html = client.get(path, params={"user_id": LISTENERS[0]}).text
        assert "&lt;script&gt;alert(" in html
        assert "<script>alert(" not in html
        for title in ("Daily mixes", "Discovery", "Release radar", "More like it"):
            assert title in html
    assert client.get("/lists", params={"user_id": "short"}).status_code == 422


def test_a_body_says_of_the_situation_what_query_parameters_say() -> None:
    told = {"country": "SE", "tz": "Europe/Stockholm", "device": "car"}
    body = ContinuationRequest(
        track_ids=[TRACK_IDS[0]], **told, explicit=False, incognito=True, tier="premium"
    )
    assert body.situation == Context(**told, explicit=False, incognito=True, tier="premium")
    assert ContinuationRequest(track_ids=[TRACK_IDS[0]]).situation == Context()
