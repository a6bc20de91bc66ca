"""From a frame to the answer: who counts, what adjusts, and that order, chunks and days change nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.analysis.analyse import analyse
from experiments.analysis.curve import effect_curve
from experiments.analysis.design import Cap, Design, Margin, Metric
from experiments.analysis.looks import looks
from experiments.analysis.result import Analysis
from recsys.errors import BadInput

START = date(2026, 5, 8)
METRICS = (
    Metric(name="minutes"),
    Metric(name="capped", column="minutes", cap=Cap(high_quantile=0.95)),
    Metric(
        name="skip_rate",
        kind="ratio",
        numerator="skips",
        denominator="plays",
        direction="decrease",
        margin=Margin(relative=0.05),
    ),
    Metric(name="minutes_a_day", kind="ratio", numerator="minutes", denominator="rows"),
    Metric(name="saved", kind="proportion", column="saves", covariates=(), role="guardrail"),
    Metric(name="aged", column="minutes", covariates=("age",)),
    Metric(name="latency", kind="quantile", quantile=0.9, role="secondary"),
    Metric(name="heavy", column="minutes", kind="quantile", quantile=0.75, of="units"),
)
DESIGN = Design(
    metrics=METRICS,
    control="off",
    treatments=("on", "more"),
    start=START,
    strata=("country",),
    cohorts=("tier",),
    correction="holm",
)


def world(listeners: int = 600, days: int = 14, effect: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """Listener-days: a week before the start, a week after; a fifth of the listeners joins at the start."""
    rng = np.random.default_rng(seed)
    unit, day = (v.ravel() for v in np.meshgrid(np.arange(listeners), np.arange(days), indexing="ij"))
    arm, taste = rng.integers(0, 3, listeners), rng.gamma(4, 5, listeners)
    tier, country = rng.integers(0, 2, listeners), rng.integers(0, 3, listeners)
    age = np.where(rng.random(listeners) < 0.1, np.nan, rng.normal(30, 8, listeners))
    treated = (arm[unit] > 0) & (day >= 7)
    plays = rng.poisson(taste[unit] / 4)
    frame = pl.DataFrame(
        {
            "user_id": np.array([f"listener {i}" for i in range(listeners)])[unit],
            "arm": np.array(["off", "on", "more"])[arm[unit]],
            "day": [START + timedelta(int(d) - 7) for d in day],
            "minutes": taste[unit] * rng.gamma(2, 0.5, len(unit)) + effect * treated,
            "plays": plays,
            "skips": rng.binomial(plays, 0.3),
            "saves": rng.binomial(1, 0.02, len(unit)),
            "latency": rng.lognormal(3, 0.4, len(unit)),
            "tier": np.array(["free", "premium"])[tier[unit]],
            "country": np.array(["SE", "DE", "BR"])[country[unit]],
            "age": age[unit],
        }
    )
    new = pl.col("user_id").is_in([f"listener {i}" for i in range(0, listeners, 5)])
    return frame.filter(~(new & (pl.col("day") < START))).sample(fraction=0.9, shuffle=True, seed=seed)


FRAME = world()
WHOLE = analyse(FRAME, DESIGN)


def numbers(analysis: Analysis) -> dict[str, list[float]]:
    return {
        f"{e.metric} {e.arm}": [e.effect, e.se, e.p_value, e.p_adjusted, *e.lift_interval.__dict__.values()]
        for e in analysis.effects
    } | {f"{c.metric} {c.arm} {c.level}": [c.effect, c.se, c.p_adjusted] for c in analysis.cohorts}


def same(a: Analysis, b: Analysis) -> None:
    one, other = numbers(a), numbers(b)
    assert one.keys() == other.keys()
    for key, values in one.items():
        assert values == pytest.approx(other[key], rel=1e-7, abs=1e-9, nan_ok=True), key


@given(seed=st.integers(0, 1000), partitions=st.sampled_from([1, 2, 5]), lazy=st.booleans())
@settings(max_examples=8, deadline=None)
def test_order_of_rows_partitions_and_laziness_change_nothing(seed, partitions, lazy):
    shuffled = FRAME.sample(fraction=1, shuffle=True, seed=seed)
    same(WHOLE, analyse(shuffled.lazy() if lazy else shuffled, DESIGN, partitions))


def test_the_answer_has_a_row_per_metric_and_treatment_and_goes_to_json():
    assert [(e.metric, e.arm) for e in WHOLE.effects] == [
        (m.name, arm) for m in METRICS for arm in ("on", "more")
    ]
    read = orjson.loads(WHOLE.to_json())
    assert read["effects"][0]["interval"].keys() == {"low", "high"}
    assert sum(WHOLE.units.values()) == 600
    assert WHOLE.effect("saved").method == "Welch t, interacted covariates"  # the strata adjust it
    plain = analyse(FRAME, DESIGN.model_copy(update={"strata": ()}))
    assert plain.effect("saved").method == "score (Miettinen–Nurminen)"
    assert WHOLE.effect("skip_rate").non_inferiority is not None


def test_an_effect_is_found_in_every_form_and_covariates_sharpen_it():
    found = analyse(world(effect=4.0, seed=3), DESIGN)
    for name, truth in (("minutes", 4 * 7 * 0.9), ("minutes_a_day", 4.0), ("aged", 4 * 7 * 0.9)):
        for arm in ("on", "more"):
            row = found.effect(name, arm)
            assert row.interval.low < truth * 1.1
            assert row.interval.high > truth * 0.9
            assert row.conclusive or name == "aged"
    assert found.effect("minutes").variance_reduction > 0.25
    assert found.effect("minutes").se < 0.9 * found.effect("aged").se


def test_narrow_floats_are_summed_in_wide_ones():
    narrow = FRAME.with_columns(pl.col("minutes", "latency", "age").cast(pl.Float32))
    wide = narrow.with_columns(pl.col("minutes", "latency", "age").cast(pl.Float64))
    same(analyse(narrow, DESIGN), analyse(wide, DESIGN))


def test_treatments_are_exchangeable():
    swapped = DESIGN.model_copy(update={"treatments": ("more", "on")})
    same_rows = {(e.metric, e.arm): e.effect for e in analyse(FRAME, swapped).effects}
    assert same_rows == pytest.approx({(e.metric, e.arm): e.effect for e in WHOLE.effects})


def test_guardrails_are_left_out_of_the_family_and_holm_counts_the_rest():
    family = [e for e in WHOLE.effects if e.role != "guardrail"]
    least = min(family, key=lambda e: e.p_value)
    assert least.p_adjusted == pytest.approx(min(1, least.p_value * len(family)))
    guard = WHOLE.effect("saved")
    assert guard.p_adjusted == guard.p_value
    assert guard.interval_adjusted == guard.interval
    for e in family:
        assert e.interval_adjusted.low < e.interval.low
        assert e.interval_adjusted.high > e.interval.high


def test_caps_are_the_same_for_all_arms():
    totals = (
        FRAME.filter(pl.col("day") >= START)
        .group_by("user_id", "arm")
        .agg(pl.col("minutes").sum())
        .sort("user_id")
    )
    missing = set(FRAME["user_id"]) - set(totals["user_id"])
    assert not missing
    cap = totals["minutes"].quantile(0.95, "nearest")
    means = totals.group_by("arm").agg(pl.col("minutes").clip(upper_bound=cap).mean())
    plain = Design(metrics=(METRICS[1],), control="off", treatments=("on",), start=START, adjustment="none")
    row = analyse(FRAME.filter(pl.col("arm") != "more"), plain).effect("capped")
    two = totals.filter(pl.col("arm") != "more")
    cap = two["minutes"].quantile(0.95, "nearest")
    means = dict(two.group_by("arm").agg(pl.col("minutes").clip(upper_bound=cap).mean()).iter_rows())
    assert row.control_value == pytest.approx(means["off"])
    assert row.treatment_value == pytest.approx(means["on"])


def test_silent_units_count_as_zero_and_units_of_two_arms_not_at_all():
    base = pl.DataFrame(
        {
            "user_id": ["a", "b", "c", "d", "e", "f", "mixed", "mixed"],
            "arm": ["off", "off", "off", "on", "on", "on", "on", "off"],
            "day": [START, START, START - timedelta(1), START, START, START, START, START],
            "minutes": [2.0, 4.0, 100.0, 6.0, 5.0, 1.0, 9.0, 9.0],
        }
    )
    plain = Design(
        metrics=(Metric(name="minutes", covariates=()),), control="off", treatments=("on",), start=START
    )
    found = analyse(base, plain)
    assert found.effect("minutes").control_value == pytest.approx(2.0)  # c was silent after the start
    assert found.effect("minutes").treatment_value == pytest.approx(4.0)
    assert found.units == {"off": 3, "on": 3}
    assert "two arms" in found.warnings[0]


def test_only_exposed_units_count_and_only_from_their_exposure_on():
    at = datetime(2026, 5, 8, 12, tzinfo=UTC)
    base = pl.DataFrame(
        {
            "user_id": ["a", "a", "b", "c", "d", "e"],
            "arm": ["off", "off", "off", "on", "on", "on"],
            "day": [at - timedelta(hours=1), at + timedelta(hours=1), at, at, at, at],
            "seen": [at, at, at, at, None, at],
            "minutes": [50.0, 2.0, 4.0, 6.0, 90.0, 8.0],
        }
    )
    design = Design(metrics=(Metric(name="minutes"),), control="off", treatments=("on",), exposure="seen")
    row = analyse(base, design).effect("minutes")
    assert (row.control_value, row.treatment_value) == pytest.approx((3.0, 7.0))
    by_day = base.with_columns(pl.col("seen").dt.date())
    assert analyse(by_day, design).effect("minutes").control_value == pytest.approx(
        28.0
    )  # the whole day counts


def test_a_covariate_that_the_treatment_moved_is_named():
    broken = world(effect=8.0, seed=5).with_columns(
        late=pl.col("minutes").filter(pl.col("day") >= START).sum().over("user_id")
    )
    metric = Metric(name="minutes", covariates=("late",))
    found = analyse(broken, DESIGN.model_copy(update={"metrics": (metric,)}))
    assert any("late differs" in text for text in found.warnings)
    assert not WHOLE.warnings


def test_cohorts_that_differ_are_told_from_those_that_do_not():
    moved = pl.when((pl.col("arm") == "on") & (pl.col("tier") == "free") & (pl.col("day") >= START))
    frame = world(1200, seed=6).with_columns(pl.col("minutes") + moved.then(15.0).otherwise(0.0))
    design = DESIGN.model_copy(update={"metrics": (METRICS[0],)})
    tests = {test.arm: test.p_adjusted for test in analyse(frame, design).interactions}
    assert tests["on"] < 0.001 < 0.05 < tests["more"]
    rows = {c.level: c for c in analyse(frame, design).cohorts if c.arm == "on"}
    assert rows["free"].interval_adjusted.low > 0
    assert rows["premium"].interval_adjusted.covers(0)


def test_a_look_is_the_analysis_of_that_day_and_information_of_a_daily_mean_grows():
    design = DESIGN.model_copy(update={"cohorts": ()})
    found = looks(FRAME, design)
    days = sorted({look.day for look in found})
    assert days == [START + timedelta(i) for i in range(7)]
    for day in (days[1], days[-1]):
        whole = analyse(FRAME, design.model_copy(update={"end": day}))
        for look in (look for look in found if look.day == day):
            row = whole.effect(look.metric, look.arm)
            assert look.effect == pytest.approx(row.effect, rel=1e-9, abs=1e-12)
            assert look.pair.n_control == row.n_control
            if row.metric != "saved":
                assert look.se == pytest.approx(row.se, rel=1e-9)
    daily = [look.information for look in found if (look.metric, look.arm) == ("minutes_a_day", "on")]
    assert (np.diff(daily) > 0).all()


def test_units_enter_looks_on_the_day_of_their_exposure():
    seen = pl.lit(START) + pl.duration(days=pl.col("user_id").hash(1) % 5)
    design = DESIGN.model_copy(update={"exposure": "seen", "cohorts": ()})
    frame = FRAME.with_columns(seen=seen)
    found = looks(frame, design)
    sizes = [look.pair.n_control for look in found if (look.metric, look.arm) == ("minutes", "on")]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.4 * sizes[-1]
    whole = analyse(frame, design.model_copy(update={"end": START + timedelta(2)})).effect("minutes", "on")
    look = next(k for k in found if k.day == START + timedelta(2) and (k.metric, k.arm) == ("minutes", "on"))
    assert (look.effect, look.se) == pytest.approx((whole.effect, whole.se))


def test_a_fading_effect_shows_as_a_falling_curve_and_a_steady_one_does_not():
    age = (pl.col("day") - pl.lit(START)).dt.total_days()
    fading = pl.when((pl.col("arm") == "on") & (age >= 0)).then(12 - 2.5 * age).otherwise(0.0)
    frame = world(900, seed=8).with_columns(pl.col("minutes") + fading, seen=pl.lit(START))
    design = DESIGN.model_copy(update={"exposure": "seen"})
    on, more = effect_curve(frame, design, METRICS[0], 7)
    assert on.slope.interval.high < 0
    assert on.slope.interval.covers(-2.5 * 0.9)
    assert more.slope.interval.covers(0)
    assert [point.age for point in on.points] == list(range(7))
    assert on.points[0].interval_adjusted.low < on.points[0].interval.low
    (ratio, _) = effect_curve(frame, design, METRICS[3], 7)
    assert ratio.slope.interval.covers(-2.5)


def test_curves_follow_the_same_units_on_all_days():
    joined = pl.lit(START) + pl.duration(days=pl.col("user_id").hash(1) % 7)
    frame = FRAME.with_columns(seen=joined)
    design = DESIGN.model_copy(update={"exposure": "seen"})
    curve = effect_curve(frame, design, METRICS[0], 4)[0]
    early = frame.filter(pl.col("seen") <= START + timedelta(3))
    assert curve.n_control == early.filter(pl.col("arm") == "off")["user_id"].n_unique()
    with pytest.raises(BadInput, match="horizon"):
        effect_curve(frame, design, METRICS[0], 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "listener"}, "lacks listener"),
        ({"treatments": ("off course",)}, "no units in arm off course"),
        ({"metrics": (Metric(name="nothing"),)}, "lacks nothing"),
        ({"day": "plays"}, "neither a date nor a time"),
    ],
)
def test_a_frame_that_does_not_fit_the_design_is_refused_in_one_line(change, message):
    with pytest.raises(BadInput, match=message) as caught:
        analyse(FRAME, DESIGN.model_copy(update=change))
    assert "\n" not in str(caught.value)


def test_values_that_are_not_numbers_are_refused_by_name():
    broken = FRAME.with_columns(
        minutes=pl.when(pl.col("user_id") == "listener 7").then(float("inf")).otherwise(1.0)
    )
    with pytest.raises(BadInput, match=r"minutes\.y"):
        analyse(broken, DESIGN)


@pytest.mark.parametrize(
    "given",
    [
        {"metrics": ()},
        {"metrics": (METRICS[0], METRICS[0])},
        {"treatments": ("off",)},
        {"colour": "red"},
        {"start": START, "end": START - timedelta(1)},
        {"strata": ("a",), "adjustment": "none"},
    ],
)
def test_designs_that_contradict_themselves_are_refused(given):
    with pytest.raises(ValidationError):
        Design(**{"metrics": METRICS[:1], "control": "off", "treatments": ("on",), **given})


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "ratio"},
        {"denominator": "rows"},
        {"kind": "quantile"},
        {"quantile": 0.5},
        {"kind": "proportion", "cap": Cap(high=1.0)},
    ],
)
def test_metrics_that_contradict_themselves_are_refused(given):
    with pytest.raises(ValidationError):
        Metric(name="m", **given)


@pytest.mark.slow
def test_frames_without_an_effect_are_found_significant_one_time_in_twenty():
    """Through the entry point, covariates and strata and all: 1,500 A/A frames, three standard deviations."""
    p: dict[str, list[float]] = {name: [] for name in ("minutes", "capped", "skip_rate", "saved", "latency")}
    for seed in range(1500):
        found = analyse(world(300, seed=seed), DESIGN.model_copy(update={"cohorts": ()}))
        for name, values in p.items():
            values.append(found.effect(name, "on").p_value)
    for name, values in p.items():
        assert np.mean(np.array(values) < 0.05) == pytest.approx(0.05, abs=0.018), name
