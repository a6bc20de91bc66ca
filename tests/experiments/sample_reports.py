"""Reports for the tests of the page: numbers from real estimators and stopping rules on made-up daily data.

running(), shipped(), broken(), many_arms(), draft(), nothing_yet(), hostile(): Report;  plain(report) as it is stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import orjson

from experiments.analysis.bayes import Prior, summary
from experiments.analysis.curve import Curve
from experiments.analysis.curve import Point as Age
from experiments.analysis.effects import Interval, difference, infer, lift, non_inferiority
from experiments.analysis.estimate import Pair
from experiments.analysis.result import CohortEffect, Effect, Interaction
from experiments.report.record import (
    ArmFacts,
    Happening,
    MetricRow,
    Point,
    Power,
    RatioDay,
    Report,
    SampleRatio,
    Segment,
    Verdict,
)
from experiments.sequential.looks import Look
from experiments.sequential.rule import parse, trail
from experiments.sequential.sample_ratio import ALPHA, concentration_for, sequential

START = date(2026, 12, 1)
DAYS, PLANNED = 19, 28
HOSTILE = '<script>alert("x")</script>'
RULES: dict[str, dict[str, Any]] = {
    "always_valid": {"kind": "always_valid", "best_at": 1000 * PLANNED},
    "fixed": {"kind": "fixed", "units": 2000 * PLANNED},
    "group_sequential": {"kind": "group_sequential", "units": 2000 * PLANNED},
}
WORDS = {
    "always_valid": "always valid: may be looked at every day (confidence sequence, alpha 0.05)",
    "fixed": "fixed: one look after 28 days, alpha 0.05",
    "group_sequential": "group sequential, 4 looks, O'Brien–Fleming spending, alpha 0.05",
}


@dataclass(frozen=True)
class Of:
    """A metric of the made-up test: its control's value, sd over units, true lift, and what is asked of it."""

    name: str
    kind: str
    direction: str
    base: float
    sd: float
    lift: float
    role: str = "secondary"
    margin: float | None = None  # a share of the base
    gain: float = 0.3
    description: str = ""


METRICS = (
    Of(
        "skip_rate",
        "ratio",
        "decrease",
        0.312,
        0.21,
        -0.025,
        "primary",
        None,
        0.41,
        "Plays skipped before 30 s, of all plays.",
    ),
    Of(
        "hours", "mean", "increase", 14.2, 12.5, 0.004, "guardrail", 0.02, 0.55, "Hours listened, a listener."
    ),
    Of(
        "latency",
        "quantile",
        "decrease",
        48.2,
        260.0,
        0.006,
        "guardrail",
        0.2,
        0.0,
        "Time to an answer, p99, ms.",
    ),
    Of(
        "retention",
        "proportion",
        "increase",
        0.41,
        0.492,
        0.01,
        "secondary",
        None,
        0.12,
        "Listeners who come back in the second week.",
    ),
    Of("saves", "mean", "increase", 2.1, 4.4, 0.03, "secondary", None, 0.22, "Tracks saved."),
)


def day(n: int) -> str:
    return (START + timedelta(days=n)).isoformat()


def pair_of(m: Of, units: int, wobble: float) -> Pair:
    se = m.sd * math.sqrt(1 - m.gain) / math.sqrt(units)
    plain = 2 * m.sd**2 / units
    moved = m.base * (1 + m.lift) + wobble * se * math.sqrt(2)
    return Pair(m.base, moved, se**2, se**2, 0.0, 2.0 * units - 2, units, units, plain)


