"""The admin page and the joined metrics: who sees them, what they say, over a real service."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from recsys.dataset import load
from recsys.evaluation.tasks import build_tasks
from recsys.home import Home
from recsys.ids import uuid7
from recsys.lake import Lake
from recsys.release import seal
from serving.access.gate import UNGUARDED, Access
from serving.access.keys import KeyFile, Scope
from serving.access.settings import AccessSettings
from serving.api.app import create_app
from serving.loaded import LoadedRelease
from serving.reference_stage import reference_of
from serving.registry import CHAMPION, Registry
from serving.service import Service
from serving.watch.board import Board, join
from serving.watch.drift import LEAST
from serving.watch.freshness import Freshness
from serving.watch.recent import Recent, quantile
from serving.watch.watching import Watching
from tests.api.fake_service import FakeService
from tests.patient import patient

BROWSER = {"Accept": "text/html,*/*"}


@pytest.fixture(scope="module")
def watched_service(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose release carries a reference, made here where the tiny home's has none."""
    home = Home.of(shutil.copytree(tiny_root, tmp_path_factory.mktemp("watched") / "home"))
    folder = Registry(home).get(CHAMPION).folder
    release = LoadedRelease.load(folder)
    if release.reference is None:
        data, old = load(Lake(home.lake)), release.manifest
        (task,) = build_tasks(data, data.split.test, data.split.end, names=("home",), cap=150)
        reference_of(release, task.batch).save(folder)
        seal(folder, old.version, old.data, old.until, old.config, old.metrics)
    with Service.open(home, patient(), background=False) as service:
        yield service


