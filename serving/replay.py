"""Replays a logged answer: Scorer -> Selector from its record on its own release, compared slot by slot."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.errors import UnknownId
from recsys.eventlog import LocalEventLog
from recsys.features.state import backfill
from recsys.home import Home
from recsys.ingest import move
from recsys.lake import Lake
from recsys.types import Decision, UserState, history
from serving import decisions
from serving.loaded import LoadedRelease
from serving.recommender import Recommender
from serving.registry import Registry
from serving.service import read_decision


def replay(home: Home, request_id: str, from_log: bool = False) -> dict[str, Any]:
    """What a replay found: {"request_id", "same", "slots", "differences", "release", ...}.

    Raises:
        UnknownId: no such decision, or its release is gone.
    """
    lake, log = Lake(home.lake), LocalEventLog(home.log)
    try:
        move(log, lake)
        decision = read_decision(lake, request_id)
    finally:
        log.close()
    recommender = Recommender(LoadedRelease.load(_folder(home, decision)))
    report = compare(recommender, decision)
    if from_log:
        report["state_same"] = _state_same(lake, decision, recommender)
        report["same"] = report["same"] and report["state_same"]
    return report


def compare(recommender: Recommender, decision: Decision) -> dict[str, Any]:
    """Replays one decision on a loaded release and compares ids, order, scores and propensities exactly."""
    slate = recommender.replay(decision).slates[0]
    was = [(s["track"], s["shelf"], s["position"], s["score"], s["propensity"]) for s in decision.slots]
    now = [(i.track, i.shelf, i.position, i.score, i.propensity) for i in slate.items]
    differences = [{"was": a, "now": b} for a, b in zip(was, now, strict=False) if a != b]
    return {
        "request_id": decision.request_id,
        "same": was == now,
        "slots": len(was),
        "release": decision.release.version,
        "rung": decision.rung,
        "policy": decision.policy,
        "differences": differences[:10],
    }


def _folder(home: Home, decision: Decision) -> Any:
    for release in Registry(home).list():
        if release.version == decision.release.version:
            return release.folder
    raise UnknownId(f"release {decision.release.version} of this decision is gone: it cannot be replayed")


def _state_same(lake: Lake, decision: Decision, recommender: Recommender) -> bool:
    """Whether the state rebuilt from the log, up to the decision's time, is the window that was recorded."""
    states = list(backfill(lake, [decision.user_id]))
    user = states[0] if states else UserState(decision.user_id)
    rebuilt = history(user, recommender.release.items).before(decision.now)
    recorded = decisions.unpack_window(decision.listener)
    return rebuilt.rows >= recorded.rows and bool(
        np.array_equal(rebuilt.last(recorded.rows).start, recorded.start)
        and np.array_equal(rebuilt.last(recorded.rows).track, recorded.track)
    )
