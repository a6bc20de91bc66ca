"""The embedded event log: durable, idempotent, recovers a torn tail, refuses damage, shared by processes."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import zlib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import BadInput, LogUnavailable
from recsys.eventlog import LocalEventLog, LogSettings
from recsys.eventlog.frame import entry
from recsys.events import Event
from recsys.ports import Appended
from recsys.schemas import EventKind
from tests.eventlog.samples import NOW, play

SMALL = LogSettings(segment_bytes=2048)
ROOT = Path(__file__).resolve().parents[2]


def segment(folder: Path) -> Path:
    return sorted(folder.glob("*.seg"))[-1]


def test_what_is_appended_is_read_back_in_order_and_after_reopening(tmp_path: Path) -> None:
    events = [play(i) for i in range(40)]
    log = LocalEventLog(tmp_path, SMALL)
    for i in range(0, 40, 4):
        assert log.append(events[i : i + 4]) == [Appended.ACCEPTED] * 4
    assert len(list(tmp_path.glob("*.seg"))) > 1, "several segments"
    for reader in (log, LocalEventLog(tmp_path, SMALL)):
        assert reader.end == 40
        assert [r.event for r in reader.read()] == events
        assert [r.offset for r in reader.read(7, 10)] == list(range(7, 17))
        assert list(reader.read(40)) == []


def test_kinds_to_skip_are_left_out_and_keep_their_offsets(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    events = [play(i) if i % 3 else play(i).model_copy(update={"kind": EventKind.SAVE}) for i in range(10)]
    log.append(events[:4])
    log.append(events[4:])
    found = list(log.read(1, limit=8, skip={EventKind.SAVE}))
    assert [(r.offset, r.event) for r in found] == [(i, events[i]) for i in range(1, 9) if i % 3]
    assert not list(log.read(skip={EventKind.SAVE, EventKind.PLAY_END}))


def test_an_event_is_found_by_its_id_from_an_offset_on(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    log.append([play(i) for i in range(6)])
    assert log.find(play(4).event_id, 3) == play(4)
    assert log.find(play(2).event_id, 3) is None
    assert log.find(play(9).event_id) is None


def test_the_same_event_again_is_a_duplicate_and_another_body_a_conflict(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path, SMALL)
    log.append([play(i) for i in range(50)])
    later = play(3, received=NOW + timedelta(hours=1))
    again = [later, play(3, ms_played=5), play(99), play(99), play(99, ms_played=5)]
    expected = [
        Appended.DUPLICATE,
        Appended.CONFLICT,
        Appended.ACCEPTED,
        Appended.DUPLICATE,
        Appended.CONFLICT,
    ]
    assert log.append(again) == expected
    reopened = LocalEventLog(tmp_path, SMALL)
    assert reopened.append([later]) == [Appended.DUPLICATE]
    assert reopened.end == 51


def test_the_same_instant_in_another_time_zone_is_the_same_event(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    body = play(1).model_dump(mode="json")
    log.append([Event.model_validate(body)])
    moved = Event.model_validate({**body, "ts": "2026-05-01T14:00:00+02:00"})
    assert log.append([moved]) == [Appended.DUPLICATE]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=6), max_size=12)
)
def test_any_sequence_of_batches_and_reopenings_acts_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("model")
    kept: dict[int, int] = {}  # in order of acceptance
    for number, batch in enumerate(batches):
        if number % 3 == 0:
            log = LocalEventLog(folder, LogSettings(segment_bytes=1024))
        expected = []
        for i, ms_played in batch:
            known = kept.get(i)
            kept.setdefault(i, ms_played)
            repeated = Appended.DUPLICATE if known == ms_played else Appended.CONFLICT
            expected.append(Appended.ACCEPTED if known is None else repeated)
        assert log.append([play(i, ms_played) for i, ms_played in batch]) == expected
        assert [r.event for r in log.read()] == [play(i, ms_played) for i, ms_played in kept.items()]


def test_ids_beyond_the_horizon_are_forgotten_segment_by_segment(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path, LogSettings(segment_bytes=1024, horizon_ms=86_400_000))
    log.append([play(i) for i in range(5)])  # fills the first segment
    for i in range(5, 30):
        log.append([play(i, received=NOW + timedelta(days=3))])
    assert log.append([play(0), play(29, received=None)]) == [Appended.ACCEPTED, Appended.DUPLICATE]
    few = LocalEventLog(tmp_path, LogSettings(segment_bytes=1024, horizon_events=10))
    assert few.append([play(30), play(30)]) == [Appended.ACCEPTED, Appended.DUPLICATE]


def test_a_reader_far_behind_reads_up_to_the_end_over_segments(tmp_path: Path) -> None:
    writer = LocalEventLog(tmp_path, LogSettings(segment_bytes=20_000))
    reader = LocalEventLog(tmp_path, LogSettings(segment_bytes=20_000))
    for i in range(230):  # a group each: several holds of the lock, and several segments
        writer.append([play(i)])
    assert len(list(tmp_path.glob("*.seg"))) > 2
    assert reader.end == writer.end == 230
    assert [r.event for r in reader.read()] == [play(i) for i in range(230)]
    assert reader.append([play(7), play(999)]) == [Appended.DUPLICATE, Appended.ACCEPTED]


def test_concurrent_threads_share_groups_and_lose_nothing(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    outcomes: list[Appended] = []

    def client(first: int) -> None:
        for i in range(first, first + 25):
            outcomes.extend(log.append([play(i)]))

    threads = [threading.Thread(target=client, args=(100 * t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [Appended.ACCEPTED] * 200
    assert len({r.event.event_id for r in log.read()}) == 200


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_tail_torn_anywhere_is_cut_and_everything_acknowledged_stays(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    log = LocalEventLog(folder)
    log.append([play(i) for i in range(3)])
    kept = segment(folder).stat().st_size
    log.append([play(i) for i in range(3, 6)])
    whole = segment(folder).read_bytes()
    log.close()
    cut = data.draw(st.integers(kept, len(whole) - 1))
    tail = data.draw(
        st.sampled_from(
            [b"", b"\0" * 50, b"RLG1 not a group", b"RLG2 and not this, which is longer than a header"]
        )
    )
    segment(folder).write_bytes(whole[:cut] + tail)
    recovered = LocalEventLog(folder)
    assert [r.event for r in recovered.read()] == [play(i) for i in range(3)]
    assert recovered.append([play(4)]) == [Appended.ACCEPTED]
    assert [r.offset for r in LocalEventLog(folder).read()] == [0, 1, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_damage_in_the_middle_is_refused_with_the_segment_and_the_byte(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    log = LocalEventLog(folder)
    log.append([play(i) for i in range(3)])
    first_group = segment(folder).stat().st_size
    log.append([play(3)])
    log.close()
    content = bytearray(segment(folder).read_bytes())
    content[int(where * first_group)] ^= 1 << bit
    segment(folder).write_bytes(content)
    with pytest.raises(BadInput, match="damaged at byte 0"):
        LocalEventLog(folder)


def test_a_tail_that_reached_the_disk_in_pieces_is_cut_where_nobody_waited_for_it(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    log.append([play(0)])
    kept = segment(tmp_path).stat().st_size
    for i in (1, 2, 3):
        log.append([play(i)], wait=False)
    content = bytearray(segment(tmp_path).read_bytes())
    content[kept + 60] ^= 1  # a power cut: the later ones were written back first
    segment(tmp_path).write_bytes(content)
    recovered = LocalEventLog(tmp_path)
    assert [r.event for r in recovered.read()] == [play(0)]
    assert recovered.append([play(2)]) == [Appended.ACCEPTED]


def test_what_nobody_waited_for_is_refused_as_damage_once_a_later_append_waited(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    log.append([play(0)], wait=False)
    for i in (1, 2):
        log.append([play(i)])
    content = bytearray(segment(tmp_path).read_bytes())
    content[60] ^= 1
    segment(tmp_path).write_bytes(content)
    with pytest.raises(BadInput, match="damaged at byte 0"):
        LocalEventLog(tmp_path)


def test_logs_of_the_earlier_form_are_read_and_continued(tmp_path: Path) -> None:
    LocalEventLog(tmp_path).close()
    entries = [entry(play(i)) for i in range(3)]
    digests = b"".join(
        struct.pack("<3Q", *column) for column in zip(*((e.key, e.body) for e in entries), strict=True)
    )
    payload = digests + b"".join(e.line + b"\n" for e in entries)
    checked = struct.pack("<IIqq", len(payload), 3, 0, max(e.received_ms for e in entries)) + payload
    segment(tmp_path).write_bytes(struct.pack("<4sI", b"RLG1", zlib.crc32(checked)) + checked)
    log = LocalEventLog(tmp_path)
    assert log.append([play(1), play(3)]) == [Appended.DUPLICATE, Appended.ACCEPTED]
    assert [r.event for r in LocalEventLog(tmp_path).read()] == [play(i) for i in range(4)]


def test_what_did_not_wait_outlives_a_process_killed_at_once(tmp_path: Path) -> None:
    done = run_script(
        """
        import os, signal, sys
        from pathlib import Path
        from recsys.eventlog import LocalEventLog
        from tests.eventlog.samples import play
        LocalEventLog(Path(sys.argv[1])).append([play(i) for i in range(3)], wait=False)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
    )
    assert done.returncode == -signal.SIGKILL
    assert [r.event for r in LocalEventLog(tmp_path).read()] == [play(i) for i in range(3)]


