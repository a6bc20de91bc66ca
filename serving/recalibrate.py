"""A release whose probabilities are fitted to its own randomised slots: what the champion served, and what came of it.

version, found = recalibrate(home)      # registered, not promoted
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ranking.calibration import expected_calibration_error
from ranking.config import OUTCOMES
from ranking.recalibrate import Slots, recalibrated
from ranking.shown import REWARD_COLUMN
from recsys.dataset import trainable
from recsys.errors import NotReady
from recsys.features.registers import in_taste
from recsys.home import Home
from recsys.lake import Lake
from recsys.rewards import attribute
from recsys.schemas import EventKind
from recsys.types import Decision
from serving.decisions import from_payload
from serving.loaded import LoadedRelease
from serving.registry import CHAMPION, Registry, derived

LEAST_SLOTS = 300
"""Played random slots that a surface needs: three numbers fitted to fewer say little."""
_SAID = {"user_id": pl.String(), "request_id": pl.String(), "track_id": pl.String(), "surface": pl.String()}


def recalibrate(home: Home) -> tuple[str, list[dict[str, Any]]]:
    """Registers the champion with calibrators fitted on the random slots that it served.

    Returns:
        The new version, and one row a surface and outcome: surface, objective, slots, ece_before, ece_after (on the
        slots that it was fitted on).

    Raises:
        NotReady: no surface has enough played random slots yet.
    """
    champion = Registry(home).get(CHAMPION)
    release = LoadedRelease.load(champion.folder)
    slots = served_slots(Lake(home.lake), release.manifest.digest)
    enough = {surface: own for surface, own in slots.items() if len(own) >= LEAST_SLOTS}
    if not enough:
        most = max(map(len, slots.values()), default=0)
        raise NotReady(
            f"{most} played random slots of this release in the lake, {LEAST_SLOTS} are needed: serve longer, "
            "or explore more"
        )
    ranker = recalibrated(release.ranker, enough)

    def change(target: Path) -> None:
        ranker.save(target / "ranking")
        if release.reference is not None:  # probabilities are new, features are not
            release.reference.without_scores().save(target)

    old = release.manifest
    config = {
        **old.config,
        "recalibrated": {"from": old.version, **{s: len(own) for s, own in enough.items()}},
    }
    made = derived(home, champion, change, config=config)
    rows = []
    for surface, own in enough.items():
        for o in OUTCOMES:
            raw = release.ranker.calibrator(o, surface).inverse(own.p[o])
            before = expected_calibration_error(own.p[o], own.label[o])
            after = expected_calibration_error(ranker.calibrator(o, surface)(raw), own.label[o])
            rows.append(
                {
                    "surface": surface,
                    "objective": o,
                    "slots": len(own),
                    "ece_before": before,
                    "ece_after": after,
                }
            )
    return made.version, rows


def served_slots(lake: Lake, digest: str) -> dict[str, Slots]:
    """By surface, the slots that a release (by digest) drew at random and that were played."""
    events = trainable(in_taste(lake.scan("events")))
    said = pl.DataFrame(
        list(_explored(events, digest)), schema={**_SAID, **{f"p_{o}": pl.Float64() for o in OUTCOMES}}
    )
    rows = (
        attribute(events)
        .filter(pl.col("played"))
        .select("user_id", "request_id", "track_id", *REWARD_COLUMN.values())
    )
    joined = said.join(rows, on=["user_id", "request_id", "track_id"])
    return {
        str(surface): Slots(
            {o: own[f"p_{o}"].to_numpy() for o in OUTCOMES},
            {o: own[REWARD_COLUMN[o]].to_numpy().astype(np.int8) for o in OUTCOMES},
        )
        for (surface,), own in joined.group_by("surface", maintain_order=True)
    }


def _explored(events: pl.LazyFrame, digest: str) -> Iterator[dict[str, Any]]:
    """Slots that exploration drew, with what the ranker said of each; a day of decisions in memory at a time."""
    decided = events.filter(pl.col("kind") == EventKind.DECISION.value)
    for day in decided.select(pl.col("day").unique().sort()).collect()["day"]:
        for payload in decided.filter(pl.col("day") == day).select("payload").collect()["payload"]:
            decision = from_payload(payload)
            if decision.release.digest == digest and "p_finish" in decision.scores:
                yield from _random_slots(decision)


def _random_slots(decision: Decision) -> Iterator[dict[str, Any]]:
    """A slot whose track had less than an even chance was not the greedy choice."""
    place = {track: i for i, track in enumerate(decision.eligible)}
    for slot in decision.slots:
        if slot["propensity"] < 0.5 and slot["track"] in place:
            at = place[slot["track"]]
            yield {
                "user_id": decision.user_id,
                "request_id": decision.request_id,
                "track_id": slot["track_id"],
                "surface": decision.surface,
                **{f"p_{o}": float(decision.scores[f"p_{o}"][at]) for o in OUTCOMES},
            }
