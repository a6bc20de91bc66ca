"""Replays a logged answer: Scorer -> Selector from its record on its own release, compared slot by slot."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.parameters import overlay
from music.catalog.service import Catalog
from recsys.engines import open_log
from recsys.errors import UnknownId
from recsys.features.backfill import states_of
from recsys.home import Home
from recsys.ingest import move
from recsys.items import Items
from recsys.lake import Lake
from recsys.plays import Plays
from recsys.ports import EventLog
from recsys.schemas import OF_THE_SERVER
from recsys.types import Decision, UserState, history
from serving.decisions import read_decision
from serving.learning.states import States, Taught, basis
from serving.live.view import View
from serving.loaded import LoadedRelease
from serving.privacy.gone import Gone
from serving.recommender import Recommender
from serving.registry import Registry
from serving.settings import ServiceSettings


def replay(home: Home, request_id: str, from_log: bool = False) -> dict[str, Any]:
    """What a replay found: {"request_id", "same", "slots", "differences", "release", ...}.

    Raises:
        UnknownId: no such decision, or its release is gone.
        Erased: its listener was erased.
    """
    lake, log = Lake(home.lake), open_log(home)
    try:
        move(log, lake)
        Gone(home).check(request_id)
        decision = read_decision(lake, request_id)
        recommender = as_of(home, LoadedRelease.load(_folder(home, decision)), decision)
        items = recommender.release.items
        window = rebuilt_window(lake, log, decision, items) if from_log else None
    finally:
        log.close()
    return compare(recommender, decision, window)


def as_of(home: Home, release: LoadedRelease, decision: Decision) -> Recommender:
    """A release with the catalog's changes up to the revision, and the settings, that a decision was taken under."""
    settings = overlay(ServiceSettings(), decision.parameters)
    taught = state_then(home, release, decision)
    if "catalog" not in decision.versions:
        return Recommender(release, settings).after(taught)
    catalog = Catalog.open(home.catalog_url)
    try:
        then = catalog.snapshot(int(decision.versions["catalog"]))
    finally:
        catalog.close()
    return Recommender(View.of(release, then, closed_by=0).release, settings).after(taught)


def state_then(home: Home, release: LoadedRelease, decision: Decision) -> Taught | None:
    """What the policy of a decision had learned.

    Raises:
        BadInput: the state is gone or damaged.
    """
    version = decision.versions.get("bandit")
    return States(home).load(version, basis(release)) if version else None


def compare(recommender: Recommender, decision: Decision, window: Plays | None = None) -> dict[str, Any]:
    """Replays one decision on a loaded release and compares ids, order, scores and propensities exactly."""
    slate = recommender.replay(decision, window).slates[0]
    was = [(s["track"], s["shelf"], s["position"], s["score"], s["propensity"]) for s in decision.slots]
    now = [(i.track, i.shelf, i.position, i.score, i.propensity) for i in slate.items]
    differences = [{"was": a, "now": b} for a, b in zip_longest(was, now) if a != b]
    return {
        "request_id": decision.request_id,
        "same": was == now,
        "slots": len(was),
        "from_log": window is not None,
        "release": decision.release.version,
        "rung": decision.rung,
        "policy": decision.policy,
        "differences": differences[:10],
    }


def rebuilt_window(lake: Lake, log: EventLog, decision: Decision, items: Items) -> Plays:
    """The listener's window at the decision's log offset, built again from the lake's events.

    Events of this listener that entered the log after that offset were not known to the answer, and stay out.
    """
    known_until = int(decision.versions["state"])
    later = [r.event.event_id for r in log.read(known_until + 1) if r.event.user_id == decision.user_id]
    events = lake.scan("events").filter(
        pl.col("user_id") == decision.user_id,
        ~pl.col("kind").is_in([kind.value for kind in OF_THE_SERVER]),
        ~pl.col("incognito_mode").fill_null(False),
        ~pl.col("event_id").is_in(later),
    )
    user = next(states_of(events), UserState(decision.user_id))
    return history(user, items).before(np.array([decision.now]))


def _folder(home: Home, decision: Decision) -> Path:
    for release in Registry(home).list():
        if release.version == decision.release.version:
            return release.folder
    raise UnknownId(f"release {decision.release.version} of this decision is gone: it cannot be replayed")
