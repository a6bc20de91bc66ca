"""Data that say nothing, or are broken: no test, no pass and no claim may come of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from experiments.analysis.analyse import analyse
from experiments.analysis.curve import effect_curve
from experiments.analysis.design import Design, Margin, Metric
from experiments.analysis.effects import infer
from experiments.analysis.looks import looks
from experiments.analysis.moments import Moments
from experiments.analysis.proportions import compare_proportions
from experiments.analysis.result import Effect
from recsys.errors import BadInput

DAY = date(2026, 5, 8)


def _frame(units: int = 40, **columns: Any) -> pl.DataFrame:
    """One row a unit, arms in turn."""
    ids, arms = [f"u{i}" for i in range(units)], ["off" if i % 2 else "on" for i in range(units)]
    schema = {"user_id": pl.String, "arm": pl.String, "day": pl.Date}
    return pl.DataFrame(
        {"user_id": ids, "arm": arms, "day": [DAY] * units, **columns}, schema_overrides=schema
    )


def _design(metric: Metric, **more: Any) -> Design:
    return Design(metrics=(metric,), control="off", treatments=("on",), **more)


def _effect(frame: pl.DataFrame, metric: Metric, **more: Any) -> Effect:
    return analyse(frame, _design(metric, **more)).effects[0]


RATIO = Metric(name="r", kind="ratio", numerator="y", denominator="d", margin=Margin(absolute=0.1))
NOTHING_SAID: dict[str, tuple[pl.DataFrame, Metric]] = {
    "one value": (_frame(y=[0.1] * 40), Metric(name="y", margin=Margin(absolute=0.1))),
    "one value an arm": (_frame(y=[0.1, 0.3] * 20), Metric(name="y", margin=Margin(relative=0.9))),
    "no value": (_frame(y=pl.Series([None] * 40)), Metric(name="y", margin=Margin(absolute=0.1))),
    "a denominator of nothing": (_frame(y=[1.0] * 40, d=pl.Series([None] * 40)), RATIO),
    "denominators of 0 in one arm": (_frame(y=[1.0, 2.0] * 20, d=[0.0, 1.0] * 20), RATIO),
    "one unit an arm": (_frame(2, y=[1.0, 2.0]), Metric(name="y", margin=Margin(absolute=9.0))),
    "an infinite quantile": (
        _frame(400, y=[np.inf] * 300 + [1.0] * 100),
        Metric(name="y", kind="quantile", quantile=0.5, margin=Margin(absolute=0.1)),
    ),
}


@pytest.mark.parametrize("case", NOTHING_SAID)
def test_nothing_is_claimed_and_no_margin_is_passed_where_nothing_can_be_tested(case: str) -> None:
    found = _effect(*NOTHING_SAID[case])
    assert np.isnan(found.p_value)
    assert not found.conclusive
    assert found.interval_adjusted.covers(0.0)
    assert found.non_inferiority is not None
    assert not found.non_inferiority.passed
    assert any("nothing can be tested" in w or "too few values" in w for w in found.warnings), found.warnings


def test_a_constant_has_no_variance_however_it_is_summed() -> None:
    """Naive sums of .1 drift by 1e-12 over many rows: a t of millions must not come of that."""
    for n in (41, 70_001, 140_002):
        found = Moments.of(("y", "x"), np.column_stack([np.full(n, 0.1), np.arange(n) % 7]))
        assert found.covariance[0].tolist() == [0.0, 0.0]
        assert found.covariance[1, 1] == pytest.approx(np.var(np.arange(n) % 7, ddof=1), rel=1e-9)
        assert found.mean[0] == pytest.approx(0.1, rel=1e-15)


def test_small_spread_around_a_large_mean_is_kept() -> None:
    values = np.random.default_rng(0).normal(0, 1, 100_000)
    far = Moments.of(("y",), (values + 1e9)[:, None]).covariance[0, 0]
    assert far == pytest.approx(np.var(values + 1e9 - 1e9, ddof=1), rel=1e-6)


@pytest.mark.parametrize("kind", ["mean", "proportion"])
def test_values_that_are_not_numbers_are_refused_in_every_kind(kind: Any) -> None:
    metric = Metric(name="y", kind=kind)
    frame = _frame(y=[float("nan") if i == 3 else 0.0 for i in range(40)])
    with pytest.raises(BadInput, match="not finite"):
        analyse(frame, _design(metric))
    with pytest.raises(BadInput, match="not finite"):
        looks(frame, _design(metric))
    with pytest.raises(BadInput, match="not finite"):
        effect_curve(frame, _design(metric, end=date(2026, 5, 12)), metric, 3)


def test_texts_where_numbers_belong_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match="column y holds String"):
        analyse(_frame(y=["x"] * 40), _design(Metric(name="y")))


def test_rows_without_a_unit_are_nobody() -> None:
    frame = _frame(y=np.arange(40.0))
    nobody = frame.head(10).with_columns(pl.lit(None, pl.String).alias("user_id"), y=1e9, arm=pl.lit("off"))
    for metric in (Metric(name="y"), Metric(name="y", kind="quantile", quantile=0.5)):
        with_nobody, without = (_effect(f, metric) for f in (pl.concat([frame, nobody]), frame))
        assert with_nobody == without


def test_days_are_those_of_utc_whatever_the_zone_of_the_column() -> None:
    """02:00 UTC is the evening before in New York: the row is of the day of UTC."""
    new_york = datetime(2026, 5, 8, 2, tzinfo=UTC).astimezone(ZoneInfo("America/New_York"))
    frame = _frame(y=np.arange(40.0)).with_columns(day=pl.Series([new_york] * 40))
    assert _effect(frame, Metric(name="y"), start=DAY).control_value == 20.0
    assert [look.day for look in looks(frame, _design(Metric(name="y"), start=DAY))] == [DAY]


def test_a_curve_of_no_rows_is_refused() -> None:
    with pytest.raises(BadInput, match="no rows"):
        effect_curve(
            _frame(0, y=pl.Series([], dtype=pl.Float64)), _design(Metric(name="y")), Metric(name="y"), 3
        )


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("n", [1_000, 10**7, 10**9, 10**11])
def test_rare_events_among_many_are_told_as_finely_as_common_ones(n: int, flip: bool) -> None:
    """10 against 20 events: the pooled test of counts, and an interval that only the counts shape."""
    hits = (n - 10, n - 20) if flip else (10, 20)
    found, pooled = compare_proportions(hits, (n, n)), sum(hits) / (2 * n)
    z = (hits[1] - hits[0]) / n / np.sqrt(pooled * (1 - pooled) * 2 / n * (2 * n / (2 * n - 1)))
    assert found.p_value == pytest.approx(2 * norm.sf(abs(z)), rel=1e-5)
    ends = sorted(abs(end) * n for end in (found.interval.low, found.interval.high))
    assert n == 1000 or ends == pytest.approx([0.785, 21.93], rel=1e-3)


def test_an_error_of_zero_is_no_certainty() -> None:
    found = infer(0.2, 0.0)
    assert np.isnan(found.p_value)
    assert found.interval.covers(0.0)
