"""A report's metrics, arms and cohorts in the words and numbers of the page; from plain JSON, nothing new computed.

Intervals of lifts here are those of the difference, divided by the control's value: they leave zero out exactly where
the difference's do. The lift's own interval (Fieller), of one look at the end, stands in the fine print.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from experiments.report.numbers import amount, chance, count, decimals_of, missing, p_value, percent, words
from experiments.report.plots.canvas import Axis
from experiments.report.plots.forest import axis_of, bar

Json = Mapping[str, Any]
STANDINGS = {
    "better": ("▲", "better"),
    "worse": ("▼", "worse"),
    "no_worse": ("✓", "no worse than allowed"),
    "no_difference": ("=", "no difference shown"),
    "breached": ("✕", "breached"),
    "open": ("○", "not settled"),
}
VERDICTS = {
    "ship": ("✓", "Ship"),
    "do_not_ship": ("✕", "Do not ship"),
    "keep_running": ("…", "Keep running"),
    "broken": ("!", "Broken"),
    "no_data": ("–", "No data yet"),
}
NO_BASE = "no lift: the control's value is zero or not known"
NO_GAIN = 5e-4
NO_COVARIATES = "no covariates: nothing is known of the units from before"
NO_LOOK = "no interval yet: the rule has not looked"


@dataclass(frozen=True)
class Row:
    """One metric in one treatment, ready to be shown; `raw` is the report's own row."""

    raw: Json
    icon: str
    word: str
    better: str
    control: str
    treatment: str
    difference: str
    interval: str
    lift: str
    lift_interval: str
    believed: tuple[float | None, float | None]  # as lifts
    margin: float | None  # signed, as a lift: where too bad begins
    signed_margin: float | None  # the same in the metric's unit
    margin_text: str
    cut: str  # of the variance, by covariates
    worth: str  # times the units, without them
    loss: str  # expected, of choosing the treatment
    facts: tuple[tuple[str, str], ...]

    @property
    def axis(self) -> Axis:
        """An axis for this row alone, its margin on it."""
        return axis_of([*self.believed, self.raw["effect"]["lift"]], [self.margin])

    @property
    def open(self) -> bool:
        """Whether the rule has no interval yet."""
        return self.raw["low"] is None and self.raw["high"] is None

    def bar(self, axis: Axis) -> Markup:
        """Its interval on a common axis."""
        raw = self.raw
        told = f"{raw['metric']}, {raw['arm']}: lift {plain(self.lift)}, {plain(self.lift_interval)}; {self.word}"
        low, high = self.believed
        return bar(axis, raw["effect"]["lift"], low, high, raw["standing"], told, self.margin)


def plain(text: str) -> str:
    """A shown number without markup, for titles."""
    return str(Markup(text).striptags()) if isinstance(text, Markup) else text


def row_of(raw: Json) -> Row:
    """The view of record.MetricRow as plain data."""
    effect = raw["effect"]
    icon, word = STANDINGS[raw["standing"]]
    base = abs(effect["control_value"]) if effect["control_value"] else None
    up = effect["direction"] == "increase"
    margin = None if raw["margin"] is None else (-raw["margin"] if up else raw["margin"])
    low, high = raw["low"], raw["high"]
    as_lift = (_over(low, base), _over(high, base))
    return Row(
        raw=raw,
        icon=icon,
        word=word,
        better="higher is better" if up else "lower is better",
        control=level(effect, effect["control_value"]),
        treatment=level(effect, effect["treatment_value"]),
        difference=change(effect, effect["effect"]),
        interval=between(change(effect, low), change(effect, high), low, high),
        lift=percent(effect["lift"], sign=True, reason=NO_BASE),
        lift_interval=_lift_ends({"low": as_lift[0], "high": as_lift[1]}) if base else missing(NO_BASE),
        believed=as_lift if base else (None, None),
        margin=_over(margin, base),
        signed_margin=margin,
        margin_text=_margin(raw, base),
        cut=_cut(effect["variance_reduction"]),
        worth=_worth(effect["variance_reduction"]),
        loss=_loss(effect, effect["bayes"]["loss_treatment"]),
        facts=tuple(_facts(raw)),
    )


