"""The steps of an erasure, in order; each removes a listener from one place, can be repeated, and says what it found.

Order matters. The key goes first: from then on nothing of theirs enters the log or leaves it. Then what is there is
counted, and every process has time to let go of the key; only then is the rest deleted, since nobody can write it anew.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import polars as pl

from music.privacy.model import Case, Request
from music.privacy.service import Facts
from recsys.engines import open_log, open_store
from recsys.errors import BadInput
from recsys.eventlog import LocalEventLog
from recsys.eventlog.rewrite import seal_old
from recsys.features.erase import erase_features
from recsys.files import write_whole
from recsys.home import Home
from recsys.ingest import move, position
from recsys.lake import Lake
from recsys.lake_erase import count_rows, erase_rows
from recsys.schemas import EventKind
from recsys.vault import STALE_SECONDS, Vault
from serving.learning.states import States
from serving.privacy.gone import Gone
from serving.privacy.residue import residue


@dataclass(frozen=True)
class Look:
    """Counts what there is, before anything is gone, and notes which decisions will be."""

    home: Home
    name: str = "look"

    def __call__(self, case: Case) -> Facts:
        lake, log = Lake(self.home.lake), open_log(self.home)
        try:
            if lake.has("events"):
                move(log, lake)
            end = log.end
        finally:
            log.close()
        rows = count_rows(lake, case.user_id)
        return {"rows": rows, "decisions": _note_decisions(self.home, lake, case.user_id), "log_end": end}


def _note_decisions(home: Home, lake: Lake, user_id: str) -> int:
    if not lake.has("events"):
        return 0
    decided = lake.scan("events").filter(
        pl.col("user_id") == user_id, pl.col("kind") == EventKind.DECISION.value
    )
    ids = decided.select("event_id").collect()["event_id"].to_list()
    Gone(home).add(ids)
    return len(ids)


@dataclass(frozen=True)
class Key:
    """Destroys the key: whatever the log holds of them, here, on brokers and in backups, is unreadable from now on."""

    home: Home
    vault: Vault
    name: str = "key"

    def __call__(self, case: Case) -> Facts:
        log = open_log(self.home)
        try:  # decisions that no lake has yet
            kinds = set(EventKind) - {EventKind.DECISION}
            late = log.read(position(log, Lake(self.home.lake)), skip=kinds)
            decisions = [r.event.event_id for r in late if r.event.user_id == case.user_id]
        finally:
            log.close()
        Gone(self.home).add(decisions)
        self.vault.destroy(case.user_id, case.now)
        return {"destroyed_at": case.now, "decisions": len(decisions)}


@dataclass(frozen=True)
class Log:
    """Seals what the log held from before there were keys, and moves what came meanwhile past the lake.

    After the pause no process uses the key any more; a mover that had read before then loses its race for the
    lake's cursor against this one, and reads again.
    """

    home: Home
    vault: Vault
    name: str = "log"

    def __call__(self, case: Case) -> Facts:
        time.sleep(3 * STALE_SECONDS)
        log, lake = open_log(self.home), Lake(self.home.lake)
        try:
            sealed = seal_old(log, self.vault) if isinstance(log, LocalEventLog) else 0
            if lake.has("events"):
                move(log, lake)
            return {"sealed": sealed, "left_in_clear": log.in_clear(case.user_id) if log.end else 0}
        finally:
            log.close()


@dataclass(frozen=True)
class Online:
    """State, tail, kept lists and claims in the online store."""

    home: Home
    name: str = "states"

    def __call__(self, case: Case) -> Facts:
        store = open_store(self.home)
        try:
            return {"keys": store.erase(case.user_id)}
        finally:
            store.close()


@dataclass(frozen=True)
class Learned:
    """What was learned between releases: sums over everybody, from which nobody can be taken out."""

    home: Home
    name: str = "learned"

    def __call__(self, case: Case) -> Facts:
        states = States(self.home)
        if not learned_from(case.request) or not states.folder.exists():
            return {"versions_left_for_replay": []}
        return {"versions_left_for_replay": states.forget()}


@dataclass(frozen=True)
class Rows:
    """Every lake table, with its older versions and their log."""

    home: Home
    name: str = "lake"

    def __call__(self, case: Case) -> Facts:
        return {table: asdict(done) for table, done in erase_rows(Lake(self.home.lake), case.user_id).items()}


@dataclass(frozen=True)
class Features:
    """Feast's export and its online store."""

    home: Home
    name: str = "features"

    def __call__(self, case: Case) -> Facts:
        return dict(erase_features(self.home, case.user_id))


@dataclass(frozen=True)
class Trained:
    """Outputs and checkpoints of stages, of running ones too: the next `recsys index` makes all anew from scratch."""

    home: Home
    name: str = "trained"

    def __call__(self, case: Case) -> Facts:
        if not learned_from(case.request):
            return {"removed": []}
        gone = sorted(path for path in self.home.work.glob("*") if path.stem != "world")
        for path in gone:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        _repinned(self.home)
        return {"removed": [path.name for path in gone]}


def _repinned(home: Home) -> None:
    """A simulated world's stage names the versions that hold it: those that can be read from now on."""
    path = home.work / "world.json"
    if not path.exists():
        return
    body: dict[str, Any] = orjson.loads(path.read_bytes())
    versions = body["result"].get("versions", {})
    body["result"]["versions"] = versions | {t: Lake(home.lake).version(t) for t in versions}
    write_whole(path, orjson.dumps(body, option=orjson.OPT_INDENT_2))


@dataclass(frozen=True)
class Again:
    """The online store and the lake once more: an answer that was on its way may have kept a list, or a row."""

    home: Home
    name: str = "again"

    def __call__(self, case: Case) -> Facts:
        rows = {table: done.rows for table, done in erase_rows(Lake(self.home.lake), case.user_id).items()}
        return {**Online(self.home)(case), "rows": rows}


@dataclass(frozen=True)
class Scan:
    """Reads every byte under the home for the id. Reports that hold it are removed; what else does is told.

    Raises:
        BadInput: a place that is ours to clean holds it still; the request stays open.
    """

    home: Home
    name: str = "scan"

    def __call__(self, case: Case) -> Facts:
        found = residue(self.home.root, [case.user_id], skip=[self.home.privacy])
        reports = [path for path in found if path.startswith("reports/")]
        for path in reports:
            (self.home.root / path).unlink()
        left = [path for path in found if path not in reports]
        ours = [path for path in left if path.partition("/")[0] not in _OTHERS]
        if ours:
            raise BadInput(
                f"{ours[0]} still holds the listener: run `recsys privacy resume`, or see docs/privacy.md"
            )
        return {"reports": reports, "by_hand": left}


_OTHERS = ("experiments", "loops", "log", "gate", "engines.json")
"""Places that people write (experiments), homes of their own (loops), and a log whose clear records are told above."""


def learned_from(request: Request) -> bool:
    """Whether the lake had rows of the listener that a training can have read."""
    looks = [step.facts for step in request.steps if step.name == "look"]
    return any(look["rows"].get("events", 0) for look in looks)