def effect_of(m: Of, pair: Pair, arm: str = "treatment") -> Effect:
    found, over = difference(pair), lift(pair)
    margin = None if m.margin is None else non_inferiority(pair, relative=m.margin, direction=m.direction)  # type: ignore[arg-type]
    return Effect(
        m.name,
        m.kind,
        m.role,
        m.direction,
        arm,
        "control",
        pair.n_control,
        pair.n_treatment,
        pair.control,
        pair.treatment,
        found.effect,
        found.se,
        None if m.kind == "quantile" else pair.df,
        found.interval,
        found.p_value,
        min(1.0, 2 * found.p_value),
        infer(found.effect, found.se, pair.df, 0.975).interval,
        over.effect,
        over.interval,
        pair.variance_reduction,
        "CUPED, a slope per arm; Welch" if m.gain else "ranks of a clustered share",
        summary(found.effect, found.se, Prior(), m.direction),  # type: ignore[arg-type]
        margin,
        ("skewness 14: 355 × 14² units an arm are wanted",) if m.name == "saves" else (),
    )


def trail_of(m: Of, kind: str, days: int, daily: int, seed: int) -> tuple[Point, ...]:
    """Each day's effect, with what a real rule says of the planned looks."""
    walk = np.cumsum(np.random.default_rng(seed).normal(size=days))
    states = [pair_of(m, daily * (n + 1), float(walk[n]) / math.sqrt(n + 1)) for n in range(days)]
    looks = [Look(2.0 * p.n_control, p.effect, p.se, day(n)) for n, p in enumerate(states)]
    chosen = [
        n
        for n in range(days)
        if kind == "always_valid" or (n + 1) % (7 if kind == "group_sequential" else PLANNED) == 0
    ]
    said = (
        dict(zip(chosen, trail(parse(RULES[kind]), [looks[n] for n in chosen]), strict=True))
        if chosen
        else {}
    )
    points = []
    for n, (look, state) in enumerate(zip(looks, states, strict=True)):
        v = said.get(n)
        naive = difference(state).interval
        low, high = (None, None) if v is None else v.interval
        points.append(
            Point(
                look.at,
                int(look.units),
                look.effect,
                look.se,
                low,
                high,
                naive.low,
                naive.high,
                v is not None,
                "running" if v is None else v.outcome,
                None if v is None else v.bound,
                None if v is None else v.z,
            )
        )
    return tuple(points)


def row_of(
    m: Of, kind: str, days: int = DAYS, daily: int = 1000, arm: str = "treatment", seed: int = 0
) -> MetricRow:
    points = trail_of(m, kind, days, daily, seed)
    last = points[-1]
    pair = pair_of(m, daily * days, 0.0)
    pair = replace(pair, treatment=pair.control + last.effect)
    believed = next((p for p in reversed(points) if p.low is not None or p.high is not None), None)
    low, high = (None, None) if believed is None else (believed.low, believed.high)
    margin = None if m.margin is None else m.margin * m.base
    standing = _standing(m, low, high, margin)
    return MetricRow(
        m.name,
        m.role,
        m.description,
        arm,
        effect_of(m, pair, arm),
        last.effect,
        low,
        high,  # type: ignore[arg-type]
        None if believed is None else min(1.0, difference(pair).p_value * 3),
        {
            "always_valid": "always valid",
            "fixed": "one look at the end",
            "group_sequential": "repeated, at the last look",
        }[kind],
        standing,  # type: ignore[arg-type]
        f"{m.name}: the interval {'is not there yet' if low is None else 'says ' + standing.replace('_', ' ')}",
        margin,
        m.margin is not None,
        None if margin is None else 0.31,
        points,
    )


def _standing(m: Of, low: float | None, high: float | None, margin: float | None) -> str:
    if low is None or high is None:
        return "open"
    gain, loss = (low, high) if m.direction == "increase" else (-high, -low)
    if margin is not None:
        return "no_worse" if gain > -margin else "breached" if loss < -margin else "open"
    return "better" if gain > 0 else "worse" if loss < 0 else "open"


