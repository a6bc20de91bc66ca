"""One listener of a real home is erased, under a running service: no byte is left, and nobody else notices."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient
from tests_events import play

from music.privacy.model import Receipt
from music.privacy.service import Privacy
from recsys.errors import BadInput, Erased, ReleaseRefused
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.marks import DAY_MS, Marks
from recsys.schemas import Surface
from recsys.types import Ask, Context
from serving.access.gate import UNGUARDED
from serving.access.keys import Scope
from serving.access.rules import needed
from serving.api.app import create_app
from serving.privacy.releases import sweep
from serving.privacy.residue import residue
from serving.privacy.verify import verify
from serving.privacy.wiring import privacy_of
from serving.replay import compare
from serving.service import Service

WORD = "zq-a-session-of-theirs-alone"


@dataclass
class Story:
    """What happened before and in the erasure."""

    home: Home
    service: Service
    now: int
    gone: str
    other: str
    asked: dict[str, str]  # by listener, the request of a home page
    held_before: list[str]
    receipt: Receipt
    privacy: Privacy


@pytest.fixture(scope="module")
def story(untouched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    skipped = shutil.ignore_patterns("world", "mlartifacts")
    root = tmp_path_factory.mktemp("erasure") / "home"
    home = Home.of(Path(shutil.copytree(untouched_root, root, ignore=skipped)))
    with Service.open(home, background=False) as service:
        now = service.release().manifest.until + MS_PER_DAY
        gone, other = [row["user_id"] for row in service.listeners(20)][:2]
        track = service.release().items.track_ids[0]
        for user in (gone, other):
            heard = play(
                user, track, now - 900_000, 180_000, "trackdone", session_id=WORD if user == gone else "s"
            )
            assert service.ingest([heard])["accepted"] == 1
        asked = {user: service.home(user, 10, Context(), now)["request_id"] for user in (gone, other)}
        service.recommend(Ask(Surface.DAILY_MIX, gone, 10, Context(), now))
        held = residue(home.root, [gone, WORD])
        privacy = privacy_of(home)  # as another process would: `recsys privacy erase`
        receipt = privacy.run(privacy.request(gone, now).id, lambda: now)
        service.forgetting._vault._next_look = 0.0  # as after STALE_SECONDS
        yield Story(home, service, now, gone, other, asked, held, receipt, privacy)


def test_no_byte_of_the_home_holds_the_listener_or_a_word_of_theirs(story: Story) -> None:
    assert any(path.startswith("lake/") for path in story.held_before)
    assert any(path.startswith("state.sqlite") for path in story.held_before)
    assert any(path.startswith("features/") for path in story.held_before)
    assert residue(story.home.root, [story.gone, WORD]) == []
    assert residue(story.home.root, [story.other])  # the search does find whoever is there


def test_the_receipt_says_what_was_removed_where_and_nobody_s_name(story: Story) -> None:
    removed = story.receipt.removed
    assert removed["look"]["rows"]["events"] > 50
    assert removed["look"]["decisions"] + removed["key"]["decisions"] == 2
    assert removed["lake"]["events"]["rows"] > 50
    assert removed["key"]["destroyed_at"] == story.now
    assert removed["states"]["keys"] >= 2
    assert removed["features"]["online"] >= 1
    assert removed["releases"]["marked"] == ["1"]
    assert removed["scan"]["by_hand"] == []
    assert story.gone not in story.receipt.model_dump_json()
    assert verify(story.home, story.privacy, story.receipt, story.gone) == []


def test_replay_is_refused_for_them_and_exact_for_others(story: Story) -> None:
    with pytest.raises(Erased, match="cannot be replayed"):
        story.service.decision_record(story.asked[story.gone])
    record = story.service.decision_record(story.asked[story.other])
    assert compare(story.service._fleet._by_version["1"], record)["same"]


def test_the_running_service_knows_them_no_more(story: Story) -> None:
    answer = story.service.home(story.gone, 5, Context(), story.now)
    assert answer["user_id"] != story.gone
    heard = play(story.gone, story.service.release().items.track_ids[0], story.now, 180_000, "trackdone")
    told = story.service.ingest([heard])
    assert told["accepted"] == 0
    assert "erased" in told["refused"][0]["reason"]
    assert not story.service.state(story.gone).track_id
    assert story.service.state(story.other).track_id
    assert story.service.home(story.other, 5, Context(), story.now)["user_id"] == story.other
    assert residue(story.home.root, [story.gone]) == []


def test_a_release_that_learned_from_them_is_marked_and_expires(story: Story) -> None:
    mark = Marks(story.home.releases).of("1")
    assert mark is not None
    assert mark.request == story.receipt.id
    assert mark.expires == story.now + 30 * DAY_MS
    with pytest.raises(ReleaseRefused, match="not reproducible"):
        Marks(story.home.releases).refuse_seed("1")
    assert story.service.status()["releases"]["marked"] == {"1": mark.text}
    assert sweep(story.home, mark.expires) == []  # the champion stays until there is another
    assert not (story.home.work / "two_tower").exists()  # the next training begins from scratch


def test_verification_finds_what_comes_back(story: Story) -> None:
    lake = Lake(story.home.lake)
    rows = lake.scan("listeners").head(1).collect()
    lake.append("listeners", rows.with_columns(user_id=pl.lit(story.gone)))
    assert verify(story.home, story.privacy, story.receipt) == ["lake table listeners has rows of theirs"]
    with pytest.raises(BadInput):
        verify(story.home, story.privacy, story.receipt.model_copy(update={"done_at": 1}))


def test_erasure_over_http_needs_admin_answers_at_once_and_ends(story: Story) -> None:
    assert needed("DELETE", f"/v1/listeners/{story.other}") == Scope.ADMIN
    assert needed("GET", f"/v1/erasures/{story.receipt.id}") == Scope.ADMIN
    client = TestClient(create_app(story.service, access=UNGUARDED))
    answer = client.delete(f"/v1/listeners/{story.other}")
    assert answer.status_code == 202
    assert "key" in answer.json()["done"]
    assert story.other not in answer.text
    story.service.forgetting.resume()  # waits for the thread that does the rest
    told = client.get(f"/v1/erasures/{answer.json()['request_id']}").json()
    assert told["state"] == "done"
    assert told["receipt"]["removed"]["lake"]["events"]["rows"] > 0
    assert residue(story.home.root, [story.other]) == []
    assert client.get(f"/v1/decisions/{story.asked[story.other]}").status_code == 410
    assert client.delete("/v1/listeners/nobody").status_code == 422
    assert client.get("/v1/erasures/0194ce42-9a78-7fef-a3f3-000000000000").status_code == 404
