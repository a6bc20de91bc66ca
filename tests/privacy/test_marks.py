"""A mark outlives what is made from the release, cannot be put off, and keeps it from seeding and from serving."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.errors import ReleaseRefused
from recsys.marks import DAY_MS, Mark, Marks

MARK = Mark("a listener it learned from was erased", at=0, expires=30 * DAY_MS, request="r")


def test_a_marked_release_never_seeds_and_expires_on_its_day(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.add(["3"], MARK)
    with pytest.raises(ReleaseRefused, match="train from scratch"):
        marks.refuse_seed("3")
    marks.refuse_seed("4")
    marks.refuse_expired("3", 30 * DAY_MS - 1)
    with pytest.raises(ReleaseRefused, match="expired"):
        marks.refuse_expired("3", 30 * DAY_MS)
    assert (
        MARK.text == "not reproducible: a listener it learned from was erased, 1970-01-01; expires 1970-01-31"
    )


def test_a_later_erasure_does_not_put_an_expiry_off(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.add(["3"], MARK)
    marks.add(["3"], Mark("another", DAY_MS, 31 * DAY_MS))
    assert marks.of("3") == MARK
    marks.add(["3"], Mark("another", DAY_MS, 2 * DAY_MS))
    found = marks.of("3")
    assert found is not None
    assert found.expires == 2 * DAY_MS


def test_a_release_made_from_a_marked_one_inherits_the_mark(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.add(["3"], MARK)
    marks.inherit("4", "3")
    marks.inherit("6", "5")
    assert marks.of("4") == MARK
    assert marks.of("6") is None


def test_a_training_that_had_read_the_rows_before_is_marked_when_it_ends(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.admit("1", {"events": 0})
    marks.raise_floor({"events": 7}, MARK)
    marks.raise_floor({"events": 5}, MARK)  # never lowered
    marks.admit("2", {"events": 6, "tracks": 9})
    marks.admit("3", {"events": 7})
    assert set(marks.all()) == {"2"}
