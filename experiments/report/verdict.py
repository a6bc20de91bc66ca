"""From what is shown of each metric to what to do: ship, do not ship, keep running, or do not read.

A treatment ships when its primary metric is shown to be better (or no worse, where that is the question) and every
guardrail is shown to be within its margin, and nothing else is wrong (the decision rule of Schultzberg, Ankargren &
Frånberg, "Risk-aware product decisions in A/B tests with multiple metrics", 2024). Every guardrail must pass, so
their number needs no correction; a treatment that breaches one stops at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from experiments.question import Question
from experiments.report.record import Decision, MetricRow, SampleRatio, Verdict
from experiments.report.schedule import Schedule
from experiments.report.words import change, listed

FINAL = ("ship", "do_not_ship", "broken")
"""Decisions that leave nothing to wait for: shown, refused, breached, or not to be read at all."""


def final(verdict: Verdict) -> bool:
    """Whether nothing is left to wait for."""
    return verdict.decision in FINAL


@dataclass(frozen=True)
class _Arm:
    name: str
    decision: Decision
    reasons: tuple[str, ...]
    why: str
    breached: bool = False


def decide(
    question: Question,
    rows: Sequence[MetricRow],
    treatments: Sequence[str],
    ratio: SampleRatio,
    schedule: Schedule,
    now: datetime,
) -> Verdict:
    """The verdict over all treatments."""
    if ratio.mismatch:
        return Verdict("broken", ratio.sentence, reasons=(f"Sample-ratio alarm on {ratio.first}.",))
    over = schedule.state(now) in ("ended", "stopped")
    arms = [_arm(question, [r for r in rows if r.arm == name], name, over) for name in treatments]
    look = schedule.next_look(now)
    following = None if over or look is None else look.isoformat()
    reasons = tuple(reason for arm in arms for reason in arm.reasons)
    ship = [arm for arm in arms if arm.decision == "ship"]
    if ship:
        best = max(ship, key=lambda arm: _gain(rows, question.primary, arm.name))
        return Verdict("ship", f"Ship {best.name}: {best.why}.", best.name, reasons)
    if all(arm.decision == "do_not_ship" for arm in arms):
        what = "; ".join(f"{arm.name}: {arm.why}" if len(arms) > 1 else arm.why for arm in arms)
        early = " Stop it now." if not over and any(arm.breached for arm in arms) else ""
        return Verdict("do_not_ship", f"Do not ship: {what}.{early}", None, reasons)
    running = next(arm for arm in arms if arm.decision != "do_not_ship")
    when = f" The next look is after {following}." if following else ""
    return Verdict("keep_running", f"Keep it running: {running.why}.{when}", None, reasons, following)


def _arm(question: Question, rows: Sequence[MetricRow], name: str, over: bool) -> _Arm:
    primary = next((r for r in rows if r.role == "primary"), None)
    guards = [r for r in rows if r.role == "guardrail"]
    reasons = tuple(r.sentence for r in ([primary] if primary else []) + guards)
    missing = [g.metric for g in question.guardrails if g.metric not in {r.metric for r in guards}]
    breached = [r for r in guards if r.standing == "breached"]
    if breached:
        what = listed([f"{r.metric} ({change(r.effect, r.estimate, r.low, r.high)})" for r in breached])
        return _Arm(name, "do_not_ship", reasons, f"its guardrail {what} is breached", breached=True)
    if primary is None:
        decision: Decision = "do_not_ship" if over else "keep_running"
        return _Arm(name, decision, reasons, f"{question.primary} cannot be told yet")
    shown = f"{primary.metric} {change(primary.effect, primary.estimate, primary.low, primary.high)}"
    good = primary.standing in ("better", "no_worse")
    unsafe = [r.metric for r in guards if r.standing != "no_worse"] + missing
    if good and not unsafe:
        how = "is shown to be better" if primary.standing == "better" else "is shown to be no worse"
        safe = ", and every guardrail is within its margin" if guards else ""
        return _Arm(name, "ship", reasons, f"{shown} {how}{safe}")
    if primary.standing == "worse":
        return _Arm(name, "do_not_ship", reasons, f"{shown} is shown to be worse")
    if primary.standing == "no_difference":
        what = "no difference is shown" if primary.margin is None else "it is not shown to be no worse"
        what = "it ended before anything could be read" if primary.p is None else what
        return _Arm(name, "do_not_ship", reasons, f"{shown}: {what}")
    if good:
        how = "better" if primary.standing == "better" else "no worse"
        held = f"{listed(unsafe)} {'is' if len(unsafe) == 1 else 'are'} not {'' if over else 'yet '}shown"
        why = f"{shown} is shown to be {how}, but {held} to be within {'its' if len(unsafe) == 1 else 'their'} margin"
        return _Arm(name, "do_not_ship" if over else "keep_running", reasons, why)
    return _Arm(name, "keep_running", reasons, f"{primary.metric} is open")


def _gain(rows: Sequence[MetricRow], metric: str, arm: str) -> float:
    row = next(r for r in rows if (r.metric, r.arm) == (metric, arm))
    return row.estimate if row.effect.direction == "increase" else -row.estimate
