"""Every answer is a record from which the same slate comes out again."""

import numpy as np
import pytest

from recsys.errors import BadInput, UnknownId
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.types import Context
from serving.replay import compare, replay
from serving.service import Service


def test_a_hundred_of_a_hundred_slates_replay_exactly(tiny_service: Service) -> None:
    recommender = tiny_service._fleet._by_version["1"]
    now = recommender.release.manifest.until + MS_PER_DAY
    users = [row["user_id"] for row in tiny_service.listeners(80)]
    asked = [tiny_service.home(user, 10, Context(), now + i)["request_id"] for i, user in enumerate(users)]
    seed = tiny_service.home(None, 5, Context(), now)["shelves"][0]["items"][0]["track_id"]
    for i, user in enumerate(users[:20]):
        page = tiny_service.radio(f"track:{seed}", None, user, 10, Context(), now + i)
        asked.append(tiny_service.radio("", page["cursor"], user, 10, Context(), now + i)["request_id"])
    tiny_service._recent.clear()  # read back from the log, not from memory
    records = [tiny_service.decision_record(request_id) for request_id in asked]
    reports = [compare(recommender, record) for record in records]
    assert [r["differences"] for r in reports if not r["same"]] == []
    assert len(reports) == 100
    assert all(r["slots"] for r in reports)


def test_replay_rebuilds_the_state_from_the_log(tiny_service: Service, tiny_home: Home) -> None:
    user = tiny_service.listeners(3)[2]["user_id"]
    now = tiny_service._fleet._by_version["1"].release.manifest.until + 5 * MS_PER_DAY
    request_id = tiny_service.home(user, 10, Context(), now)["request_id"]
    report = replay(tiny_home, request_id, from_log=True)
    assert report["same"]
    assert report["from_log"]


def test_replay_from_the_log_leaves_out_what_came_later(tiny_service: Service, tiny_home: Home) -> None:
    from tests_events import play

    now = tiny_service._fleet._by_version["1"].release.manifest.until + 6 * MS_PER_DAY
    user, track = "L" * 22, tiny_service.home(None, 5, Context(), now)["shelves"][0]["items"][0]["track_id"]
    tiny_service.ingest([play(user, track, now - 900_000, 180_000, "trackdone")])
    request_id = tiny_service.home(user, 10, Context(), now)["request_id"]
    tiny_service.ingest([play(user, track, now - 300_000, 180_000, "trackdone", offline=True)])
    assert replay(tiny_home, request_id, from_log=True)["same"]


def test_a_changed_record_does_not_replay(tiny_service: Service) -> None:
    now = tiny_service._fleet._by_version["1"].release.manifest.until
    user = next(r["user_id"] for r in tiny_service.listeners(99) if r["plays"] > 50)
    record = tiny_service.decision_record(tiny_service.home(user, 10, Context(), now)["request_id"])
    record.slots[0]["score"] += 1e-3
    assert not compare(tiny_service._fleet._by_version["1"], record)["same"]


def test_unknown_and_malformed_request_ids_are_refused(tiny_home: Home) -> None:
    with pytest.raises(BadInput, match="UUID"):
        replay(tiny_home, "nonsense")
    with pytest.raises(UnknownId):
        replay(tiny_home, "0194ce42-9a78-7fef-a3f3-000000000000")


def test_a_batch_of_requests_gives_the_slates_of_one_by_one(tiny_service: Service) -> None:
    from recsys.schemas import Surface
    from recsys.types import Query
    from serving.recommender import request_seed

    recommender = tiny_service._fleet._by_version["1"]
    now = recommender.release.manifest.until + MS_PER_DAY
    states = [tiny_service.state(r["user_id"]) for r in tiny_service.listeners(60)]
    queries = [
        Query(str(i), Surface.HOME, now, request_seed(str(i)), 10, state)
        for i, state in enumerate(states)
        if state.personalized
    ]
    _, together = recommender.run(queries)
    alone = [recommender.run([query])[1].slates[0] for query in queries]
    same = [
        [i.track for i in a.items] == [i.track for i in b.items]
        for a, b in zip(together.slates, alone, strict=True)
    ]
    assert np.mean(same) == 1.0