def ratio_of(arms: Sequence[ArmFacts], days: int = DAYS, bias: float = 0.0, seed: int = 5) -> SampleRatio:
    """A real sequential check of drawn counts; `bias` moves a share from the last arm to the first."""
    weights = np.array([a.weight for a in arms])
    shares = weights.copy()
    shares[0] += bias
    shares[-1] -= bias
    new = np.random.default_rng(seed).multinomial([sum(a.units for a in arms) // days] * days, shares)
    counts = new.cumsum(axis=0)
    size = concentration_for(float(counts[-1].sum()))
    found = sequential(counts, weights, ALPHA, size)
    at = tuple(
        RatioDay(day(n), tuple(int(c) for c in row), sequential(counts[: n + 1], weights, ALPHA, size).p)
        for n, row in enumerate(counts)
    )
    segments = (
        Segment("platform: car", (820, 410), 2e-31, 0.42),
        Segment("country: SE", (5100, 4780), 0.0011, 3e-29),
    )
    word = (
        "The arms did not get the units that they should. Do not read the effects"
        if found.mismatch
        else "The arms got the units that they should"
    )
    return SampleRatio(
        found.mismatch,
        found.p,
        ALPHA,
        tuple(weights),
        tuple(int(c) for c in counts[-1]),
        found.low,
        found.high,
        at,
        None if found.first is None else day(found.first),
        segments if found.mismatch else (),
        word,
    )


def cohorts_of(m: Of, arm: str = "treatment") -> tuple[tuple[CohortEffect, ...], tuple[Interaction, ...]]:
    levels, tests = [], []
    for cohort, names in (("country", ("SE", "NO", "DE", "BR", "(none)")), ("tier", ("free", "premium"))):
        for n, name in enumerate(names):
            units = 6000 // (n + 1)
            pair = pair_of(m, units, (-1.0) ** n * (0.4 + 0.3 * n))
            found = difference(pair)
            wide = infer(found.effect, found.se, pair.df, 1 - 0.05 / len(names))
            levels.append(
                CohortEffect(
                    m.name,
                    arm,
                    cohort,
                    name,
                    units,
                    units,
                    found.effect,
                    found.se,
                    found.interval,
                    wide.interval,
                    found.p_value,
                    min(1.0, found.p_value * len(names)),
                )
            )
        tests.append(
            Interaction(
                m.name,
                arm,
                cohort,
                3.7,
                len(names) - 1,
                0.034 if cohort == "tier" else 0.45,
                0.068 if cohort == "tier" else 0.9,
            )
        )
    return tuple(levels), tuple(tests)


def curve_of(m: Of, arm: str = "treatment") -> Curve:
    points = []
    for age in range(14):
        pair = pair_of(
            m,
            9000,
            1.2 * math.exp(-age / 4) * (-1 if m.direction == "decrease" else 1) + 0.3 * math.sin(3 * age),
        )
        found = difference(pair)
        points.append(
            Age(
                age,
                found.effect,
                found.se,
                found.interval,
                infer(found.effect, found.se, pair.df, 1 - 0.05 / 14).interval,
            )
        )
    return Curve(m.name, arm, 9000, 9000, tuple(points), infer(0.00021, 0.00012), infer(0.0016, 0.0007))


HISTORY = (
    Happening("2026-11-28T10:12:00+00:00", "was written down", "9f0c51d2a7be4410"),
    Happening("2026-12-01T08:00:00+00:00", "ramp: 10% of units take part"),
    Happening("2026-12-03T08:00:00+00:00", "ramp: 100% of units take part"),
    Happening(
        "2026-12-07",
        "skip_rate in treatment: goes on (z −1.42, 4.05 needed)",
        "group sequential, O'Brien–Fleming",
    ),
    Happening(
        "2026-12-14",
        "skip_rate in treatment: goes on (z −2.31, 2.86 needed)",
        "group sequential, O'Brien–Fleming",
    ),
)


def running(kind: str = "group_sequential", days: int = DAYS) -> Report:
    """A test of two arms under way, under any of the rules."""
    arms = (
        ArmFacts("control", 0.5, "champion", {}, 1000 * days),
        ArmFacts("treatment", 0.5, "challenger", {"home.epsilon": 0.05, "lists.mixes.size": 40}, 1000 * days),
    )
    small = (replace(METRICS[0], lift=-0.012), *METRICS[1:])
    rows = tuple(row_of(m, kind, days, seed=n + 2) for n, m in enumerate(small))
    levels, tests = cohorts_of(METRICS[0])
    return Report(
        "ranker",
        "The new ranker lowers skips.",
        "Home team",
        "running",
        "listener",
        "control",
        "2026-12-20T06:00:12+00:00",
        "2026-12-20T00:00:00+00:00",
        "2026-12-01T08:00:00+00:00",
        "2026-12-29T08:00:00+00:00",
        days,
        PLANNED,
        WORDS[kind],
        "Does treatment change skip_rate by 2% or more? (two-sided, alpha 0.05, power 0.8)",
        arms,
        Verdict(
            "keep_running",
            "Keep it running: skip_rate is open. The next look is after 2026-12-21.",
            None,
            (rows[0].sentence, "hours: within its margin"),
            "2026-12-21",
        ),
        ratio_of(arms, days),
        rows,
        levels,
        tests,
        (curve_of(METRICS[0]),),
        (("treatment", Power(0.00624, 0.0068, 0.83, 0.71)),),
        HISTORY,
        ("9f0c51d2a7be4410", "1b77d0e9c2f3a685"),
        "ranking 0–0.5",
        {"country": {"$in": ["SE", "NO"]}, "tier": "premium"},
        {"overridden": 3, "in_two_arms": 0},
        ("saves: skewness 14: 355 × 14² units an arm are wanted",),
    )


def shipped() -> Report:
    """A finished always-valid test that found what it looked for."""
    found = running("always_valid", PLANNED)
    better = replace(METRICS[0], lift=-0.032)
    rows = (row_of(better, "always_valid", PLANNED, seed=2), *found.metrics[1:])
    return replace(
        found,
        name="home-mixer",
        state="ended",
        metrics=rows,
        warnings=(),
        rule=WORDS["always_valid"],
        verdict=Verdict(
            "ship",
            "Ship treatment: skip_rate is shown to be better, and every guardrail is within its margin.",
            "treatment",
            tuple(r.sentence for r in rows[:3]),
        ),
        power=(("treatment", Power(0.00624, 0.0051)),),
    )


def stopped_worse() -> Report:
    """A group-sequential test whose guardrail was breached."""
    found = running("group_sequential", 21)
    bad = replace(METRICS[1], lift=-0.06)
    rows = (found.metrics[0], row_of(bad, "group_sequential", 21, seed=3), *found.metrics[2:])
    return replace(
        found,
        name="autoplay",
        state="stopped",
        stop="2026-12-22T00:00:00+00:00",
        metrics=rows,
        verdict=Verdict(
            "do_not_ship",
            "Do not ship: its guardrail hours (−5.7% to −3.9%) is breached.",
            None,
            (rows[1].sentence,),
        ),
        history=(
            *HISTORY,
            Happening("2026-12-21", "hours in treatment: lower (z −8.1, 2.3 needed)", "group sequential"),
            Happening("2026-12-22T09:30:00+00:00", "was stopped", "5b0e6dd1c4a39f20"),
        ),
    )


def broken() -> Report:
    """Arms that did not get the units that they should."""
    found = running()
    ratio = ratio_of(found.arms, DAYS, bias=0.02)
    return replace(
        found,
        name="car-mode",
        sample_ratio=ratio,
        verdict=Verdict("broken", ratio.sentence + ".", None, (f"Sample-ratio alarm on {ratio.first}.",)),
    )


def many_arms() -> Report:
    """Three treatments of unequal weight; a proportion is the primary metric."""
    primary = replace(METRICS[3], role="primary", lift=0.03)
    others = (METRICS[1], replace(METRICS[0], role="secondary"), METRICS[2])
    arms = tuple(
        ArmFacts(n, w, "champion", {"home.epsilon": e}, int(80_000 * w))
        for n, w, e in (("control", 0.4, 0.0), ("little", 0.2, 0.02), ("some", 0.2, 0.05), ("much", 0.2, 0.1))
    )
    names = ("little", "some", "much")
    rows = tuple(
        row_of(replace(m, lift=m.lift * (i + 0.3)), "always_valid", DAYS, 840, arm, seed=10 * n + i)
        for n, m in enumerate((primary, *others))
        for i, arm in enumerate(names)
    )
    levels, tests = cohorts_of(primary, "much")
    return replace(
        running("always_valid"),
        name="exploration",
        arms=arms,
        metrics=rows,
        sample_ratio=ratio_of(arms),
        cohorts=levels,
        interactions=tests,
        curves=tuple(curve_of(primary, arm) for arm in names),
        stop=None,
        planned_days=None,
        verdict=Verdict(
            "keep_running", "Keep it running: retention is open", None, tuple(r.sentence for r in rows[:3])
        ),
        power=tuple(
            (arm, Power(0.0082, 0.0071 + i / 500, 0.9 - i / 10, 0.8 - i / 10)) for i, arm in enumerate(names)
        ),
    )


def nothing_yet() -> Report:
    """Started a moment ago."""
    arms = tuple(replace(a, units=0) for a in running().arms)
    return Report(
        "onboarding",
        "",
        "",
        "running",
        "listener",
        "control",
        "2026-12-01T09:00:00+00:00",
        "2026-12-01T09:00:00+00:00",
        "2026-12-01T08:00:00+00:00",
        None,
        0,
        None,
        WORDS["always_valid"],
        "Does treatment change retention?",
        arms,
        Verdict("no_data", "No unit has been seen yet."),
    )


def draft() -> Report:
    return replace(
        nothing_yet(),
        name="slow-radio",
        state="draft",
        start=None,
        verdict=Verdict("no_data", "This is a draft: nobody is in it."),
    )


def first_day() -> Report:
    """One day of data under a fixed rule: no interval is due, and much is missing or infinite."""
    found = running("fixed", 1)
    first = found.metrics[0]
    lost = replace(
        first.effect,
        se=math.nan,
        df=None,
        interval=Interval(-math.inf, math.inf),
        interval_adjusted=Interval(-math.inf, math.inf),
        lift=math.nan,
        lift_interval=Interval(-math.inf, math.inf),
        control_value=0.0,
        p_value=math.nan,
        p_adjusted=math.nan,
        variance_reduction=math.nan,
        bayes=summary(0.0, math.nan),
    )
    rows = (
        first,
        replace(found.metrics[1], effect=lost, estimate=lost.effect, trail=(), margin=None),
        *found.metrics[2:],
    )
    return replace(found, name="first-day", metrics=rows, cohorts=(), interactions=(), curves=(), power=())


def hostile() -> Report:
    """Every text that a person may write is an attack."""
    found = running()
    arms = tuple(
        replace(a, name=a.name + HOSTILE, release=HOSTILE, parameters={HOSTILE: HOSTILE}) for a in found.arms
    )
    rows = tuple(
        replace(r, metric=r.metric + HOSTILE, description=HOSTILE, sentence=HOSTILE, kind=HOSTILE)
        for r in found.metrics
    )
    return replace(
        found,
        name=HOSTILE,
        description=HOSTILE,
        owner='"><img src=x onerror=alert(1)>',
        arms=arms,
        metrics=rows,
        hypothesis=HOSTILE,
        rule=HOSTILE,
        verdict=replace(found.verdict, sentence=HOSTILE, reasons=(HOSTILE,)),
        targeting={HOSTILE: HOSTILE},
        layer=HOSTILE,
        cohorts=tuple(replace(c, level=HOSTILE, cohort=HOSTILE) for c in found.cohorts),
        history=(Happening(HOSTILE, HOSTILE, HOSTILE),),
        warnings=(HOSTILE,),
        left_out={HOSTILE: 2},
        versions=(HOSTILE,),
    )


ALL = {
    "running": running,
    "always-valid": lambda: running("always_valid"),
    "fixed": lambda: running("fixed"),
    "shipped": shipped,
    "stopped": stopped_worse,
    "broken": broken,
    "many-arms": many_arms,
    "nothing-yet": nothing_yet,
    "draft": draft,
    "first-day": first_day,
    "hostile": hostile,
}


def plain(report: Report) -> dict[str, Any]:
    """As it is stored and read again."""
    return dict(orjson.loads(report.to_json()))
