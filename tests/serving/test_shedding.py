"""More requests than can be answered in full: less for each, and a refusal only where the queue is full."""

import asyncio
import threading
import time

import httpx
import pytest

from recsys.pipeline import Effort
from recsys.types import Ask, Context
from serving.api.app import create_app
from serving.service import Service
from serving.settings import SheddingSettings
from serving.shedding import ADMITTED, Admission, Admitted
from tests.api.fake_service import FakeService


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def efforts(waits_ms: list[float], every_ms: float = 10.0) -> list[Effort]:
    clock = Clock()
    gate = Admission(SheddingSettings(), clock)
    out = []
    for wait in waits_ms:
        clock.now += every_ms / 1000
        out.append(gate.admit(wait / 1000).effort)
    return out


def test_a_burst_that_drains_is_answered_in_full() -> None:
    assert set(efforts(([80.0] * 5 + [1.0] * 5) * 20)) == {Effort.FULL}


def test_a_queue_that_stands_for_an_interval_costs_the_first_rung_until_it_drains() -> None:
    given = efforts([80.0] * 40 + [10.0] * 5)
    assert given[0] == Effort.FULL
    assert set(given[25:40]) == {Effort.LIGHT}
    assert set(given[40:]) == {Effort.FULL}


def test_who_waited_too_long_gets_the_last_rung_at_once() -> None:
    assert efforts([250.0]) == [Effort.LEAST]


def test_a_pause_forgets_the_queue_of_before() -> None:
    clock = Clock()
    gate = Admission(SheddingSettings(), clock)
    for _ in range(40):
        clock.now += 0.01
        gate.admit(0.08)
    clock.now += 60
    assert gate.admit(0.08).effort == Effort.FULL


class Slow(FakeService):
    """Takes a while for each answer, longer for the whole ladder, and counts who is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.most = 0
        self.efforts: list[Effort] = []
        self._lock = threading.Lock()

    def recommend(self, ask: Ask) -> dict:
        admitted = ADMITTED.get()
        assert admitted is not None
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.efforts.append(admitted.effort)
        time.sleep((0.04, 0.02, 0.002)[admitted.effort])
        with self._lock:
            self.inside -= 1
        return super().recommend(ask)


async def burst(service: Slow, settings: SheddingSettings, requests: int) -> list[tuple[int, str]]:
    transport = httpx.ASGITransport(create_app(service, settings=settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        calls = [client.get("/v1/home") for _ in range(requests)]
        live = [client.get("/healthz") for _ in range(3)]
        answers = await asyncio.gather(*calls, *live)
    assert {a.status_code for a in answers[requests:]} == {200}
    return [(a.status_code, a.headers.get("retry-after", "")) for a in answers[:requests]]


def test_a_crowd_is_answered_by_lower_rungs_and_never_more_at_once_than_allowed() -> None:
    service = Slow()
    settings = SheddingSettings(concurrency=3, queue=200, light_ms=20, least_ms=100, interval_ms=40)
    answers = asyncio.run(burst(service, settings, 60))
    assert {status for status, _ in answers} == {200}
    assert service.most == 3
    assert service.efforts[0] == Effort.FULL
    assert service.efforts.count(Effort.LEAST) > 20


def test_only_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    answers = asyncio.run(burst(Slow(), SheddingSettings(concurrency=1, queue=5), 20))
    assert [status for status, _ in answers].count(200) == 6
    assert {answer for answer in answers if answer[0] != 200} == {(503, "2")}


@pytest.mark.parametrize("effort", list(Effort))
def test_a_shed_request_starts_lower_and_its_decision_says_why(tiny_service: Service, effort: Effort) -> None:
    user = next(row["user_id"] for row in tiny_service.listeners(5))
    token = ADMITTED.set(Admitted(effort, "shed: a test"))
    try:
        answer = tiny_service.home(user, 5, Context(country="SE"), None)
    finally:
        ADMITTED.reset(token)
    assert answer["rung"] == {0: "full", 1: "light", 2: "popular"}[effort]
    assert len(tiny_service.decision(answer["request_id"])["fallen"]) == {0: 0, 1: 1, 2: 4}[effort]
