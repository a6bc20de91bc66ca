"""Log records are sealed a listener at a time; a destroyed key ends them, and nobody else's records or offsets."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from recsys.errors import BadInput, Erased
from recsys.eventlog import LocalEventLog, LogSettings
from recsys.eventlog.rewrite import seal_old
from recsys.events import Event
from recsys.ids import public_id
from recsys.ingest import move
from recsys.lake import Lake
from recsys.ports import Appended
from recsys.schemas import EventKind
from recsys.vault import Vault
from tests.eventlog.samples import play

GONE = public_id("test", "user 1")
"""Every third of the sample events is this listener's."""
SMALL = LogSettings(segment_bytes=1024)


def opened(folder: Path, settings: LogSettings | None = None) -> tuple[LocalEventLog, Vault]:
    vault = Vault(folder / "vault")
    return LocalEventLog(folder / "log", settings, vault), vault


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def others(n: int) -> list[Event]:
    return [play(i) for i in range(n) if play(i).user_id != GONE]


def test_what_is_appended_is_sealed_on_disk_and_reads_back_the_same(tmp_path: Path) -> None:
    log, _ = opened(tmp_path, SMALL)
    events = [play(i) for i in range(12)]
    assert log.append(events) == [Appended.ACCEPTED] * 12
    assert log.append(events[:3]) == [Appended.DUPLICATE] * 3
    assert log.append([play(0, 1)]) == [Appended.CONFLICT]
    raw = bytes_of(tmp_path / "log")
    for event in events:
        assert event.user_id.encode() not in raw
        assert event.track_id is not None
        assert event.track_id.encode() not in raw
    assert b"play_end" not in raw  # what kind of thing a listener did is sealed too
    reader, _ = opened(tmp_path, SMALL)
    assert [r.event for r in reader.read()] == events
    assert not list(reader.read(skip={EventKind.PLAY_END}))
    assert reader.append(events) == [Appended.DUPLICATE] * 12


def test_without_the_home_s_keys_sealed_records_are_refused_in_words(tmp_path: Path) -> None:
    opened(tmp_path)[0].append([play(0)])
    with pytest.raises(BadInput, match="sealed"):
        list(LocalEventLog(tmp_path / "log").read())


def test_a_destroyed_key_ends_one_listener_s_records_and_moves_no_offset(tmp_path: Path) -> None:
    log, vault = opened(tmp_path, SMALL)
    events = [play(i) for i in range(12)]
    log.append(events)
    elsewhere, _ = opened(tmp_path, SMALL)
    assert len(list(elsewhere.read())) == 12  # its cache holds every key
    assert vault.destroy(GONE, 0)
    elsewhere._vault._next_look = 0.0  # type: ignore[union-attr]  # as after STALE_SECONDS
    vault._next_look = 0.0
    kept = [(i, event) for i, event in enumerate(events) if event.user_id != GONE]
    for reader in (log, elsewhere, opened(tmp_path, SMALL)[0]):
        assert [(r.offset, r.event) for r in reader.read()] == kept
        assert reader.shredded == 4
        assert reader.end == 12
    assert log.find(events[1].event_id) is None
    assert log.find(events[2].event_id) == events[2]


def test_new_events_of_an_erased_listener_are_refused_by_every_process(tmp_path: Path) -> None:
    log, vault = opened(tmp_path)
    log.append([play(1)])
    other, _ = opened(tmp_path)
    other.append([play(4)])
    vault.destroy(GONE, 0)
    for writer in (log, other):
        with pytest.raises(Erased):
            writer.append([play(7), play(8)])
        assert writer.append([play(8)]) in ([Appended.ACCEPTED], [Appended.DUPLICATE])
    assert vault.erased(GONE)
    assert not vault.erased(public_id("test", "user 2"))


def test_a_destroyed_key_leaves_no_byte_in_the_key_store(tmp_path: Path) -> None:
    log, vault = opened(tmp_path)
    log.append([play(i) for i in range(3)])
    tag = vault._master.tag(GONE)
    _, key_id, wrapped = vault._rows.of_tags([tag])[0][tag]
    assert wrapped in bytes_of(tmp_path / "vault")
    vault.destroy(GONE, 0)
    left = bytes_of(tmp_path / "vault")
    assert wrapped not in left
    assert key_id not in left
    for name in ("listeners.sqlite", "master.key"):
        assert stat.S_IMODE((tmp_path / "vault" / name).stat().st_mode) == 0o600
    assert GONE.encode() not in left


def test_two_records_of_one_listener_show_nothing_in_common(tmp_path: Path) -> None:
    log, _ = opened(tmp_path)
    log.append([play(1), play(4)])
    lines = [line for _, line in log._segments.lines(0, 2)]
    names = [line.partition(b'"by":"')[2][:24] for line in lines]
    assert names[0] != names[1]


def test_threads_that_meet_new_listeners_at_once_agree_on_their_keys(tmp_path: Path) -> None:
    vaults = [Vault(tmp_path) for _ in range(4)]
    found: list[bytes] = []
    users = [public_id("race", str(i)) for i in range(20)]
    threads = [
        threading.Thread(target=lambda v=vault: found.append(b"".join(v.key(u).id for u in users)))
        for vault in vaults
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_lost_master_key_is_said_and_never_made_anew(tmp_path: Path) -> None:
    Vault(tmp_path).key(GONE)
    (tmp_path / "master.key").unlink()
    with pytest.raises(BadInput, match="restore the master key"):
        Vault(tmp_path)


def test_a_log_from_before_there_were_keys_is_sealed_under_its_readers_and_writers(tmp_path: Path) -> None:
    old = LocalEventLog(tmp_path / "log", SMALL)
    events = [play(i) for i in range(12)]
    for event in events:
        old.append([event])
    assert len(list(tmp_path.glob("log/*.seg"))) > 2
    reader, vault = opened(tmp_path, SMALL)
    assert [r.event for r in reader.read(5)] == events[5:]  # it knows where groups begin
    log, _ = opened(tmp_path, SMALL)
    assert log.in_clear(GONE) == 4
    assert seal_old(log, vault) == 12
    assert seal_old(log, vault) == 0
    assert log.in_clear(GONE) == 0
    assert GONE.encode() not in bytes_of(tmp_path / "log")
    for one in (reader, log, opened(tmp_path, SMALL)[0]):
        assert [(r.offset, r.event) for r in one.read(5)] == list(enumerate(events))[5:]
        assert one.append([events[3]]) == [Appended.DUPLICATE]
    assert reader.append([play(12)]) == [Appended.ACCEPTED]
    assert [r.event for r in log.read(11)] == [play(11), play(12)]


def test_clear_records_of_somebody_erased_before_are_sealed_for_nobody(tmp_path: Path) -> None:
    LocalEventLog(tmp_path / "log").append([play(i) for i in range(6)])
    log, vault = opened(tmp_path)
    vault.destroy(GONE, 0)
    assert seal_old(log, vault) == 6
    assert [r.event for r in log.read()] == others(6)
    assert GONE.encode() not in bytes_of(tmp_path / "log")


def test_the_mover_goes_past_shredded_records_also_at_the_end(tmp_path: Path) -> None:
    log, vault = opened(tmp_path)
    log.append([play(i) for i in range(3)] + [play(4), play(7), play(10)])
    vault.destroy(GONE, 0)
    lake = Lake(tmp_path / "lake")
    moved = move(log, lake, batch=2)
    assert (moved.written, moved.offset) == (2, 6)
    assert set(lake.scan("events").collect()["user_id"]) == {event.user_id for event in others(3)}
    assert log.committed("lake") == 6