def test_an_append_that_does_not_wait_is_not_held_up_by_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LocalEventLog(tmp_path)
    syncing, let_go = threading.Event(), threading.Event()

    def slow(handle: int) -> None:
        syncing.set()
        assert let_go.wait(30)
        os.fsync(handle)

    monkeypatch.setattr("recsys.eventlog.log.os.fdatasync", slow)
    waits = threading.Thread(target=log.append, args=([play(0)],))
    waits.start()
    assert syncing.wait(30)
    assert log.append([play(1)], wait=False) == [Appended.ACCEPTED]
    assert waits.is_alive(), "nothing is acknowledged before it is on disk"
    let_go.set()
    waits.join(30)
    assert log.end == 2


def test_a_disk_that_fails_to_sync_refuses_and_is_not_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LocalEventLog(tmp_path)
    log.append([play(0)])

    def broken(_handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr("recsys.eventlog.log.os.fdatasync", broken)
        with pytest.raises(LogUnavailable, match="Input/output error"):
            log.append([play(1)])
    for refused in (lambda: log.append([play(2)], wait=False), lambda: log.end):
        with pytest.raises(LogUnavailable, match="restart on a working disk"):
            refused()
    assert LocalEventLog(tmp_path).append([play(0)]) == [Appended.DUPLICATE]


def test_lost_records_are_noticed_when_a_consumer_had_read_them(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    log.append([play(1)])
    size = segment(tmp_path).stat().st_size
    log.append([play(2)])
    log.commit("lake", 2)
    log.close()
    os.truncate(segment(tmp_path), size)
    with pytest.raises(BadInput, match="restore the missing segments"):
        LocalEventLog(tmp_path)


def test_commits_are_durable_per_group(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    log.append([play(1), play(2)])
    log.commit("lake", 2)
    assert log.committed("state") == 0
    assert LocalEventLog(tmp_path).committed("lake") == 2
    with pytest.raises(BadInput, match="consumer group"):
        log.commit("../lake", 1)


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )


def test_a_full_disk_refuses_the_batch_and_leaves_the_log_consistent(tmp_path: Path) -> None:
    done = run_script(
        """
        import resource, sys
        from pathlib import Path
        from recsys.errors import LogUnavailable
        from recsys.eventlog import LocalEventLog
        from tests.eventlog.samples import play
        log = LocalEventLog(Path(sys.argv[1]))
        log.append([play(i) for i in range(3)])
        size = next(Path(sys.argv[1]).glob("*.seg")).stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))  # a write stops half way
        try:
            log.append([play(i) for i in range(3, 6)])
        except LogUnavailable as error:
            print("refused:", error)
        assert [r.offset for r in log.read()] == [0, 1, 2]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print(log.append([play(i) for i in range(2, 6)]))
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "refused: event log" in done.stdout
    assert "free space" in done.stdout
    assert [r.event for r in LocalEventLog(tmp_path).read()] == [play(i) for i in range(6)]


def test_a_folder_that_cannot_be_written_is_log_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LogUnavailable, match="cannot be written"):
        LocalEventLog(tmp_path / "file" / "log")


def test_three_processes_append_at_once_and_each_event_is_accepted_once(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from recsys.eventlog import LocalEventLog, LogSettings
        from tests.eventlog.samples import play
        log = LocalEventLog(Path(sys.argv[1]), LogSettings(segment_bytes=4096))
        print(*[log.append([play(i)])[0].value for i in range(150)])
    """
    outcomes: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(run_script(script, tmp_path).stdout.split()))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in zip(*outcomes, strict=True):
        assert sorted(one) == ["accepted", "duplicate", "duplicate"]
    log = LocalEventLog(tmp_path, LogSettings(segment_bytes=4096))
    assert sorted(r.event.event_id for r in log.read()) == sorted(play(i).event_id for i in range(150))
