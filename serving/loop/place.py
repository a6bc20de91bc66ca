"""A home of its own for one run of the loop: the source's world, models and logs, cut at the morning it starts.

home = made(source, folder, world_start)     # nothing of the source changes

What never changes is linked (releases, models); what is written to is copied; the events of later days are left out,
because in this run those days have not happened yet, and listener states are built from what is left.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import polars as pl

from recsys.engines import open_store
from recsys.errors import BadInput, NotReady
from recsys.home import Home
from recsys.lake import Lake
from recsys.release import read_manifest
from recsys.simulation.catalog import COUNTRIES
from recsys.simulation.profiles import Profile
from recsys.simulation.sessions import DAY_STARTS, MS_PER_DAY
from recsys.simulation.shard import epoch_day
from recsys.state_store import refresh_states
from serving.registry import CHAMPION, Registry

_LINKED = ("releases", "work", "world")
_COPIED = ("features",)


def profile_of(home: Home) -> Profile:
    """The world of a simulated home.

    Raises:
        NotReady: it was not simulated.
    """
    path = home.world / "profile.json"
    if not path.exists():
        raise NotReady(f"no simulated world under {home.root}: run `recsys demo` first")
    return Profile.model_validate_json(path.read_text())


def start_day(home: Home, profile: Profile) -> int:
    """The first simulated day of which the champion has seen nothing.

    Raises:
        UnknownId: no release has been promoted.
        BadInput: the champion knows days that the world does not have.
    """
    until = read_manifest(Registry(home).get(CHAMPION).folder).until
    day = -(-until // MS_PER_DAY) - epoch_day(profile)
    if not 0 < day <= profile.days:
        raise BadInput(
            f"the champion of {home.root} was not trained on this world: build one with `recsys index`"
        )
    return day


def made(source: Home, folder: Path, day: int, profile: Profile) -> Home:
    """The run's own home; made once, whole or not at all."""
    home = Home.of(folder)
    if folder.exists():
        return home
    partial = Home.of(folder.with_name(folder.name + ".partial"))
    shutil.rmtree(partial.root, ignore_errors=True)
    partial.root.mkdir(parents=True)
    for name in _LINKED:
        if (source.root / name).exists():
            shutil.copytree(source.root / name, partial.root / name, copy_function=_link)
    for name in _COPIED:
        if (source.root / name).exists():
            shutil.copytree(source.root / name, partial.root / name)
    for name in ("catalog.sqlite", "mlflow.sqlite"):
        copy_database(source.root / name, partial.root / name)
    shutil.copytree(source.lake, partial.lake, ignore=lambda _at, names: set(names) & {"events", "loop_days"})
    Lake(partial.lake).append("events", before(Lake(source.lake), day, profile))
    partial.make()
    store = open_store(partial)
    refresh_states(Lake(partial.lake), store)
    store.close()
    partial.root.rename(folder)
    return home


def before(lake: Lake, day: int, profile: Profile) -> pl.DataFrame:
    """Events of the sessions that began before the morning of a simulated day, and none that nobody simulated."""
    morning = (epoch_day(profile) + day) * MS_PER_DAY + DAY_STARTS * 3_600_000
    ahead = {code: int(hours * 3_600_000) for code, (_, hours, _) in COUNTRIES.items()}
    local = pl.col("ts").dt.epoch("ms").min().over("session_id") + pl.col("conn_country").replace_strict(
        ahead, default=0, return_dtype=pl.Int64
    )
    return lake.scan("events").filter(pl.col("session_id").is_not_null(), local < morning).collect()


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of a SQLite file, whoever has it open."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


def _link(source: str, target: str) -> None:
    if Path(source).name.startswith("."):  # the stamp of aliases is written in place
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
