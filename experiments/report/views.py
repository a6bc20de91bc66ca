"""A report's metrics in the words and numbers of the page; from plain JSON, nothing new computed.

Intervals of lifts here are those of the difference, divided by the control's value: they leave zero out exactly where
the difference's do. The lift's own interval (Fieller), of one look at the end, stands in the fine print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from experiments.report.fine_print import facts
from experiments.report.numbers import missing, percent, words
from experiments.report.plots.canvas import Axis
from experiments.report.plots.forest import axis_of, bar
from experiments.report.wording import Json, between, change, level, lift_ends, loss, plain

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
    estimate: float | None  # as a lift
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
        return axis_of([*self.believed, self.estimate], [self.margin])

    @property
    def open(self) -> bool:
        """Whether the rule has no interval yet."""
        return self.raw["low"] is None and self.raw["high"] is None

    def bar(self, axis: Axis) -> Markup:
        """Its interval on a common axis."""
        raw = self.raw
        told = f"{raw['metric']}, {raw['arm']}: lift {plain(self.lift)}, {plain(self.lift_interval)}; {self.word}"
        low, high = self.believed
        return bar(axis, self.estimate, low, high, raw["standing"], told, self.margin)


def row_of(raw: Json) -> Row:
    """The view of record.MetricRow as plain data."""
    effect = raw["effect"]
    held = "not shown to hold" if raw["margin"] is not None and raw["standing"] == "no_difference" else ""
    icon, word = STANDINGS[raw["standing"]]
    base = abs(effect["control_value"]) if effect["control_value"] else None
    up = effect["direction"] == "increase"
    margin = None if raw["margin"] is None else (-raw["margin"] if up else raw["margin"])
    low, high = raw["low"], raw["high"]
    as_lift = (_over(low, base), _over(high, base))
    return Row(
        raw=raw,
        icon=icon,
        word=held or word,
        better="higher is better" if up else "lower is better",
        control=level(effect, effect["control_value"]),
        treatment=level(effect, effect["treatment_value"]),
        difference=change(effect, raw["estimate"]),
        interval=between(change(effect, low), change(effect, high), low, high),
        estimate=_over(raw["estimate"], base),
        lift=percent(_over(raw["estimate"], base), sign=True, reason=NO_BASE),
        lift_interval=lift_ends({"low": as_lift[0], "high": as_lift[1]}) if base else missing(NO_BASE),
        believed=as_lift if base else (None, None),
        margin=_over(margin, base),
        signed_margin=margin,
        margin_text=_margin(raw, base),
        cut=_cut(effect["variance_reduction"]),
        worth=_worth(effect["variance_reduction"]),
        loss=loss(effect, effect["bayes"]["loss_treatment"]),
        facts=tuple(facts(raw)),
    )


def rows_axis(rows: Sequence[Row]) -> Axis:
    """The common axis of some rows: their lifts."""
    ends = [v for r in rows for v in (*r.believed, r.estimate)]
    return axis_of(ends)


def _over(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


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
