"""The releases that may have learned from an erased listener: marked, expiring, swept once they have expired."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from music.privacy.model import Case, Request
from music.privacy.service import Facts
from recsys.errors import RecsysError
from recsys.home import Home
from recsys.lake import Lake
from recsys.marks import DAY_MS, Mark, Marks
from recsys.release import read_manifest
from serving.learning.states import States
from serving.privacy.settings import PrivacySettings
from serving.privacy.steps import learned_from
from serving.registry import CHAMPION, Registry

_BANDIT = "bandit:"


@dataclass(frozen=True)
class Releases:
    """Marks every release, and every learned state, from before the rows were gone."""

    home: Home
    settings: PrivacySettings
    name: str = "releases"

    def __call__(self, case: Case) -> Facts:
        if not learned_from(case.request):
            return {"marked": []}
        expires = case.request.requested_at + int(self.settings.expiry_days * DAY_MS)
        mark = Mark(
            "a listener it learned from was erased", case.request.requested_at, expires, case.request.id
        )
        floor = {"events": _cleaned(case.request, Lake(self.home.lake))}
        marks = Marks(self.home.releases)
        marks.raise_floor(floor, mark)  # first: a training that ends from case.now on is judged by it
        marked = [v for v, events in _built(self.home).items() if events < floor["events"]]
        states = [_BANDIT + path.stem for path in States(self.home).folder.glob("*.npz")]
        marks.add([*marked, *states], mark)
        return {"marked": marked, "learned_states": len(states), "expires": expires}


def _cleaned(request: Request, lake: Lake) -> int:
    """The first version of the events without them."""
    done = next((step.facts for step in request.steps if step.name == "lake"), {})
    return int(done["events"]["version"]) if "events" in done else lake.version("events")


def _built(home: Home) -> dict[str, int]:
    """Version of the events that each release was made from."""
    found = {}
    for folder in sorted(home.releases.glob("v*")):
        try:
            manifest = read_manifest(folder)
        except (
            RecsysError
        ):  # a release that is being written has none yet, and is judged when it is registered
            continue
        found[manifest.version] = manifest.data.get("events", -1)
    return found


def sweep(home: Home, now: int) -> list[str]:
    """Removes the files of releases and learned states that have expired; their names. A champion stays.

    Answers that they gave can be replayed until then.
    """
    serving = {r.version for r in Registry(home).list() if CHAMPION in r.aliases}
    gone = []
    for version, mark in Marks(home.releases).all().items():
        if not mark.expired(now) or version in serving:
            continue
        if version.startswith(_BANDIT):
            path = States(home).path(version.removeprefix(_BANDIT))
            there = path.exists()
            path.unlink(missing_ok=True)
        else:
            folder = Registry(home).folder(version)
            there = folder.exists()
            shutil.rmtree(folder, ignore_errors=True)
        gone += [version] if there else []
    return gone
