"""The newest events kept as objects: what comes from there is what the file would have given."""

from __future__ import annotations

from pathlib import Path

from recsys.eventlog import LocalEventLog
from recsys.eventlog.recent import KEPT, Recent
from recsys.ports import Record
from recsys.schemas import EventKind
from tests.eventlog.samples import play


def test_the_writer_reads_the_same_records_as_another_process_that_decodes_them(tmp_path: Path) -> None:
    writer = LocalEventLog(tmp_path)
    writer.append([play(i) for i in range(30)])
    reader = LocalEventLog(tmp_path)
    assert [*writer.read(7, 20)] == [*reader.read(7, 20)]
    reader.append([play(i) for i in range(30, 35)])  # which the first writer has not seen
    writer.append([play(i) for i in range(35, 40)])
    assert [*writer.read()] == [*reader.read()]
    assert [r.event for r in writer.read(28)] == [play(i) for i in range(28, 40)]


def test_large_events_are_not_kept_but_may_be_skipped() -> None:
    recent = Recent()
    large = play(1).model_copy(update={"payload": "x" * 10_000, "kind": EventKind.DECISION})
    recent.add(5, [play(0), large, play(2)])
    assert recent.read(5, 8, ()) is None
    assert recent.read(5, 8, (EventKind.DECISION,)) == [Record(5, play(0)), Record(7, play(2))]
    assert recent.read(4, 8, ()) is None


def test_no_more_than_so_many_are_kept_and_a_gap_drops_what_was_there() -> None:
    recent = Recent()
    event = play(0)
    recent.add(0, [event] * (KEPT + 10))
    assert recent.read(9, 12, ()) is None
    assert len(recent.read(10, KEPT + 10, ()) or ()) == KEPT
    recent.add(KEPT + 20, [event])
    assert recent.read(KEPT, KEPT + 1, ()) is None
    assert recent.read(KEPT + 20, KEPT + 21, ()) == [Record(KEPT + 20, event)]
