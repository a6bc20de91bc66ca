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
        """For a terminal: one line an estimator, then refusals, warnings and assumptions."""
        from rich.console import Console
        from rich.table import Table

        out = Console(
            file=(text := StringIO()), width=width, force_terminal=False, highlight=False, markup=False
        )
        low, high = self.logging_interval
        out.print(self.estimand)
        out.print(f"{self.decisions} decisions of {self.listeners} listeners" + _left_out(self.dropped))
        out.print(f"the logging policy itself: {self.logging:.4f} [{low:.4f}, {high:.4f}]")
        given = [e for e in self.estimates if e.refused is None]
        rows = Table(
            "estimator", "value", *_USUAL, "lift", "effective", "listeners", "max weight", pad_edge=False
        )
        for e in given:
            rows.add_row(*_cells(e))
        out.print(rows)
        more = [m for m in _MORE if any(m in e.intervals for e in given)]
        if more:
            rows = Table("estimator", *more, pad_edge=False)
            for e in given:
                rows.add_row(
                    e.estimator, *(_interval(*e.intervals[m]) if m in e.intervals else "-" for m in more)
                )
            out.print(rows)
        for e in self.estimates:
            for line in [f"refused: {e.refused}"] if e.refused else e.warnings:
                out.print(f"{e.estimator}: {line}")
        out.print("\nwhat has to hold")
        for e in self.estimates:
            if e.refused is None:
                out.print(f"{e.estimator}: {e.assumes}")
        return text.getvalue()


def _cells(e: Estimate) -> list[str]:
    assert e.overlap is not None
    shown = e.estimator if e.parameter is None else f"{e.estimator} ({e.parameter:.3g})"
    limits = [_interval(*e.intervals[m]) for m in _USUAL]
    lift = f"{e.lift:+.4f} {_interval(*e.lift_interval)}"
    figures = [
        f"{e.overlap.effective:.0f}",
        f"{e.overlap.effective_listeners:.0f}",
        f"{e.overlap.max_weight:.3g}",
    ]
    return [shown, f"{e.value:.4f}", *limits, lift, *figures]


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
