"""Learns from the event log what seen slots of the home feed led to, and publishes what it has learned.

learner = Learner(home, release)
learner.follow(log, now)        # everything that is durable in the log; published with what has settled

Model, waiting decisions and the log's offset are one file, replaced as one: a crash loses nothing and counts nothing
twice. What servers read is a copy of the model alone, published after it. A new champion has scores of its own, so
what was learned over the old one's is refused: its model is fitted anew to the last days of the lake, where the slots
that were shown then are scored by the new release.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from bandits.linear import LinearModel
from bandits.state import load_with, save
from bandits.stream import Inbox
from recsys.dataset import trainable
from recsys.errors import BadInput, RecsysError
from recsys.events import Event, to_frame
from recsys.home import Home
from recsys.ids import seed_of
from recsys.lake import Lake
from recsys.pipeline import Candidates, Truncate, apply
from recsys.ports import EventLog
from recsys.release import read_manifest
from recsys.schemas import EventKind, Surface
from recsys.types import Decision, QueryBatch
from recsys.vault import erasures
from serving.decisions import batch_of, from_payload, query_of, recorded
from serving.learning.features import DIM, features, untaught
from serving.learning.settings import HOUR_MS, LearningSettings
from serving.learning.states import States, basis
from serving.loaded import LoadedRelease
from serving.recommender import Recommender
from serving.registry import CHAMPION, Registry

logger = logging.getLogger(__name__)
_CHUNK = 20_000
_DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Learned:
    """What one look at the log brought."""

    version: str  # of the newest state
    slots: int  # whose rewards became final
    waiting: int  # decisions whose rewards are still open


class Learner:
    """The model of one home over one release.

    Args:
        release: the champion, whose scores are learned over.
    """

    def __init__(self, home: Home, release: LoadedRelease, settings: LearningSettings | None = None) -> None:
        self._home, self.release, self._settings = home, release, settings or LearningSettings()
        self.states, self._erasures = States(home), erasures(home)
        self._memory = self.states.memory
        self._known: dict[str, bool] = {}  # release version -> whether it numbers tracks alike
        self._log = ""  # identity of the log that the offset is of
        self._new = False  # nothing has been learned over this release
        self.model: LinearModel
        given = self._settings
        self._inbox = Inbox(DIM, int(given.window_hours * HOUR_MS), int(given.patience_hours * HOUR_MS))
        try:
            self.model, kept = load_with(self._memory, basis(release))
            self._inbox.restore(kept)
            self._log = kept["log"].tobytes().decode()
        except (BadInput, KeyError) as reason:
            if self._memory.exists():
                logger.warning("learning anew: %s", reason)
            self._anew()

    def _anew(self) -> None:
        """From the ranker's order; what the lake has of the last days is learned by the next `follow`."""
        given = self._settings
        self.model = LinearModel(untaught(basis(self.release), given.l2, given.half_life_days * _DAY_MS))
        self._new = True
        self.states.publish(self.model)

    def _relearn(self, now: int) -> None:
        """The last days of the lake up to `now`, each slot scored by this release."""
        self._new, lake = False, Lake(self._home.lake)
        since = int(now - self._settings.memory_days * _DAY_MS)
        self._inbox.settled_until = since  # the log may reach further back
        if not lake.has("events"):
            return
        home = (pl.col("kind") == EventKind.DECISION.value) & (pl.col("surface") == Surface.HOME.value)
        recent = trainable(lake.scan("events")).filter(
            pl.col("request_id").is_not_null(), pl.col("ts").dt.epoch("ms").is_between(since, now)
        )
        rescored = Recommender(self.release)
        for payload in recent.filter(home).sort("ts", "event_id").select("payload").collect()["payload"]:
            self._decided(from_payload(payload), rescored)
        self._inbox.events(recent.filter(pl.col("kind") != EventKind.DECISION.value).collect())

    def follow(self, log: EventLog, now: int) -> Learned:
        """Reads on in the log, learns what has settled by `now` (UTC ms), and publishes it.

        Raises:
            LogUnavailable, BadInput: the log cannot be read.
        """
        if erasures(self._home) != self._erasures:
            self._forget()
        if self._new:
            start = log.committed("lake")  # all before it is in the lake; asked before the lake is read
            self._relearn(now)
            self._log, self._inbox.offset = log.identity, start
        if self._log != log.identity:  # another log: its offsets begin anew
            self._log, self._inbox.offset = log.identity, 0
        end, at = log.end, max(self._inbox.offset, 0)
        while at < end:  # by offsets: of erased listeners nothing is given
            self._take([record.event for record in log.read(at, _CHUNK)])
            at = self._inbox.offset = min(at + _CHUNK, end)
        slots = self._settle(now)
        with self.states.alone():
            if (
                erasures(self._home) != self._erasures
            ):  # what was learned just now may be of who was erased just now
                self._forget()
                return Learned(self.states.current(), 0, 0)
            self._keep()
            return Learned(self.states.publish(self.model), slots, len(self._inbox))

    def _forget(self) -> None:
        """Somebody was erased: sums over everybody cannot be taken apart, so all is learned anew from the lake."""
        self._erasures, given = erasures(self._home), self._settings
        self._inbox = Inbox(DIM, int(given.window_hours * HOUR_MS), int(given.patience_hours * HOUR_MS))
        self._anew()

    def _keep(self) -> None:
        more = self._inbox.arrays() | {"log": np.frombuffer(self._log.encode(), np.uint8)}
        save(self._memory, self.model, more)

    def _take(self, events: Iterable[Event]) -> None:
        """Events in the order of the log."""
        heard = []
        for event in events:
            if not event.consent_personalization or event.incognito_mode or event.request_id is None:
                continue
            if event.kind != EventKind.DECISION:
                heard.append(event)
            elif event.surface == Surface.HOME and event.payload is not None:
                self._decided(from_payload(event.payload))
        if heard:
            self._inbox.events(to_frame(heard))

    def _decided(self, decision: Decision, rescored: Recommender | None = None) -> None:
        """A decision of the full rung waits for its rewards, with what was known of its slots."""
        if decision.rung != "full" or not decision.slots or not self._chosen(decision.request_id):
            return
        own, batch = self._numbered(slots_of(decision), batch_of(decision, query_of(decision)))
        placed = [slot for slot in decision.slots if slot["track"] in own.ids]
        if not placed:
            return
        if decision.release.digest != self.release.manifest.digest:
            if rescored is None or not self._same_tracks(decision.release.version):
                return
            own = scored_anew(rescored, decision, own, batch)
        x = features(batch, own, self.release)
        order = np.searchsorted(own.ids, [slot["track"] for slot in placed])
        tracks = [slot["track_id"] for slot in placed]
        self._inbox.decided(decision.user_id, decision.request_id, decision.now, tracks, x[order])

    def _numbered(self, own: Candidates, batch: QueryBatch) -> tuple[Candidates, QueryBatch]:
        """Without tracks that came into the live catalog after this release was built: it has no features of them."""
        known, plays = len(self.release.items), batch.histories
        if own.ids.max(initial=0) < known and plays.track.max(initial=0) < known:
            return own, batch
        track = np.where(plays.track < known, plays.track, -1).astype(np.int32)
        return own.where(own.ids < known), replace(batch, histories=replace(plays, track=track), memo={})

    def _same_tracks(self, version: str) -> bool:
        """Whether dense track numbers of another release mean the same tracks in this one."""
        if version not in self._known:
            try:
                theirs = read_manifest(Registry(self._home).folder(version)).files
            except RecsysError:
                theirs = {}
            ours = self.release.manifest.files
            items = {path for path in ours | theirs if path.startswith("items/")}
            self._known[version] = all(ours.get(p) == theirs.get(p) for p in items)
        return self._known[version]

    def _chosen(self, request_id: str) -> bool:
        share = self._settings.share
        return share >= 1 or seed_of(f"learn {request_id}") < share * 2.0**63

    def _settle(self, now: int) -> int:
        settled = self._inbox.settle(now)
        self.model.partial_fit(**settled.observations())
        return len(settled.rewards)


def champion(home: Home, known: LoadedRelease | None = None) -> LoadedRelease:
    """The champion in memory; `known` itself where it still is.

    Raises:
        UnknownId: nothing has been promoted. ReleaseRefused: the champion is damaged.
    """
    found = Registry(home).get(CHAMPION)
    if known is not None and found.version == known.manifest.version:
        return known
    return LoadedRelease.load(found.folder)


def slots_of(decision: Decision) -> Candidates:
    """The tracks that an answer placed, with their recorded columns; ids ascending."""
    own = recorded(decision)
    return own.where(np.isin(own.ids, [slot["track"] for slot in decision.slots]))


def scored_anew(
    recommender: Recommender, decision: Decision, own: Candidates, batch: QueryBatch
) -> Candidates:
    """The same tracks with the score columns of another release; no row's score depends on which others there are."""
    sources = {name: column for name, column in own.columns.items() if name.startswith("source:")}
    own = Candidates(own.ids, own.offsets, sources)
    [rung] = [r for r in recommender.pipeline(query_of(decision)).rungs if r.name == decision.rung]
    for stage in rung.stages:
        if not isinstance(stage, Truncate) and not hasattr(stage, "keep"):
            own = apply(stage, batch, own)
    return own
