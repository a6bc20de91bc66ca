"""What an evaluation says: estimates or refusals, with intervals, overlap, assumptions; as a table and as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from bandits.ope.diagnostics import Overlap
from bandits.ope.intervals import Interval
from bandits.ope.terms import Terms

NAN = float("nan")
_USUAL, _MORE = ("asymptotic", "bootstrap"), ("bernstein", "betting", "sequence")
_VALUE, _LIFT = ("value", _USUAL[0]), ("lift",)
_WEIGHTS = ("effective", "listeners", "max weight")
_WIDE = 130
"""Characters from which one table holds it all."""


@dataclass(frozen=True)
class Estimate:
    """One estimator's answer; `refused` says why there is none.

    Attributes:
        error: cluster-robust standard error.
        intervals: by method: asymptotic, bootstrap; with bounds bernstein; with a period sequence, betting.
        lift: difference to the logging policy on the same decisions, with its interval.
        parameter: the threshold or lambda that was chosen.
        terms: what each decision adds, and its weight; for plots and sequences.
    """

    estimator: str
    assumes: str
    refused: str | None = None
    value: float = NAN
    error: float = NAN
    intervals: dict[str, Interval] = field(default_factory=dict)
    lift: float = NAN
    lift_interval: Interval = (NAN, NAN)
    parameter: float | None = None
    overlap: Overlap | None = None
    warnings: list[str] = field(default_factory=list)
    terms: Terms | None = None

    def to_dict(self) -> dict[str, Any]:
        body = {k: v for k, v in vars(self).items() if k not in ("terms", "overlap")}
        return body | {"overlap": None if self.overlap is None else vars(self.overlap)}


@dataclass(frozen=True)
class Report:
    """An evaluation of one target policy; `logging` is the value of the policy that logged."""

    target: str
    level: str
    confidence: float
    decisions: int
    listeners: int
    dropped: dict[str, int]
    logging: float
    logging_interval: Interval
    estimates: list[Estimate]

    def of(self, estimator: str) -> Estimate:
        return next(e for e in self.estimates if e.estimator == estimator)

    @property
    def estimand(self) -> str:
        what = "the sum of rewards of a slate" if self.level == "slate" else "the reward of a slot"
        return (
            f"one-step value of {self.target}: the mean of {what} on the contexts that the logging policy met"
        )

    def to_dict(self) -> dict[str, Any]:
        body = vars(self) | {"estimand": self.estimand, "estimates": [e.to_dict() for e in self.estimates]}
        return dict(_plain(body))

    def to_json(self) -> str:
        """JSON without NaN or infinity (null, and "inf" for an infinite threshold)."""
        import orjson

        return orjson.dumps(self.to_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()

    def table(self, width: int = 160) -> str:
        """For a terminal: one line an estimator (in two tables where it is narrow), refusals, warnings, assumptions."""
        from rich.console import Console
        from rich.table import Table

        out = Console(
            file=(text := StringIO()),
            width=width,
            force_terminal=False,
            force_jupyter=False,
            color_system=None,
            highlight=False,
            markup=False,
        )
        low, high = self.logging_interval
        out.print(self.estimand)
        out.print(f"{self.decisions} decisions of {self.listeners} listeners" + _left_out(self.dropped))
        out.print(f"the logging policy itself: {self.logging:.4f} [{low:.4f}, {high:.4f}]")
        given = [e for e in self.estimates if e.refused is None]
        more = [m for m in _MORE if any(m in e.intervals for e in given)]
        parts = [[*_VALUE, *_USUAL[1:], *_LIFT, *_WEIGHTS], more]
        if width < _WIDE:
            parts = [[*_VALUE, *_LIFT], [*_USUAL[1:], *_WEIGHTS], more]
        for part in filter(None, parts):
            rows = Table("estimator", *part, pad_edge=False)
            for e in given:
                cells = _cells(e)
                rows.add_row(_named(e), *(cells.get(name, "-") for name in part))
            out.print(rows)
        for e in self.estimates:
            for line in [f"refused: {e.refused}"] if e.refused else e.warnings:
                out.print(f"{e.estimator}: {line}")
        out.print("\nwhat has to hold")
        for e in self.estimates:
            if e.refused is None:
                out.print(f"{e.estimator}: {e.assumes}")
        return text.getvalue()


def _named(e: Estimate) -> str:
    return e.estimator if e.parameter is None else f"{e.estimator} ({e.parameter:.3g})"


def _cells(e: Estimate) -> dict[str, str]:
    """By column; an interval that was not asked for has none."""
    assert e.overlap is not None
    return {name: _interval(*limits) for name, limits in e.intervals.items()} | {
        "value": f"{e.value:.4f}",
        "lift": f"{e.lift:+.4f} {_interval(*e.lift_interval)}",
        "effective": f"{e.overlap.effective:.0f}",
        "listeners": f"{e.overlap.effective_listeners:.0f}",
        "max weight": f"{e.overlap.max_weight:.3g}",
    }


def _interval(low: float, high: float) -> str:
    return f"[{low:.4f}, {high:.4f}]"


def _left_out(dropped: dict[str, int]) -> str:
    return "; left out: " + ", ".join(f"{n} {why}" for why, n in dropped.items()) if dropped else ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value == math.inf else None
    return value