def rows_axis(rows: Sequence[Row]) -> Axis:
    """The common axis of some rows: their lifts."""
    ends = [v for r in rows for v in (*r.believed, r.raw["effect"]["lift"])]
    return axis_of(ends)


def _over(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


def level(effect: Json, value: float | None, reason: str = "not known: no units yet") -> str:
    """A metric's value in one arm; a proportion as a percentage."""
    if effect["kind"] == "proportion":
        return percent(value, _points(effect["se"]), reason=reason)
    return amount(value, effect["se"], reason=reason)


def change(effect: Json, value: float | None, reason: str = NO_LOOK) -> str:
    """A difference in the metric's unit; of a proportion in percentage points."""
    if value is None:
        return missing(reason)
    if effect["kind"] == "proportion":
        return f"{amount(100 * value, 100 * (effect['se'] or 0), sign=True)} pp"
    return amount(value, effect["se"], sign=True)


def spread(effect: Json, value: float | None) -> str:
    """A size without a sign (an error, a loss) in the metric's unit, two digits."""
    if effect["kind"] == "proportion" and value is not None:
        return f"{amount(100 * value, 100 * value)} pp"
    return amount(value, value, reason="not known: no variance")


def _points(se: float | None) -> int | None:
    return decimals_of(100 * se) if se else None


def between(low_text: str, high_text: str, low: float | None, high: float | None) -> str:
    """An interval in words; one that is open on a side says so."""
    if low is None and high is None:
        return missing(NO_LOOK)
    if high is None:
        return f"above {low_text}"
    return f"below {high_text}" if low is None else f"{low_text} to {high_text}"


def _margin(raw: Json, base: float | None) -> str:
    if raw["margin"] is None:
        return ""
    as_share = _over(raw["margin"], base)
    in_unit = change(raw["effect"], raw["margin"]).removeprefix("+")
    side = "lower" if raw["effect"]["direction"] == "increase" else "higher"
    if as_share is None:
        return f"at most {in_unit} {side}"
    shares = percent(as_share)
    first, second = (shares, in_unit) if raw["margin_relative"] else (in_unit, shares)
    return f"at most {first} {side} ({second})"


def _cut(share: float | None) -> str:
    """The share of the variance that covariates took away."""
    return missing(NO_COVARIATES) if share is None or abs(share) < NO_GAIN else percent(share, 1)


def _worth(share: float | None) -> str:
    """The units, in times, that would have been needed instead."""
    if share is None or abs(share) < NO_GAIN or share >= 1:
        return missing(NO_COVARIATES)
    return f"{1 / (1 - share):.2f} × units"


def _facts(raw: Json) -> Iterable[tuple[str, str]]:
    """Every number that a statistician asks for, with its name."""
    effect, bayes, other = raw["effect"], raw["effect"]["bayes"], raw["effect"]["non_inferiority"]
    yield "method", effect["method"]
    yield "units", f"{count(effect['n_control'])} control, {count(effect['n_treatment'])} {effect['arm']}"
    yield "standard error", plain(spread(effect, effect["se"]))
    yield "df", "normal" if effect["df"] is None else f"{effect['df']:,.1f}"
    yield "one look at the end: difference", _ends(effect, effect["interval"])
    yield "the same, adjusted for the family", _ends(effect, effect["interval_adjusted"])
    yield "the same, of the lift", plain(_lift_ends(effect["lift_interval"]))
    yield (
        "p, one look",
        f"{plain(p_value(effect['p_value']))}; adjusted {plain(p_value(effect['p_adjusted']))}",
    )
    yield (
        "posterior",
        f"mean {plain(change(effect, bayes['mean']))}, sd {plain(spread(effect, bayes['sd']))}, "
        f"credible {_ends(effect, bayes['interval'])}",
    )
    yield (
        "expected loss",
        f"{plain(_loss(effect, bayes['loss_treatment']))} if {effect['arm']} is chosen, "
        f"{plain(_loss(effect, bayes['loss_control']))} if {effect['control']} is kept",
    )
    yield "chance to beat the control", plain(chance(bayes["chance_to_beat"]))
    if other is not None:
        passed = "passed" if other["passed"] else "not passed"
        yield (
            "non-inferiority, one look",
            f"margin {plain(amount(other['margin'], effect['se']))}, "
            f"bound {plain(change(effect, other['bound']))}, p {plain(p_value(other['p_value']))}, {passed}",
        )
    if raw["breach_p"] is not None:
        yield "p of “worse than the margin”, at all looks together", plain(p_value(raw["breach_p"]))


def _ends(effect: Json, interval: Json) -> str:
    low, high = interval["low"], interval["high"]
    return plain(between(change(effect, low), change(effect, high), low, high))


def _lift_ends(interval: Json) -> str:
    low, high = interval["low"], interval["high"]
    return between(percent(low, sign=True), percent(high, sign=True), low, high)


def _loss(effect: Json, value: float | None) -> str:
    return missing("not known: no variance") if value is None else spread(effect, value)


@dataclass(frozen=True)
class Cohort:
    """The levels of one cohort in one metric and treatment, with their plot."""

    metric: str
    arm: str
    name: str
    interaction: Json | None
    levels: tuple[tuple[Json, str, str, Markup], ...]  # record, effect, interval, bar
    axis: Axis
    unit: tuple[str, float]  # of the axis
    overall: str

    @property
    def alone(self) -> bool:
        """Whether all units are in one level, so that nothing can differ."""
        return len(self.levels) < 2


def cohorts_of(report: Json) -> list[Cohort]:
    """Levels grouped by metric, treatment and cohort, in the report's order."""
    groups: dict[tuple[str, str, str], list[Json]] = {}
    for one in report["cohorts"]:
        groups.setdefault((one["metric"], one["arm"], one["cohort"]), []).append(one)
    whole = {(row["metric"], row["arm"]): row["effect"] for row in report["metrics"]}
    tests = {(i["metric"], i["arm"], i["cohort"]): i for i in report["interactions"]}
    return [_cohort(key, levels, whole.get(key[:2]), tests.get(key)) for key, levels in groups.items()]


def _cohort(key: tuple[str, str, str], levels: list[Json], whole: Json | None, test: Json | None) -> Cohort:
    effect = whole or {"kind": "", "effect": None}
    ends = [one["interval_adjusted"][side] for one in levels for side in ("low", "high")]
    axis = axis_of([*ends, *(one["effect"] for one in levels)], [effect["effect"]])
    shown = []
    for one in levels:
        own = {"kind": effect["kind"], "se": one["se"]}
        low, high = one["interval_adjusted"]["low"], one["interval_adjusted"]["high"]
        difference = change(own, one["effect"])
        interval = between(change(own, low), change(own, high), low, high)
        kind = "sure" if low is not None and high is not None and (low > 0 or high < 0) else "open"
        told = f"{key[2]} {one['level']}: {plain(difference)}, {plain(interval)}"
        shown.append(
            (
                one,
                difference,
                interval,
                bar(axis, one["effect"], low, high, kind, told, None, effect["effect"]),
            )
        )
    unit = (" pp", 100.0) if effect["kind"] == "proportion" else ("", 1.0)
    overall = change(effect, effect["effect"]) if whole else missing("the report has no effect of all units")
    return Cohort(key[0], key[1], key[2], test, tuple(shown), axis, unit, overall)


def lights(report: Json) -> dict[str, tuple[str, str]]:
    """The state of sample ratio and guardrails: (light, word)."""
    ratio = report["sample_ratio"]
    if ratio is None:
        first = ("none", "not checked yet")
    else:
        first = ("breached", "mismatch") if ratio["mismatch"] else ("no_worse", "as planned")
    return {
        "ratio": first,
        "guardrails": guardrail_light([r for r in report["metrics"] if r["role"] == "guardrail"]),
    }


def guardrail_light(rows: Sequence[Json]) -> tuple[str, str]:
    """The state of all guardrails together: the worst one's."""
    if not rows:
        return "none", "none set"
    bad = {row["metric"] for row in rows if row["standing"] in ("breached", "worse")}
    unsettled = {row["metric"] for row in rows if row["standing"] in ("open", "no_difference")}
    if bad:
        return "breached", ", ".join(sorted(bad)) + " breached"
    return ("open", f"{len(unsettled)} not settled") if unsettled else ("no_worse", "all hold")


def decision_of(decision: str) -> tuple[str, str]:
    """Sign and words of a decision."""
    return VERDICTS.get(decision, ("?", words(decision)))
