"""`session_id` on every recommendation endpoint: logged with the Decision, and refused where it cannot be one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.decisions import to_event
from serving.service import Service


@pytest.fixture(scope="module")
def client(tiny_service: Service) -> Iterator[TestClient]:
    yield TestClient(create_app(tiny_service, access=UNGUARDED))
    tiny_service.observers.clear()


def logged(service: Service, answer: Any) -> str | None:
    assert answer.status_code == 200, answer.text
    return to_event(service.decision_record(answer.json()["request_id"])).session_id


def test_an_answer_s_record_has_the_session_of_its_request(client: TestClient, tiny_service: Service) -> None:
    track = str(tiny_service.release().items.track_id(0))
    asked = {"session_id": "morning è"}
    assert logged(tiny_service, client.get("/v1/home", params=asked)) == "morning è"
    assert (
        logged(tiny_service, client.get("/v1/radio", params=asked | {"seed": f"track:{track}"}))
        == "morning è"
    )
    assert logged(tiny_service, client.get(f"/v1/tracks/{track}/similar", params=asked)) == "morning è"
    body = {"current": track, "queue": []} | asked
    assert logged(tiny_service, client.post("/v1/next-up", json=body)) == "morning è"
    assert (
        logged(tiny_service, client.post("/v1/continuation", json={"track_ids": [track]} | asked))
        == "morning è"
    )
    assert logged(tiny_service, client.get("/v1/home")) is None


@pytest.mark.parametrize("session", ["", "x" * 65])
def test_what_cannot_be_a_session_s_id_is_refused(client: TestClient, session: str) -> None:
    assert client.get("/v1/home", params={"session_id": session}).status_code == 422
    body = {"current": "5qYf3ZbKcTQw8LmVdN2xRe", "session_id": session}
    assert client.post("/v1/next-up", json=body).status_code == 422
