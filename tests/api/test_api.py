"""The HTTP surface over a hand-written service, in process: shapes, refusals, limits, problems."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from recsys.ids import uuid7
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.api.edge import LOOPBACK_NAMES, MAX_BODY
from serving.api.list_schemas import SimilarAnswer
from serving.api.schemas import MAX_EVENTS, Acknowledgement, HomeAnswer, RadioAnswer
from tests.api.fake_service import ARTIST_IDS, LISTENERS, TRACK_IDS, FakeService


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service: FakeService) -> TestClient:
    return TestClient(create_app(service, access=UNGUARDED), raise_server_exceptions=False)


def save(**more: Any) -> dict[str, Any]:
    base = {"event_id": uuid7(), "kind": "save", "user_id": LISTENERS[0], "ts": "2026-03-01T10:00:00Z"}
    return base | {"track_id": TRACK_IDS[0]} | more


def is_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"]
    assert "\n" not in body["detail"]
    return body


def test_the_home_answer_has_the_documented_shape(client: TestClient) -> None:
    answer = client.get("/v1/home", params={"user_id": LISTENERS[0], "limit": 7, "country": "SE"})
    assert answer.status_code == 200
    home = HomeAnswer.model_validate(answer.json())
    assert {len(shelf.items) for shelf in home.shelves} == {7}


def test_a_new_listener_is_answered_without_an_id(client: TestClient) -> None:
    home = HomeAnswer.model_validate(client.get("/v1/home").json())
    assert len(home.user_id) == 22
    assert home.shelves


def test_radio_goes_on_from_its_cursor_without_repeats(client: TestClient) -> None:
    seed = f"artist:{ARTIST_IDS[1]}"
    first = RadioAnswer.model_validate(client.get("/v1/radio", params={"seed": seed}).json())
    then = client.get("/v1/radio", params={"seed": seed, "cursor": first.cursor}).json()
    second = RadioAnswer.model_validate(then)
    assert not {i.track_id for i in first.items} & {i.track_id for i in second.items}


def test_similar_tracks_have_the_documented_shape(client: TestClient) -> None:
    answer = client.get(f"/v1/tracks/{TRACK_IDS[3]}/similar", params={"limit": 5})
    assert len(SimilarAnswer.model_validate(answer.json()).items) == 5


@pytest.mark.parametrize("limit", ["0", "51", "-1", "1e3", "many", ""])
def test_a_limit_outside_1_to_50_is_a_problem(client: TestClient, limit: str) -> None:
    body = is_problem(client.get("/v1/home", params={"limit": limit}), 422)
    assert body["errors"][0]["where"] == "query.limit"


@pytest.mark.parametrize(
    "params",
    [
        {"user_id": "short"},
        {"user_id": "' OR 1=1 --"},
        {"country": "se"},
        {"country": "SWE"},
        {"device": "toaster"},
        {"tz": "x" * 65},
    ],
)
def test_malformed_parameters_are_problems_that_name_the_field(
    client: TestClient, params: dict[str, str]
) -> None:
    body = is_problem(client.get("/v1/home", params=params), 422)
    assert body["errors"][0]["where"] == f"query.{next(iter(params))}"


@pytest.mark.parametrize(
    "seed", ["", "track:", "mood:sad", "genre:", "a" * 22, f"track:{'a' * 22},{'b' * 22}"]
)
def test_a_malformed_radio_seed_is_a_problem(client: TestClient, seed: str) -> None:
    is_problem(client.get("/v1/radio", params={"seed": seed}), 422)


def test_unknown_ids_are_not_found(client: TestClient) -> None:
    nothing = "0" * 22
    for path in (
        f"/v1/radio?seed=track:{nothing}",
        f"/v1/tracks/{nothing}",
        f"/v1/artists/{nothing}",
        f"/v1/tracks/{nothing}/similar",
        "/v1/decisions/none",
    ):
        assert is_problem(client.get(path), 404)["type"] == "/docs#unknown-id"


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    is_problem(client.get("/v1/nothing"), 404)
    allowed = client.delete("/v1/home")
    is_problem(allowed, 405)
    assert allowed.headers["allow"] == "GET"


def test_a_fault_of_the_server_tells_nothing_of_its_inside(client: TestClient, service: FakeService) -> None:
    service.decisions["broken"] = {"value": object()}
    body = is_problem(client.get("/v1/decisions/broken"), 500)
    assert "object" not in body["detail"]


def test_a_catalog_track_and_artist_can_be_read(client: TestClient) -> None:
    assert client.get(f"/v1/tracks/{TRACK_IDS[0]}").json()["title"] == "Night Bus"
    assert client.get(f"/v1/artists/{ARTIST_IDS[0]}").json()["name"] == "The Long Exposure"


def test_good_events_of_a_batch_are_kept_and_bad_ones_refused_with_reasons(
    client: TestClient, service: FakeService
) -> None:
    good = save()
    batch = [good, save(kind="dance"), "not an object", save(surprise=1), good]
    answer = client.post("/v1/events", json={"events": batch})
    assert answer.status_code == 200
    receipt = Acknowledgement.model_validate(answer.json())
    assert [refusal.index for refusal in receipt.refused] == [1, 2, 3]
    assert all(refusal.reason for refusal in receipt.refused)
    assert list(service.log) == [good["event_id"]]


def test_posting_the_same_events_again_changes_nothing(client: TestClient) -> None:
    batch = {"events": [save(), save()]}
    assert client.post("/v1/events", json=batch).json()["accepted"] == 2
    again = client.post("/v1/events", json=batch).json()
    assert (again["accepted"], again["duplicates"], again["refused"]) == (0, 2, [])


@pytest.mark.parametrize("body", ["{", '{"events": [', "nonsense", "", "[" * 20_000])
def test_malformed_json_is_a_bad_request(client: TestClient, body: str) -> None:
    answer = client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    is_problem(answer, answer.status_code)


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"events": {}}', '{"events": []}', '{"events": [], "x": 1}', "7"]
)
def test_a_body_that_is_not_a_batch_is_a_problem(client: TestClient, body: str) -> None:
    is_problem(client.post("/v1/events", content=body, headers={"Content-Type": "application/json"}), 422)


def test_too_many_events_or_bytes_are_refused_whole(client: TestClient, service: FakeService) -> None:
    is_problem(client.post("/v1/events", json={"events": [save()] * (MAX_EVENTS + 1)}), 413)
    is_problem(client.post("/v1/events", json={"events": ["x" * MAX_BODY]}), 413)
    assert not service.log


def test_a_body_without_a_length_is_limited_while_it_is_read(client: TestClient) -> None:
    chunks = (b"x" * 65_536 for _ in range(MAX_BODY // 65_536 + 2))
    headers = {"Content-Type": "application/json"}
    is_problem(client.post("/v1/events", content=chunks, headers=headers), 413)


def test_events_are_not_taken_from_a_form_of_another_site(client: TestClient) -> None:
    body = '{"events": []}'
    is_problem(client.post("/v1/events", content=body, headers={"Content-Type": "text/plain"}), 415)
    preflight = client.options(
        "/v1/events", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert "access-control-allow-origin" not in preflight.headers


def test_a_full_log_refuses_events_and_says_when_to_come_back(
    client: TestClient, service: FakeService
) -> None:
    service.log_full = True
    answer = client.post("/v1/events", json={"events": [save()]})
    assert is_problem(answer, 503)["type"] == "/docs#log-unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert client.get("/v1/home").status_code == 200


def test_a_server_without_a_release_is_alive_but_not_ready(client: TestClient, service: FakeService) -> None:
    assert client.get("/readyz").status_code == 200
    service.is_ready = False
    assert client.get("/healthz").status_code == 200
    is_problem(client.get("/readyz"), 503)
    is_problem(client.get("/v1/home"), 503)


def test_the_record_of_an_answer_can_be_read(client: TestClient) -> None:
    home = client.get("/v1/home").json()
    record = client.get(f"/v1/decisions/{home['request_id']}").json()
    assert [s["track_id"] for s in record["slots"]] == [
        i["track_id"] for shelf in home["shelves"] for i in shelf["items"]
    ]


def test_only_the_server_s_own_host_names_are_answered(service: FakeService) -> None:
    app = create_app(service, hosts=LOOPBACK_NAMES)
    assert TestClient(app, base_url="http://127.0.0.1:8000").get("/healthz").status_code == 200
    assert TestClient(app, base_url="http://[::1]:8000").get("/healthz").status_code == 200
    is_problem(TestClient(app, base_url="http://rebound.example").get("/healthz"), 400)


def test_every_answer_forbids_foreign_scripts_and_framing(client: TestClient) -> None:
    for path in ("/", "/v1/home", "/nothing", "/docs"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_metrics_count_requests_by_route_and_answers_by_rung(client: TestClient) -> None:
    client.get("/v1/home")
    client.get("/v1/home", params={"limit": 99})
    client.get(f"/v1/tracks/{TRACK_IDS[0]}")
    client.get("/secret-looking-path")
    text = client.get("/metrics").text
    assert 'recsys_http_requests_total{method="GET",route="/v1/home",status="200"} 1.0' in text
    assert 'recsys_http_requests_total{method="GET",route="/v1/home",status="422"} 1.0' in text
    assert 'route="/v1/tracks/{track_id}"' in text
    assert "secret" not in text
    assert 'recsys_answers_total{logged="true",rung="full",surface="home"} 1.0' in text
    assert 'recsys_source_outcomes_total{outcome="timeout",source="sequence"} 1.0' in text
    assert 'recsys_stage_milliseconds_count{stage="ranker",surface="home"} 1.0' in text
    assert "recsys_status_log_end 0.0" in text


def test_the_openapi_document_gives_an_example_for_every_recommendation(client: TestClient) -> None:
    spec = client.get("/openapi.json").json()
    for path in ("/v1/home", "/v1/radio", "/v1/tracks/{track_id}/similar", "/v1/decisions/{request_id}"):
        assert "application/problem+json" in spec["paths"][path]["get"]["responses"]["422"]["content"]
    assert spec["components"]["schemas"]["EventBatch"]["examples"]
    page = client.get("/docs")
    assert page.status_code == 200
    for path in spec["paths"]:
        assert path in page.text
    assert "Night Bus" in page.text
