"""Shadow answers: given after the answer, kept apart from it, and met by nothing that reads answers."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError
from tests_events import event

from experiments.exposure import exposures
from recsys.dataset import load
from recsys.errors import UnknownId
from recsys.features.backfill import backfill
from recsys.home import Home
from recsys.ingest import move
from recsys.lake import Lake
from recsys.pipeline import Pipeline
from recsys.rewards import attribute
from recsys.schemas import EventKind, Surface
from recsys.types import Ask, Context
from serving import shadow
from serving.gating import shadowed
from serving.gating.settings import ShadowStageSettings
from serving.off_policy import Change, reconsider
from serving.replay import replay
from serving.service import Service
from serving.settings import ServiceSettings, ShadowSettings
from tests.gating.test_gate_run import DAY, flipped, morning, released

ALL = ServiceSettings(source_budget_ms=None, shadow=ShadowSettings(release="2", share=1.0))


@pytest.fixture(scope="module")
def home(untouched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home.of(shutil.copytree(untouched_root, tmp_path_factory.mktemp("shadow") / "home"))
    released(home, flipped)
    return home


@pytest.fixture(scope="module")
def service(home: Home) -> Iterator[Service]:
    with Service.open(home, ALL, background=False) as service:
        yield service


@pytest.fixture(scope="module")
def asked(service: Service, home: Home) -> list[dict[str, Any]]:
    users = [row["user_id"] for row in service.listeners(8)]
    pages = [service.home(user, 4, Context(), morning(home)) for user in users]
    move(service.log, Lake(home.lake))
    return pages


def rows(home: Home, kind: str) -> pl.DataFrame:
    events = Lake(home.lake).scan("events")
    return events.filter(pl.col("kind") == kind, pl.col("day") > pl.lit(0).cast(pl.Date)).collect()


def test_each_answer_has_a_shadow_of_the_other_release_that_nobody_sees(
    service: Service, home: Home, asked: list[dict[str, Any]]
) -> None:
    shadows = rows(home, "shadow")
    told = [shadow.read(payload) for payload in shadows["payload"]]
    ours = {page["request_id"] for page in asked}
    assert {facts["of"] for facts, _ in told} >= ours
    for facts, decision in told:
        assert decision is not None
        assert (decision.release.version, facts["over"]) == ("2", "1")
        assert 0 <= facts["overlap"] < 1  # the other one ranks the worst first
        shown = [s["track_id"] for s in service.decision_record(facts["of"]).slots]
        assert [s["track_id"] for s in decision.slots] != shown
    status = service.status()["shadow"]
    assert status["answered"] >= len(asked)
    assert status["failed"] == status["unlogged"] == 0


def test_the_answer_is_the_one_that_is_given_without_a_shadow(home: Home, service: Service) -> None:
    ask = Ask(Surface.HOME, service.listeners(1)[0]["user_id"], 4, Context(), morning(home) + 1)
    request_id = "01957f00-0000-7000-8000-00000000abcd"
    [with_shadow] = service.many([ask], [request_id])
    service._shadow._settings = ShadowSettings()
    [without] = service.many([ask], [request_id])
    service._shadow._settings = ALL.shadow
    assert [s["track_id"] for s in with_shadow.slots] == [s["track_id"] for s in without.slots]
    assert [s["propensity"] for s in with_shadow.slots] == [s["propensity"] for s in without.slots]


def test_nothing_that_reads_answers_meets_a_shadow(
    service: Service, home: Home, asked: list[dict[str, Any]]
) -> None:
    lake = Lake(home.lake)
    shadows = rows(home, "shadow")
    assert len(shadows) >= len(asked)
    assert shadows["session_id"].is_null().all()
    assert shadows["request_id"].is_null().all()  # no reward, exposure or play can be joined to one
    assert shadows["exposed"].is_null().all()
    assert shadows["took_ms"].is_null().all()  # nor is it a time of an answer
    everything = lake.scan("events")
    without = everything.filter(pl.col("kind") != "shadow")
    assert attribute(everything).equals(attribute(without))
    assert exposures(everything).collect().height == exposures(without).collect().height
    assert load(lake).plays.rows == load(lake, versions=lake.versions()).plays.rows
    users = shadows["user_id"].unique().to_list()
    before = {s.user_id: s for s in states(without, users)}
    assert {s.user_id: s for s in backfill(lake, users)} == before
    for row in shadows.select("event_id").iter_rows():
        with pytest.raises(UnknownId):
            service.decision_record(row[0])
    assert replay(home, asked[0]["request_id"])["same"]


def states(events: pl.LazyFrame, users: list[str]) -> list[Any]:
    from recsys.features.backfill import states_of

    kept = events.filter(
        pl.col("user_id").is_in(users),
        pl.col("kind") != "decision",
        ~pl.col("incognito_mode").fill_null(False),
    )
    return list(states_of(kept))


def test_a_shadow_does_not_reach_listener_states_or_off_policy_data(
    service: Service, home: Home, asked: list[dict[str, Any]]
) -> None:
    user = service.listeners(1)[0]["user_id"]
    before = service.state(user)
    service.home(user, 4, Context(), morning(home) + 5)
    service.refresh()
    assert service.state(user).start == before.start
    assert service.state(user).consent_at == before.consent_at
    page = asked[1]
    decision = service.decision_record(page["request_id"])
    slot = decision.slots[0]
    about = {"position": 0, "request_id": decision.request_id, "surface": "home"}
    service.ingest([event("impression", decision.user_id, slot["track_id"], decision.now, **about)])
    late = service.home(user, 4, Context(), morning(home) + 3 * DAY)
    assert late
    about["request_id"] = late["request_id"]
    first = service.decision_record(late["request_id"]).slots[0]["track_id"]
    service.ingest([event("impression", user, first, morning(home) + 3 * DAY, **about)])
    move(service.log, Lake(home.lake))
    known = reconsider(home, Change("itself"), since=morning(home), settings=ALL)
    assert set(known.frame["request_id"]) <= set(rows(home, "decision")["event_id"])


def test_clients_may_not_send_a_shadow(service: Service, home: Home) -> None:
    user = service.listeners(1)[0]["user_id"]
    said = service.ingest([event("shadow", user, None, morning(home))])
    assert said["refused"][0]["reason"] == "kind: shadow is written by the server"


def test_without_consent_and_in_incognito_nothing_is_shadowed(service: Service, home: Home) -> None:
    before = service.status()["shadow"]["answered"]
    user = service.listeners(1)[0]["user_id"]
    service.home(user, 4, Context(incognito=True), morning(home))
    assert service.status()["shadow"]["answered"] == before
    share = [shadow.sampled(_query(i), 0.25) for i in range(4000)]
    assert sum(share) / 4000 == pytest.approx(0.25, abs=0.03)
    assert share == [shadow.sampled(_query(i), 0.25) for i in range(4000)]


def _query(i: int) -> Any:
    from recsys.types import Query, UserState

    return Query(f"request-{i}", Surface.HOME, 0, i, 10, UserState("u" * 22))


def test_a_shadow_that_fails_costs_no_answer_and_is_counted(
    service: Service, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Pipeline.run
    broken = service._shadowing("2", _query(0))
    assert broken is not None
    theirs = set(map(id, broken._pipelines.values()))

    def fails(self: Pipeline[Any], *args: Any, **more: Any) -> Any:
        if id(self) in theirs:
            raise RuntimeError("out of order")
        return real(self, *args, **more)

    monkeypatch.setattr(Pipeline, "run", fails)
    before = service.status()["shadow"]["failed"]
    user = service.listeners(1)[0]["user_id"]
    assert service.home(user, 4, Context(), morning(home) + 9)["rung"] == "full"
    assert service.status()["shadow"]["failed"] == before + 1
    move(service.log, Lake(home.lake))
    settings = ShadowStageSettings(answers=1, slower=1000)
    waits = settings.model_copy(update={"answers": 10_000})
    events, week = Lake(home.lake).scan("events"), int(7.5 * 86_400_000)
    assert shadowed.checks(events, "2", 0, 1, waits)[0].outcome == "running"
    assert shadowed.checks(events, "2", 0, week, waits)[0].outcome == "stopped"
    checks = shadowed.checks(Lake(home.lake).scan("events"), "2", 0, 1, settings)
    assert checks[0].rule == "shadow.failures"
    assert checks[0].outcome == "stopped"
    assert "RuntimeError" in checks[0].sentence


def test_a_running_service_follows_the_gate_s_file(service: Service, home: Home) -> None:
    shadow.point(home, "2", 0.5)
    service.refresh()
    assert service.status()["shadow"]["share"] == 0.5
    shadow.target_file(home).write_text("{nonsense")
    service.refresh()
    assert service.status()["shadow"]["share"] == 0.0  # what cannot be read shadows nothing
    shadow.target_file(home).write_text("[1, 2]")
    service.refresh()
    assert service.status()["shadow"]["share"] == 0.0
    shadow.point(home, None)
    service.refresh()
    assert service.status()["shadow"]["share"] == 1.0
    with pytest.raises(ValidationError):
        ShadowSettings(share=1.5)


def test_a_shadow_that_is_withdrawn_while_requests_wait_ends_in_peace(home: Home, tmp_path: Path) -> None:
    place = Home.of(shutil.copytree(home.root, tmp_path / "home"))
    settings = ALL.model_copy(update={"shadow": ShadowSettings(release="2", share=1.0, work_share=1.0)})
    with Service.open(place, settings, background=False) as service:
        user = service.listeners(1)[0]["user_id"]
        waiting, stop = service._shadow, threading.Event()
        waiting._background = True
        service.home(user, 4, Context(), morning(home))
        assert len(waiting._waiting) == 1
        waiting._settings = waiting._settings.model_copy(update={"release": None})
        thread = waiting.start(stop)
        until = time.monotonic() + 20
        while waiting._waiting:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert thread.is_alive()
        stop.set()


@pytest.mark.slow
def test_in_the_background_requests_do_not_wait_and_what_is_too_much_is_dropped(
    home: Home, tmp_path: Path
) -> None:
    place = Home.of(shutil.copytree(home.root, tmp_path / "home"))
    few = ALL.model_copy(update={"shadow": ShadowSettings(release="2", share=1.0, waiting=1, work_share=1.0)})
    with Service.open(place, few) as service:
        user = service.listeners(1)[0]["user_id"]
        for i in range(12):
            service.home(user, 4, Context(), morning(home) + i)
        until = time.monotonic() + 20
        while (told := service.status()["shadow"])["answered"] + told["dropped"] < 12:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert told["answered"] >= 1
        assert told["failed"] == 0
    assert EventKind.SHADOW.value in set(
        Lake(place.lake).scan("events").select("kind").unique().collect()["kind"]
    )
