"""Where a killed loop goes on: everything as it was on the morning of a day, so that it ends as if nothing had been.

save(folder, live, home); resume(folder, live, home)     # True where there was something to resume
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from deltalake import DeltaTable

from recsys.home import Home
from recsys.lake import Lake
from recsys.simulation.live.figures import DayFigures, Ledger
from recsys.simulation.live.ports import Policy
from recsys.simulation.live.values import Values
from recsys.simulation.live.world import LiveWorld
from serving.loop.place import copy_database

_LEARNED = "bandits"
_DATABASES = ("state.sqlite", "mlflow.sqlite", "features/online.sqlite")


@dataclass
class Living:
    """A run of the loop in memory."""

    world: LiveWorld
    policy: Policy
    ledger: Ledger
    figures: list[DayFigures] = field(default_factory=list)
    values: list[Values] = field(default_factory=list)
    promoted: list[dict[str, Any]] = field(default_factory=list)  # day and version
    explored: list[dict[str, Any]] = field(default_factory=list)  # by day, where a policy learns


def save(folder: Path, living: Living, home: Home | None) -> None:
    """Keeps the morning of `living.world.day`; the one before is dropped once this one is whole."""
    name = f"day-{living.world.day}"
    here = folder / f"{name}.partial"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    living.world.save(here / "world.npz")
    np.savez(here / "policy.npz", allow_pickle=False, **living.policy.state())
    ledger = living.ledger
    np.savez(
        here / "ledger.npz",
        exposed=ledger.exposed,
        opened=ledger.opened,
        active=np.array(ledger.active, bool),
    )
    for i, values in enumerate(living.values):
        np.savez(here / f"values-{i}.npz", **vars(values))
    body: dict[str, Any] = {"figures": [asdict(f) for f in living.figures], "promoted": living.promoted}
    body["explored"] = living.explored
    if home is not None:
        body["home"] = _keep_home(here, home)
    (here / "days.json").write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    shutil.rmtree(folder / name, ignore_errors=True)
    here.rename(folder / name)
    (folder / "current.tmp").write_text(name)
    (folder / "current.tmp").rename(folder / "current")
    for old in folder.glob("day-*"):
        if old.name != name:
            shutil.rmtree(old)


def resume(folder: Path, living: Living, home: Home | None) -> bool:
    """Brings `living` and the home back to the last morning that was kept."""
    if not (folder / "current").exists():
        return False
    here = folder / (folder / "current").read_text()
    body = orjson.loads((here / "days.json").read_bytes())
    old = living.world
    living.world = LiveWorld.load(old.profile, old.catalog, here / "world.npz")
    with np.load(here / "policy.npz") as stored:
        living.policy.restore(dict(stored))
    with np.load(here / "ledger.npz") as stored:
        living.ledger = Ledger(stored["exposed"], stored["opened"], list(stored["active"]))
    nan: Any = float("nan")  # JSON has none: null
    living.figures = [
        DayFigures(**{k: nan if v is None else v for k, v in each.items()}) for each in body["figures"]
    ]
    living.values = []
    for i in range(len(living.figures)):
        if (here / f"values-{i}.npz").exists():
            with np.load(here / f"values-{i}.npz") as stored:
                living.values.append(Values(**stored))
    living.promoted = body["promoted"]
    living.explored = body.get("explored", [])
    if home is not None:
        _restore_home(here, home, body["home"])
    return True


def _keep_home(here: Path, home: Home) -> dict[str, Any]:
    """The log is empty on a morning: all of it is in the lake (serving.loop.run.evening)."""
    for name in _DATABASES:
        if (home.root / name).exists():
            copy_database(home.root / name, here / name)
    if (home.root / _LEARNED).exists():
        shutil.copytree(home.root / _LEARNED, here / _LEARNED)
    return {
        "lake": Lake(home.lake).versions(),
        "releases": sorted(p.name for p in home.releases.iterdir()),
        "stamp": (home.releases / ".aliases").read_text(),
    }


def _restore_home(here: Path, home: Home, kept: dict[str, Any]) -> None:
    shutil.rmtree(home.log, ignore_errors=True)
    for name in _DATABASES:
        for more in ("-wal", "-shm"):
            (home.root / (name + more)).unlink(missing_ok=True)
        if (here / name).exists():
            copy_database(here / name, home.root / name)
    shutil.rmtree(home.root / _LEARNED, ignore_errors=True)
    if (here / _LEARNED).exists():
        shutil.copytree(here / _LEARNED, home.root / _LEARNED)
    for table, version in kept["lake"].items():
        delta = DeltaTable(f"{home.lake}/{table}")
        if delta.version() != version:
            delta.restore(version)
    for path in home.releases.iterdir():
        if path.name not in kept["releases"] and path.is_dir():
            shutil.rmtree(path)
    (home.releases / ".aliases").write_text(kept["stamp"])
