"""Stored reports: kept whole, the newest first, and a damaged one stands in nobody's way."""

from __future__ import annotations

import logging
from pathlib import Path

import orjson
import pytest

from experiments.report.shelf import Shelf, stamp
from recsys.errors import BadInput


def body(name: str, n: int = 0) -> bytes:
    return orjson.dumps({"name": name, "n": n})


def test_the_newest_report_is_the_last_by_its_stamp_not_by_when_it_was_written(tmp_path: Path) -> None:
    shelf = Shelf.of(tmp_path)
    shelf.keep(body("ranker", 2), "ranker", "20261202T080000Z")
    path = shelf.keep(body("ranker", 1), "ranker", "20261201T080000Z")
    assert path == tmp_path / "reports" / "ranker" / "20261201T080000Z.json"
    newest = shelf.newest("ranker")
    assert newest is not None
    assert newest["n"] == 2
    assert [p.stem for p in shelf.all("ranker")] == ["20261201T080000Z", "20261202T080000Z"]
    assert shelf.names() == ["ranker"]


@pytest.mark.parametrize("damage", [b"", b'{"name": "rank', b"[]", body("another")])
def test_a_damaged_report_is_passed_over_with_a_line_in_the_log(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf.of(tmp_path)
    shelf.keep(body("ranker", 1), "ranker", "20261201T080000Z")
    shelf.keep(body("ranker", 2), "ranker", "20261202T080000Z").write_bytes(damage)
    with caplog.at_level(logging.ERROR):
        newest = shelf.newest("ranker")
    assert newest is not None
    assert newest["n"] == 1
    assert "20261202T080000Z.json is damaged" in caplog.text


def test_nothing_is_left_beside_a_report_and_a_half_written_one_is_none(tmp_path: Path) -> None:
    shelf = Shelf.of(tmp_path)
    path = shelf.keep(body("ranker"), "ranker", "20261201T080000Z")
    assert list(path.parent.iterdir()) == [path]
    (path.parent / ".20261202T080000Z.json.4711").write_bytes(b"{")  # a crash before the file got its name
    assert shelf.all("ranker") == [path]


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("../up", "20261201T080000Z"),
        ("", "20261201T080000Z"),
        ("a/b", "20261201T080000Z"),
        ("ranker", "newest"),
        ("ranker", "../1"),
    ],
)
def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, name: str, when: str) -> None:
    shelf = Shelf.of(tmp_path / "home")
    with pytest.raises(BadInput):
        shelf.keep(body(name), name, when)
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "20261201T080000Z.json").write_bytes(body("../up"))
    assert shelf.newest(name) is None
    assert shelf.newest("../../up") is None


def test_an_empty_home_has_no_reports(tmp_path: Path) -> None:
    shelf = Shelf.of(tmp_path)
    assert (shelf.names(), shelf.all("ranker"), shelf.newest("ranker")) == ([], [], None)
    assert not list(tmp_path.iterdir())


def test_a_stamp_is_the_time_in_utc() -> None:
    assert stamp(1_796_112_000_000) == "20261201T080000Z"
