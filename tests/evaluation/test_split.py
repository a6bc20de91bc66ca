"""Where a log is cut: whole days, the newest for testing, and days that hardly count do not count."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.dataset import MS_PER_DAY, split_times
from recsys.plays import Plays

DAY0 = 20_000


def plays_on(per_day: dict[int, int]) -> Plays:
    """`per_day` plays of one listener on each day (counted from DAY0), spread over the day."""
    start = np.concatenate(
        [(DAY0 + day) * MS_PER_DAY + np.arange(n) * (MS_PER_DAY // max(n, 1)) for day, n in per_day.items()]
    )
    n = len(start)
    empty = np.zeros(n, np.int8)
    return Plays(
        offsets=np.array([0, n], np.int64),
        track=np.zeros(n, np.int32),
        start=np.sort(start).astype(np.int64),
        outcome=empty,
        ms_played=np.zeros(n, np.int32),
        session=np.zeros(n, np.int32),
        hour=empty,
        device=empty,
        surface=empty,
    )


def days(per_day: dict[int, int]) -> tuple[int, int, int]:
    split = split_times(plays_on(per_day), 0.15, 0.05)
    return tuple(t // MS_PER_DAY - DAY0 for t in (split.valid, split.test, split.end))  # type: ignore[return-value]


@given(st.integers(3, 80), st.integers(1, 50))
def test_a_log_without_gaps_is_cut_by_the_share_of_its_days(n: int, plays: int) -> None:
    tested, validated = max(1, round(0.15 * n)), max(1, round(0.05 * n))
    assert days(dict.fromkeys(range(n), plays)) == (n - tested - validated, n - tested, n)


def test_a_few_plays_long_after_the_rest_do_not_become_the_test_window() -> None:
    log = dict.fromkeys(range(60), 1_000)
    assert days({**log, 400: 3}) == days(log) == (48, 51, 60)


def test_days_without_plays_are_not_tested() -> None:
    assert days({**dict.fromkeys(range(10), 20), **dict.fromkeys(range(50, 60), 20)}) == (56, 57, 60)


def test_a_log_of_one_day_is_tested_on_it() -> None:
    assert days({0: 30}) == (-1, 0, 1)
