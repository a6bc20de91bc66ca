"""Cohorts on the page: the levels of each with their intervals on one axis, beside the effect of all units."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from experiments.report.numbers import missing
from experiments.report.plots.canvas import Axis
from experiments.report.plots.forest import axis_of, bar
from experiments.report.wording import Json, between, change, plain


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