def test_the_reference_of_a_release_is_loaded_and_its_traffic_is_compared_with_it(
    watched_service: Service,
) -> None:
    client = TestClient(create_app(watched_service, access=UNGUARDED))
    users = watched_service.store.keys(40)
    for recommender in watched_service._fleet.loaded():
        assert recommender.drift is not None
        recommender.drift._every = 1  # every answer, to need fewer
    for asked in range(LEAST * 3 // 2):
        assert client.get("/v1/home", params={"user_id": users[asked % len(users)]}).is_success
    told = watched_service.status()["drift"]["champion"]
    assert told["answers"] >= LEAST
    assert {"utility", "p_finish", "two_tower"} <= set(told["scores"])
    assert told["features"]["duration_s"]["psi"] < 0.25
    text = client.get("/metrics").text
    families = {f.name: f for f in text_string_to_metric_families(text)}
    for name in ("recsys_feature_psi", "recsys_feature_null_rate", "recsys_feature_expected_null_rate"):
        assert len(families[name].samples) == len(told["features"])
    assert len(families["recsys_score_psi"].samples) == len(told["scores"])
    assert families["recsys_release_age_seconds"].samples[0].value > 0
    page = client.get("/admin").text
    assert max(told["features"], key=lambda name: told["features"][name]["psi"]).replace("_", " ") in page
    assert f"{told['answers']} sampled answers" in page


def test_events_are_told_with_the_time_that_they_took_to_the_state(tiny_service: Service) -> None:
    before = list(tiny_service.observers)
    client = TestClient(create_app(tiny_service, access=UNGUARDED))
    was = tiny_service.status()["freshness"]["count"]
    track = client.get("/v1/home").json()["shelves"][0]["items"][0]["track_id"]
    now = datetime.now(UTC).isoformat()
    events = [
        {"kind": "save", "user_id": "7" * 22, "ts": now, "track_id": track, "event_id": uuid7()}
        for _ in range(3)
    ]
    assert client.post("/v1/events", json={"events": events}).json()["accepted"] == 3
    tiny_service.observers[:] = before
    told = tiny_service.status()["freshness"]
    assert told["count"] == was + 3
    assert dict(map(tuple, told["buckets"]))[60.0] == told["count"]
    assert 0 <= told["seconds"] < 60
    assert f"recsys_event_to_state_seconds_count {was + 3:.1f}" in client.get("/metrics").text


def test_freshness_counts_each_event_in_the_class_of_its_wait() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    fresh = Freshness(clock=at.timestamp)
    fresh.folded([at - timedelta(seconds=s) for s in (0.02, 0.9, 1.0, 1.1, 100, -5)])
    told = fresh.report()
    buckets = dict(map(tuple, told["buckets"]))
    assert (buckets[0.01], buckets[0.025], buckets[1.0], buckets[60.0], told["count"]) == (1, 2, 4, 5, 6)
    assert told["seconds"] == 0


def guarded(root: Path, accept: dict[str, str] = BROWSER) -> tuple[TestClient, str, str]:
    keys = KeyFile(root)
    admin, events = keys.create("boss", {Scope.ADMIN}), keys.create("app", {Scope.EVENTS})
    access = Access.of_home(root, True, AccessSettings())
    return TestClient(create_app(FakeService(), None, access), headers=accept), admin, events


def basic(token: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{token}".encode()).decode()}


@pytest.mark.parametrize("path", ["/admin", "/admin/live"])
def test_only_a_key_with_the_admin_scope_sees_the_page(tmp_path: Path, path: str) -> None:
    client, admin, events = guarded(tmp_path)
    assert client.get("/").is_success  # takes the page's own cookie along: it is not enough
    assert client.get(path).status_code == 401
    assert client.get(path, headers=basic("rsk_0_none")).status_code == 401
    assert client.get(path, headers=basic(events)).status_code == 403
    assert client.get(path, headers={"Authorization": "Basic not-base64"}).status_code == 401
    for right in (basic(admin), {"Authorization": f"Bearer {admin}"}):
        answer = client.get(path, headers=right)
        assert answer.status_code == 200
        assert "Live state" in answer.text or "Requests" in answer.text


def test_a_browser_is_asked_for_the_key_and_a_program_for_a_bearer(tmp_path: Path) -> None:
    client, _, _ = guarded(tmp_path)
    assert client.get("/admin").headers["www-authenticate"].startswith("Basic ")
    program = client.get("/admin", headers={"Accept": "application/json"})
    assert program.headers["www-authenticate"].startswith("Bearer ")


def test_the_key_a_browser_remembers_opens_no_write_and_nothing_for_another_site(tmp_path: Path) -> None:
    client, admin, _ = guarded(tmp_path)
    assert client.post("/v1/events", json={"events": []}, headers=basic(admin)).status_code == 401
    assert client.post("/admin", json={}, headers=basic(admin)).status_code == 401
    foreign = basic(admin) | {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/admin", headers=foreign).status_code == 401


def test_the_page_holds_no_inline_script_or_style_and_tells_failures(tmp_path: Path) -> None:
    service = FakeService()
    client = TestClient(create_app(service, access=UNGUARDED))
    client.get("/v1/home")
    service.is_ready = False
    assert client.get("/v1/home").status_code == 503
    page = client.get("/admin").text
    assert "style=" not in page
    assert "<script>" not in page
    assert "not ready" in page
    assert "NotReady" in page
    assert "/v1/home" in page
    assert client.get("/static/admin.js").is_success


def test_recent_figures_are_of_the_last_minutes_only() -> None:
    clock = [1_000_000.0]
    recent = Recent(lambda: clock[0])
    for ms in (1, 1, 1, 50):
        recent.answered("/v1/home", 200, ms / 1000)
    recent.answered("/v1/home", 503, 0.001)
    (row,) = recent.report()["routes"]
    assert (row["requests"], row["errors"]) == (5, 1)
    assert 1 <= row["p50"] <= 1.25
    assert 50 <= row["p99"] <= 62.5
    assert sum(recent.report()["line"]) == pytest.approx(0.5)
    clock[0] += 301
    assert recent.report()["routes"] == []
    assert quantile([0] * 41, 0.5) == 0.5


def test_replicas_take_the_lowest_free_number_and_each_tells_what_all_of_them_count(tmp_path: Path) -> None:
    boards = [Board(tmp_path), Board(tmp_path)]
    assert [b.number for b in boards] == [0, 1]
    apps = [create_app(FakeService(), access=UNGUARDED, watching=Watching(board=b)) for b in boards]
    clients = [TestClient(app) for app in apps]
    for client, times in zip(clients, (2, 3), strict=True):
        for _ in range(times):
            client.get("/v1/home")
    boards[1].leave(TestClient(create_app(FakeService(), access=UNGUARDED)).get("/metrics").content)
    joined = clients[0].get("/metrics").text
    families = {f.name: f for f in text_string_to_metric_families(joined)}
    replicas = {s.labels["replica"] for f in families.values() for s in f.samples}
    assert replicas == {"0", "1"}
    home = [s for s in families["recsys_answers"].samples if s.name.endswith("_total")]
    assert [(s.labels["replica"], s.value) for s in home] == [("0", 2.0)]
    boards[0].close()
    again = Board(tmp_path)
    assert again.number == 0
    again.close()
    boards[1].close()


def test_joining_keeps_each_family_once_and_every_sample() -> None:
    one = '# HELP a x\n# TYPE a counter\na_total{k="v 1"} 1.0\n# HELP b y\n# TYPE b gauge\nb 2.0\n'
    two = '# HELP a x\n# TYPE a counter\na_total{k="v 1"} 5.0\n# HELP c z\n# TYPE c gauge\nc 3.0\n'
    joined = join({0: one, 7: two})
    assert joined.count("# TYPE a counter") == 1
    samples = {
        (s.name, s.labels["replica"]): s.value
        for f in text_string_to_metric_families(joined)
        for s in f.samples
    }
    assert samples == {("a_total", "0"): 1, ("a_total", "7"): 5, ("b", "0"): 2, ("c", "7"): 3}
