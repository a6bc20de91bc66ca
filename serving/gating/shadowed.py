"""The shadow stage: what the challenger answered to live requests, unseen, beside what was served.

checks(events, version, since, now, settings)      # rows of the lake's `events`
"""

from __future__ import annotations

from statistics import median
from typing import Any

import orjson
import polars as pl

from recsys.schemas import EventKind
from serving.gating.record import Check, Outcome
from serving.gating.settings import ShadowStageSettings

_FACTS = ("error", "rung", "finite", "slots", "overlap", "ms", "served_ms")


def facts(events: pl.LazyFrame, version: str, since: int) -> list[dict[str, Any]]:
    """What was found of each shadow answer of a release from `since` (UTC ms) on; the Decisions stay where they are."""
    rows = (
        events.filter(
            pl.col("kind") == EventKind.SHADOW.value,
            pl.col("ts").dt.epoch("ms") >= since,
        )
        .select("event_id", "payload")
        .unique("event_id")
        .sort("event_id")
        .collect(engine="streaming")
    )
    found = [orjson.loads(payload) for payload in rows["payload"]]
    return [{name: one[name] for name in _FACTS} for one in found if one["release"] == version]


def checks(
    events: pl.LazyFrame, version: str, since: int, now: int, settings: ShadowStageSettings
) -> list[Check]:
    """Judged once enough answers are there; until then it is running, for so many days."""
    found = facts(events, version, since)
    if len(found) < settings.answers:
        said = f"{len(found)} of {settings.answers} shadow answers so far"
        if now - since > settings.days * 86_400_000:
            told = f"{said}, and {settings.days:g} days are over: do servers load the release?"
            return [Check("shadow.answers", "stopped", told, {"answers": len(found)})]
        return [Check("shadow.answers", "running", said, {"answers": len(found)})]
    failed = [one for one in found if one["error"] or one["rung"] != "full"]
    share = len(failed) / len(found)
    whole = [one for one in found if not one["error"]]
    names = sorted({one["error"] or f"rung {one['rung']}" for one in failed})[:3]
    said = f"{share:.1%} of {len(found)} shadow answers failed" + (f" ({', '.join(names)})" if names else "")
    out = [
        _check("shadow.failures", share > settings.failures, said, {"share": share, "answers": len(found)})
    ]
    if not whole:
        return out
    odd = sum(not one["finite"] or not one["slots"] for one in whole)
    out.append(
        _check("shadow.finite", odd > 0, f"{odd} have no slots, or scores that are no numbers", {"bad": odd})
    )
    a, b = (median(one[name] for one in whole) for name in ("served_ms", "ms"))
    said = f"median {b:.1f} ms of work against {a:.1f} ms; at most {settings.slower:g} times"
    out.append(_check("shadow.latency", b > settings.slower * a, said, {"champion": a, "challenger": b}))
    mean = sum(one["overlap"] for one in whole) / len(whole)
    said = f"{mean:.1%} of the first ten tracks are those that were served; at least {settings.overlap:.1%}"
    out.append(_check("shadow.overlap", mean < settings.overlap, said, {"overlap": mean}))
    return out


def _check(rule: str, bad: bool, said: str, numbers: dict[str, Any]) -> Check:
    outcome: Outcome = "stopped" if bad else "passed"
    return Check(rule, outcome, said, numbers)
