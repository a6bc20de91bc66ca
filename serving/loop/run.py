"""Runs of the loop: one policy, some days, one folder that holds everything it wrote.

run(home, "frozen", LoopSettings(days=14), folder)

serve -> react -> log, day by day; in the evening the log moves to the lake, the models that the policy names are
trained again and promoted, and the morning is kept, so that a run that is killed goes on and ends the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from recsys.engine_urls import EngineUrls
from recsys.errors import BadInput
from recsys.home import Home
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import Ledger, LiveSettings, LiveWorld, Random
from recsys.simulation.live.figures import retention
from recsys.simulation.live.ports import Policy
from recsys.simulation.live.run import Clock, live_day
from recsys.simulation.profiles import Profile
from serving.learning.learner import Learner
from serving.loop.checkpoint import Living, resume, save
from serving.loop.explored import summary
from serving.loop.place import made, profile_of, start_day
from serving.loop.policies import SETTINGS, Served, Simple, known
from serving.loop.retrain import Retrain, retrain
from serving.loop.service_policy import ServicePolicy
from serving.recipe import RecipeConfig
from serving.service import Service

Progress = Callable[[int, int], None]
WHOLE_DAY = 1440


class LoopSettings(BaseModel):
    """What all policies of a comparison share; each policy's days are the same listeners' with the same luck."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int = Field(14, ge=1, le=365)
    seed: int = Field(0, ge=0, description="luck of the listeners; the world itself stays that of the home")
    listeners: int | None = Field(None, ge=1, description="the first so many of them; None: all")
    retrain_every: int = Field(1, ge=1, description="days between two trainings, for policies that train")
    profile: str = Field("demo", description="settings of what is trained: tiny, demo or large")
    live: LiveSettings = LiveSettings()


def run(
    source: Home, name: str, settings: LoopSettings, folder: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """One policy's days; what was lived before in this folder is not lived again.

    Returns:
        The body of the folder's `report.json`.

    Raises:
        NotReady, UnknownId: the home has no simulated world or no promoted release.
        BadInput: no such policy; the folder holds a run with other settings; the home's engines are not embedded.
    """
    policy = known(name)
    if source.engines != EngineUrls():
        raise BadInput("the loop copies a home, which only embedded engines allow: unset RECSYS_LOG, RECSYS_STATE "
                       "and RECSYS_CATALOG, and remove the home's engines.json")  # fmt: skip
    profile = profile_of(source)
    day = start_day(source, profile)
    _same_settings(folder, {"policy": name, "start": day, "settings": settings.model_dump(mode="json")})
    living = _begun(source, profile, day, policy, settings)
    if isinstance(policy, Served):
        home = made(source, folder / "home", day, profile)
        _served(home, policy, living, settings, folder, day, progress)
    else:
        resume(folder / "checkpoint", living, None)
        while living.world.day < day + settings.days:
            _one_day(living, settings.live.model_copy(update={"tick_minutes": WHOLE_DAY}))
            save(folder / "checkpoint", living, None)
            _tell(progress, living, day, settings)
    return _reported(folder, name, settings, living, day)


def _begun(
    source: Home, profile: Profile, day: int, policy: Simple | Served, settings: LoopSettings
) -> Living:
    """The morning of the first day; a policy without a service has watched the logs until then."""
    catalog = Catalog.load(source.world / "catalog.npz")
    if isinstance(policy, Served):
        simple: Policy = Random(catalog)  # until a service is opened, day by day
    else:
        simple = policy(catalog, profile.listeners, settings.live.slots)
    world = LiveWorld.at(profile, catalog, day, watch=simple.learn)
    world.luck = settings.seed
    if settings.listeners is not None:
        world = world.only(settings.listeners)
    return Living(world, simple, Ledger.of(world))


def _served(
    home: Home,
    policy: Served,
    living: Living,
    settings: LoopSettings,
    folder: Path,
    start: int,
    progress: Progress | None,
) -> None:
    checkpoint = folder / "checkpoint"
    if not resume(checkpoint, living, home):
        save(checkpoint, living, home)
    while living.world.day < start + settings.days:
        with Service.open(home, SETTINGS, policy.experiments, background=False) as service:
            slots = settings.live.slots
            learner = None if policy.learning is None else Learner(home, service.release(), policy.learning)
            service.learned.follow()
            served = ServicePolicy(service, living.world.track_ids, max(slots, 10), slots, learner)
            living.policy = served
            _one_day(living, settings.live)
            if learner is not None:
                living.explored.append(summary(served.explored))
        shutil.rmtree(home.log)  # closing has moved all of it to the lake
        _train(home, policy, living, settings, start)
        save(checkpoint, living, home)
        _tell(progress, living, start, settings)


def _one_day(living: Living, settings: LiveSettings) -> None:
    lived = live_day(living.world, living.policy, settings, living.ledger, Clock())
    living.figures.append(lived.figures)
    if lived.values is not None:
        living.values.append(lived.values)


def _train(home: Home, policy: Served, living: Living, settings: LoopSettings, start: int) -> None:
    """The evening: what the policy trains, every few days."""
    lived = living.world.day - start
    if policy.retrain != Retrain.NONE and lived % settings.retrain_every == 0 and lived < settings.days:
        version = retrain(home, policy.retrain, RecipeConfig.of(settings.profile))
        living.promoted.append({"day": living.world.day, "version": version, "what": policy.retrain.value})


def _tell(progress: Progress | None, living: Living, start: int, settings: LoopSettings) -> None:
    if progress:
        progress(living.world.day - start, settings.days)


def _same_settings(folder: Path, body: dict[str, Any]) -> None:
    """A folder holds one run: the same settings go on with it, others are refused."""
    path = folder / "settings.json"
    if path.exists() and orjson.loads(path.read_bytes()) != body:
        raise BadInput(f"{folder} holds a run with other settings: give another --name, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))


def _reported(folder: Path, name: str, settings: LoopSettings, living: Living, start: int) -> dict[str, Any]:
    """Writes `report.json` (figures by day) and `values.parquet` (value of every measured page)."""
    active = living.ledger.active
    days = [
        {**asdict(figures), "day": i, "returned_1": one, "returned_7": seven}
        for i, (figures, one, seven) in enumerate(
            zip(living.figures, retention(active, 1).tolist(), retention(active, 7).tolist(), strict=True)
        )
    ]
    body = {
        "policy": name,
        "start": start,
        "settings": settings.model_dump(mode="json"),
        "promoted": living.promoted,
        "days": days,
    }
    if living.explored:
        body["explored"] = living.explored
    (folder / "report.json").write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    if living.values:
        frames = [pl.DataFrame({"day": np.full(len(v), i), **vars(v)}) for i, v in enumerate(living.values)]
        pl.concat(frames).write_parquet(folder / "values.parquet")
    return orjson.loads(orjson.dumps(body))  # type: ignore[no-any-return]
