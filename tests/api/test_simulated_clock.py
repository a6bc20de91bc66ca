"""`Recsys-Now`: in a simulation callers say what time it is; a server that keeps its own time says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from experiments.config import parse
from experiments.source import Source, Sources
from recsys.home import Home
from recsys.ids import uuid7
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.service import Service
from tests.patient import patient

MARCH = 1_772_359_200_000  # 2026-03-01T10:00Z
DAY = 86_400_000
ONE_DAY = """
experiments:
  - name: brief
    salt: brief-1
    start: 2026-03-01T00:00:00Z
    stop: 2026-03-02T00:00:00Z
    arms: [{name: all, weight: 1.0, parameters: {home.epsilon: 0.4}}]
"""


@pytest.fixture(scope="module")
def service(tiny_home: Home) -> Iterator[Service]:
    config = parse(Sources((Source.parse(ONE_DAY, Path("brief.yaml")),)))
    with Service.open(tiny_home, patient(), experiments=config, background=False) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    return TestClient(create_app(service, access=UNGUARDED, simulated_clock=True))


def home_at(client: TestClient, now: int | None) -> str:
    headers = {} if now is None else {"Recsys-Now": str(now)}
    return str(client.get("/v1/home", params={"limit": 3}, headers=headers).json()["request_id"])


def test_a_request_is_answered_and_assigned_at_the_time_it_says(client: TestClient, service: Service) -> None:
    before, during, after = (
        service.decision_record(home_at(client, now)) for now in (MARCH - DAY, MARCH, MARCH + DAY)
    )
    assert [d.now for d in (before, during, after)] == [MARCH - DAY, MARCH, MARCH + DAY]
    assert [d.arms for d in (before, during, after)] == [{}, {"brief": "all"}, {}]


def test_without_the_header_a_request_has_the_machine_s_time(client: TestClient, service: Service) -> None:
    home_at(client, MARCH)
    assert service.decision_record(home_at(client, None)).now > MARCH + DAY


def test_events_are_received_at_the_time_that_they_say(client: TestClient, service: Service) -> None:
    event = {
        "event_id": uuid7(MARCH),
        "kind": "search",
        "user_id": "7LkPwQ2nTzRb4VxYcM8sHd",
        "ts": "2026-03-01T10:00:00Z",
    }
    body = {"events": [event, {**event, "event_id": uuid7(MARCH), "ts": "2026-03-04T10:00:00Z"}]}
    answer = client.post("/v1/events", json=body, headers={"Recsys-Now": str(MARCH)}).json()
    assert answer["accepted"] == 1
    assert "48 hours ahead" in answer["refused"][0]["reason"]
    logged = service.log.find(event["event_id"], 0)
    assert logged is not None
    assert logged.received_at is not None
    assert logged.received_at.timestamp() * 1000 == MARCH


@pytest.mark.parametrize("path", ["/v1/home", "/v1/status", "/nowhere"])
def test_a_server_with_a_clock_of_its_own_refuses_the_header(service: Service, path: str) -> None:
    own = TestClient(create_app(service, access=UNGUARDED))
    answer = own.get(path, headers={"Recsys-Now": str(MARCH)})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "--simulated-clock" in answer.json()["detail"]


@pytest.mark.parametrize(
    "value",
    ["", "now", "-1", "+1772359200000", "1772359200", "1772359200000.0", "17_72", "9" * 14, "9" * 5000],
)
def test_what_is_no_time_is_refused(client: TestClient, value: str) -> None:
    answer = client.get("/v1/home", headers={"Recsys-Now": value})
    assert answer.status_code == 400
    assert "Recsys-Now" in answer.json()["detail"]


def test_two_times_are_refused(client: TestClient) -> None:
    headers = [("Recsys-Now", str(MARCH)), ("Recsys-Now", str(MARCH + 1))]
    assert client.get("/v1/home", headers=headers).status_code == 400
