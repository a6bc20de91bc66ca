"""Destroying a key notes the decisions that no lake has yet, and reads no more of the log for it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from music.privacy.model import Case, Request, State
from recsys.engines import open_log
from recsys.errors import BadInput
from recsys.events import Event
from recsys.home import Home
from recsys.ids import uuid7
from recsys.ingest import move
from recsys.lake import Lake
from recsys.schemas import EventKind
from recsys.vault import Vault
from serving.privacy.gone import Gone
from serving.privacy.steps import Key
from tests.engines import kafka_address
from tests.eventlog.samples import play

__all__ = ["kafka_address"]
GONE = play(1).user_id


def decisions(first: int, count: int) -> list[Event]:
    made = {"kind": EventKind.DECISION, "user_id": GONE}
    return [play(i).model_copy(update=made) for i in range(first, first + count)]


def destroyed(home: Home) -> dict[str, int]:
    vault = Vault.of_home(home)
    request = Request(
        id=uuid7(5),
        state=State.REQUESTED,
        listener=vault.listener(GONE),
        user_id=GONE,
        requested_at=5,
    )
    return Key(home, vault)(Case(GONE, request, 5))


def test_it_begins_where_the_lake_ends_also_where_the_broker_forgot_how_far_that_is(
    kafka_address: str, tmp_path: Path
) -> None:
    home = Home.of(tmp_path / "home")
    home.root.mkdir()
    url = f"kafka://{kafka_address}/{uuid.uuid4().hex}"
    (home.root / "engines.json").write_text(f'{{"log": "{url}"}}')
    log = open_log(home)
    log.append(decisions(0, 3))
    move(log, Lake(home.lake))
    log.append(decisions(3, 2))
    log.commit("lake", 0)
    assert destroyed(home)["decisions"] == 2
    assert len(Gone(home)) == 2


def test_it_is_done_where_retention_has_cut_the_log_off(tmp_path: Path) -> None:
    home = Home.of(tmp_path / "home")
    log = open_log(home)
    log.append(decisions(0, 3))
    log.end_segment()
    log.append(decisions(3, 2))
    log.segments()[0].unlink()
    assert log.start == 3
    assert destroyed(home)["decisions"] == 2
    assert Vault.of_home(home).erased(GONE)
    with pytest.raises(BadInput, match="spans 3 to 5"):
        list(log.read(log.committed("lake")))
