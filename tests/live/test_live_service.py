"""What is published shows in the next answer; what is withdrawn is in none, in whatever process that was said."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from live_world import again, like, track_id
from sqlalchemy import text

from music.catalog.database import writing
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.pipeline import Pipeline, Result, Rung
from recsys.schemas import Surface
from recsys.types import Context, Query, QueryBatch
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.parts.sources import TwoTowerSource, heard
from serving.recommender import Recommender, request_seed
from serving.replay import replay
from serving.service import Service
from tests.patient import patient

OPEN = Context("SE", tier="premium")


def now_of(service: Service) -> int:
    return recommender(service).release.manifest.until + MS_PER_DAY


def today(service: Service) -> date:
    return datetime.fromtimestamp(now_of(service) / 1000, UTC).date()


def recommender(service: Service) -> Recommender:
    return service.live.fresh(service._fleet.loaded()[0])


def shown(answer: dict[str, Any]) -> list[str]:
    return [item["track_id"] for shelf in answer["shelves"] for item in shelf["items"]]


def listeners(service: Service, n: int) -> list[str]:
    found = [row["user_id"] for row in service.listeners(40)]
    return [user for user in found if service.state(user).personalized][:n]


def query(service: Service, user: str, name: str, context: Context = OPEN) -> Query:
    return Query(name, Surface.HOME, now_of(service), request_seed(name), 10, service.state(user), context)


def test_a_published_track_is_retrieved_by_the_next_request_within_a_second(service: Service) -> None:
    user, items = listeners(service, 1)[0], recommender(service).release.items
    best = items.number(shown(service.home(user, 10, OPEN, now_of(service)))[0])
    began = time.perf_counter()
    service.catalog.write(like(items, best, *(f"fresh {i}" for i in range(12)), release_date=today(service)))
    answer = service.home(user, 10, OPEN, now_of(service))
    assert time.perf_counter() - began < 1
    record = service.decision_record(answer["request_id"])
    new = np.array(record.eligible) >= len(items)
    assert np.isfinite(record.scores["source:two_tower"][new]).sum() == 12
    assert np.isfinite(record.scores["source:new"][new]).any()
    titles = {item["title"]: item for shelf in answer["shelves"] for item in shelf["items"]}
    assert any(str(title).startswith("fresh") for title in titles)
    near = service.similar(track_id("fresh 3"), 11)["items"]
    assert sum(str(item["title"]).startswith("fresh") for item in near) == 11
    station = service.radio(f"track:{track_id('fresh 0')}", None, user, 10, OPEN, now_of(service))
    assert len(station["items"]) == 10


def test_a_play_of_a_new_track_is_history_like_any_other(service: Service) -> None:
    from tests_events import play

    user, items = listeners(service, 1)[0], recommender(service).release.items
    service.catalog.write(like(items, 3, "fresh"))
    service.ingest([play(user, track_id("fresh"), now_of(service) - 600_000, 180_000, "trackdone")])
    answer = service.home(user, 10, OPEN, now_of(service))
    assert answer["rung"] == "full"
    record = service.decision_record(answer["request_id"])
    assert len(items) in record.eligible


def test_a_withdrawal_said_in_another_process_is_in_no_later_answer(service: Service, home: Home) -> None:
    user = listeners(service, 1)[0]
    gone = shown(service.home(user, 10, OPEN, now_of(service)))[:2]
    script = (
        "import sys; from datetime import UTC, datetime; from music.catalog import Catalog\n"
        "catalog = Catalog.open(sys.argv[1])\n"
        "for track in sys.argv[2:]: catalog.withdraw(track, datetime.now(UTC))\n"
    )
    subprocess.run([sys.executable, "-c", script, home.catalog_url, *gone], check=True)
    with Service.open(home, patient(), background=False) as other:
        for served in (service, other):
            assert not set(gone) & set(shown(served.home(user, 10, OPEN, now_of(service))))
            assert not set(gone) & {i["track_id"] for i in served.similar(shown_first(served), 50)["items"]}
        other.catalog.restore(gone[0])
        record = service.decision_record(service.home(user, 10, OPEN, now_of(service))["request_id"])
        number = recommender(service).release.items.number
        assert number(gone[0]) in record.eligible
        assert number(gone[1]) not in record.eligible


def shown_first(service: Service) -> str:
    return shown(service.home(None, 10, OPEN, now_of(service)))[0]


def test_a_track_withdrawn_while_the_answer_is_made_is_not_in_it(service: Service, home: Home) -> None:
    user = listeners(service, 1)[0]
    began = recommender(service)
    first = began.answer(query(service, user, "late"))
    gone = first.slots[0]["track_id"]

    def newest() -> Recommender:
        service.catalog.withdraw(gone, datetime.now(UTC))
        return service.live.fresh(began)

    record = began.answer(query(service, user, "late"), newest)
    assert gone not in [slot["track_id"] for slot in record.slots]
    assert first.slots[0]["track"] not in record.eligible
    assert record.counts["reselect"] == len(first.eligible) - 1
    slate = began.replay(record).slates[0]
    assert [(i.track, i.propensity) for i in slate.items] == [
        (s["track"], s["propensity"]) for s in record.slots
    ]


def test_answers_replay_under_the_catalog_of_their_time(service: Service, home: Home) -> None:
    users, items = listeners(service, 3), recommender(service).release.items
    asked = []
    for i, user in enumerate(users):
        near = items.number(shown(service.home(user, 10, OPEN, now_of(service)))[0])
        names = (f"new {i} {k}" for k in range(12))
        service.catalog.write(like(items, near, *names, release_date=today(service)))
        answer = service.home(user, 10, OPEN, now_of(service))
        asked.append(answer["request_id"])
        service.catalog.withdraw(shown(answer)[0], datetime.now(UTC))
        service.catalog.write(again(items, items.number(shown(answer)[1]), genre="other/kind", duration_ms=1))
    assert [service.decision_record(r).versions["catalog"] for r in asked] == ["2", "5", "8"]
    assert any(max(service.decision_record(r).eligible) >= len(items) for r in asked)
    for request_id in asked:
        report = replay(home, request_id)
        assert report["same"], report["differences"]
        assert report["slots"]


def test_every_rung_keeps_rights_tier_and_clean(service: Service) -> None:
    items = recommender(service).release.items
    user = listeners(service, 1)[0]
    popular = np.argsort(-recommender(service).release.popularity[-1])[:40]
    for track in popular[:20]:
        service.catalog.write(again(items, int(track), premium=True))
    for track in popular[20:]:
        service.catalog.write(again(items, int(track), explicit=True))
    withdrawn = items.track_ids[int(popular[5])]
    service.catalog.withdraw(withdrawn, datetime.now(UTC))
    live = recommender(service)
    live.last_good.remember(
        user, [int(t) for t in np.argsort(-recommender(service).release.popularity[-1])[:80]]
    )
    free = Context("SE", explicit=False)
    for rung in live.pipeline(query(service, user, "q")).rungs:
        tracks = candidates(live, rung, query(service, user, "q", free))
        assert len(tracks)
        assert not live.release.items.premium[tracks].any()
        assert not live.release.items.explicit[tracks].any()
        everything = candidates(live, rung, query(service, user, "q", OPEN))
        assert live.release.items.number(withdrawn) not in everything
        assert (live.release.items.premium | live.release.items.explicit)[everything].any()


def candidates(live: Recommender, rung: Rung[QueryBatch], asked: Query) -> np.ndarray:
    batch = QueryBatch.of([asked], live.release.items)
    result: Result = Pipeline([rung]).run(batch)
    return result.candidates.ids


def test_discovery_asks_the_planner_for_what_was_never_heard(service: Service) -> None:
    live = recommender(service)
    release = live.release
    queries = [query(service, user, user) for user in listeners(service, 4)]
    batch = QueryBatch.of(queries, release.items)
    source = TwoTowerSource(
        release.two_tower, release.index, release.items, name="unheard", without_heard=True
    )
    found = source.propose(batch)
    for j, tracks in enumerate(heard(batch.histories)):
        own = found.ids[found.offsets[j] : found.offsets[j + 1]]
        assert len(tracks)
        assert len(own) == source.k
        assert not np.isin(own, tracks).any()
    older = TwoTowerSource(
        release.two_tower, _without_table(release.index), release.items, without_heard=True
    )
    again_ = older.propose(replace(batch, memo={}))
    assert np.mean(np.isin(again_.ids, found.ids)) > 0.99
    assert batch.memo["unheard/eligible"][0] < batch.memo.get("two_tower/eligible", [len(release.items)])[0]


def _without_table(index: Any) -> Any:
    from recsys.index import Index

    return Index(index._handle, index._vectors, index.report)


def test_decisions_say_how_the_index_was_searched(service: Service) -> None:
    user = listeners(service, 1)[0]
    counts = {}
    for name, context in (("all", OPEN), ("clean", replace(OPEN, explicit=False))):
        record = service.decision_record(service.home(user, 10, context, now_of(service))["request_id"])
        assert record.retrieval["two_tower"]["plan"] in ("scan", "gather")
        counts[name] = record.retrieval["two_tower"]["eligible"]
    assert 0 < counts["clean"] < counts["all"]


def test_a_merged_index_answers_the_same(service: Service) -> None:
    user, items = listeners(service, 1)[0], recommender(service).release.items
    service.catalog.write(like(items, 2, *(f"m {i}" for i in range(80))))
    service.catalog.write(again(items, 9, genre="other/kind"))
    before = recommender(service)
    asked = query(service, user, "merge")
    (follower,) = service.live._followers.values()
    assert follower.view.segment == 81
    follower.merge()
    assert follower.view.segment == 0
    after = recommender(service)
    assert after is not before
    service.catalog.write(again(items, 9))  # as the release has it: differs from the merged index
    assert recommender(service).answer(asked).rung == "full"
    assert follower.view.segment == 1
    a, b = before.answer(asked), after.answer(asked)
    assert (a.eligible, a.slots) == (b.eligible, b.slots)


def test_where_the_catalog_cannot_be_read_answers_go_on_and_status_says_so(service: Service) -> None:
    user = listeners(service, 1)[0]
    gone = shown(service.home(user, 10, OPEN, now_of(service)))[0]
    service.catalog.withdraw(gone, datetime.now(UTC))
    assert gone not in shown(service.home(user, 10, OPEN, now_of(service)))
    with writing(service.catalog.engine) as connection:
        connection.execute(text("ALTER TABLE revision RENAME TO away"))
    assert gone not in shown(service.home(user, 10, OPEN, now_of(service)))
    status = service.status()["catalog"]
    assert not status["readable"]
    assert status["failures"] >= 1
    with writing(service.catalog.engine) as connection:
        connection.execute(text("ALTER TABLE away RENAME TO revision"))
    service.home(user, 10, OPEN, now_of(service))
    assert service.status()["catalog"]["readable"]


def test_the_check_before_an_answer_costs_microseconds(service: Service) -> None:
    base = recommender(service)
    begin = time.thread_time()
    for _ in range(500):
        service.live.fresh(base)
    assert (time.thread_time() - begin) / 500 < 0.0001


def test_the_catalog_is_written_over_http_and_bad_bodies_are_problems(service: Service) -> None:
    client = TestClient(create_app(service, access=UNGUARDED), raise_server_exceptions=False)
    made = {"track_id": track_id("http"), "title": "Over the wire", "explicit": False}
    made |= {"artist": {"artist_id": track_id("artist"), "name": "Wire"}, "audio": {"energy": 0.5}}
    made |= {"album": {"album_id": track_id("album"), "title": "Wires", "release_date": "2020-02-01"}}
    windows = [{"country": "SE", "available_from": "2020-01-01T00:00:00Z"}]
    answer = client.post("/v1/tracks", json={"tracks": [{**made, "availability": windows}]})
    assert answer.status_code == 200
    assert answer.json() == {"revision": 2, "tracks": 1}
    assert client.get(f"/v1/tracks/{made['track_id']}").json()["availability"][0]["country"] == "SE"
    assert service.similar(made["track_id"], 3)["items"]
    kept = client.post("/v1/tracks", json={"tracks": [made]})
    assert kept.json()["revision"] == 3
    assert client.get(f"/v1/tracks/{made['track_id']}").json()["availability"]
    client.post("/v1/tracks", json={"tracks": [{**made, "availability": []}]})
    assert client.get(f"/v1/tracks/{made['track_id']}").json()["availability"] == []
    path = f"/v1/tracks/{made['track_id']}/withdrawal"
    assert client.put(path).json()["withdrawn_at"]
    assert (
        client.put(path, json={"at": "2020-01-01T00:00:00Z"}).json()["withdrawn_at"] == "2020-01-01T00:00:00Z"
    )
    assert client.delete(path).json()["withdrawn_at"] is None
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"track_id": "short"}, 422),
        ({**made, "audio": {"loud": 1}}, 422),
        ({**made, "audio": {"energy": "0.5"}}, 422),
        ({**made, "title": "a\x00b"}, 422),
        ({**made, "explicit": "yes"}, 422),
        ({**made, "release_date": 0}, 422),
        ({**made, "availability": [{"available_from": "2020-01-01T00:00:00"}]}, 422),
        ({**made, "artist": {"artist_id": track_id("nobody")}}, 400),
        ({**made, "price": 1}, 422),
    ]
    for body, status in wrong:
        refused = client.post("/v1/tracks", json={"tracks": [body]})
        assert refused.status_code == status, body
        assert refused.headers["content-type"] == "application/problem+json"
    assert client.put(f"/v1/tracks/{track_id('unknown')}/withdrawal").status_code == 404
    assert service.catalog.revision() == 7


@pytest.mark.parametrize("form", ["country=SE&explicit=false&tier=free", "tier=premium"])
def test_tier_and_explicit_are_parameters_of_every_surface(service: Service, form: str) -> None:
    client = TestClient(create_app(service, access=UNGUARDED))
    answer = client.get(f"/v1/home?{form}")
    record = service.decision_record(answer.json()["request_id"])
    assert record.listener["tier"] == ("free" if "free" in form else "premium")
    assert client.get("/v1/home?tier=gold").status_code == 422


def test_what_was_published_reaches_the_lake_for_the_next_release(service: Service, home: Home) -> None:
    from recsys.dataset import load_items
    from recsys.lake import Lake
    from serving.live.lake import carry

    lake, items = Lake(home.lake), recommender(service).release.items
    assert carry(service.catalog, lake) == []
    service.catalog.write(like(items, 3, "carried", premium=True))
    service.catalog.withdraw(items.track_ids[4], datetime(2001, 1, 1, tzinfo=UTC))
    assert carry(service.catalog, lake) == ["artists", "tracks", "availability"]
    assert carry(service.catalog, lake) == []
    learned = load_items(lake)
    assert len(learned) == len(items) + 1
    assert learned.premium[learned.number(track_id("carried"))]
    assert not learned.available(0, now_of(service))[learned.number(items.track_ids[4])]
