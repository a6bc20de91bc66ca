"""The whole offline path as one recipe, top to bottom: world -> states -> models -> index -> ranker -> release.

    recipe = Recipe(home, RecipeConfig.of("demo"))
    for step in recipe.steps(): step()

Every step writes under `home.work`, is skipped when it is done for the same inputs, and logs an MLflow run where it
learns something. Time cuts: retrieval and sequence models see plays before `split.valid`; the ranker learns from
[valid, test); counts (statistics, co-occurrence, similar artists) end at test; evaluation looks at [test, end).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.artists import ArtistConfig
from models.semantic_ids.config import SemanticConfig
from models.sequence.config import SequenceConfig
from models.two_tower.config import TwoTowerConfig
from music.catalog.service import Catalog
from ranking.config import LightConfig, RankerConfig
from recsys.dataset import Dataset, load
from recsys.home import Home
from recsys.lake import Lake
from recsys.marks import Marks
from recsys.release import seal
from serving import registry, seeds
from serving.live.lake import carry
from serving.stages import Done, Stages

Progress = Callable[[int, int], None]
Bar = Callable[[str], Any]
"""A context manager factory: `with bar("what") as update: update(done, total)`."""
SOURCES = ("two_tower", "sequence", "history", "artist", "new", "anchor", "popular")
"""The sources of the home feed, by name."""


class RecipeConfig(BaseModel):
    """Settings of every learned part, by profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    two_tower: TwoTowerConfig = TwoTowerConfig()
    sequence: SequenceConfig = SequenceConfig()
    semantic: SemanticConfig | None = None  # a release has semantic ids only where this is set
    artists: ArtistConfig = ArtistConfig()
    ranker: RankerConfig = RankerConfig()
    light: LightConfig = LightConfig(
        columns=("two_tower", *(f"source:{name}" for name in SOURCES if name != "two_tower"))
    )
    queries: int = 2000  # evaluation queries a task
    probes: int = 1000  # listeners whose true value is computed
    reference_queries: int = 1000  # moments that drift is measured against

    @classmethod
    def of(cls, profile: str) -> RecipeConfig:
        """The settings that ship for a profile; imported logs use those of `demo`."""
        if profile == "tiny":
            return cls(
                two_tower=TwoTowerConfig(epochs=2, batch_size=256, uniform_negatives=512),
                sequence=SequenceConfig(epochs=2, batch_size=16, mixing_steps=60),
                ranker=RankerConfig(queries=800, impressions=8_000, num_trees=40),
                queries=400,
                reference_queries=400,
                probes=200,
            )
        return cls()


class Recipe:
    """The steps of one home folder."""

    def __init__(self, home: Home, config: RecipeConfig, say: Callable[[str], None], bar: Bar) -> None:
        self.home, self.config, self.bar = home, config, bar
        self.lake = Lake(home.lake)
        self.versions: dict[str, int] | None = None  # of the lake's tables to learn from; None: the newest
        self.stages = Stages(home, say)

    @cached_property
    def data(self) -> Dataset:
        """The log as models see it, read once."""
        self._carry()
        return load(self.lake, versions=self.versions)

    @cached_property
    def base(self) -> dict[str, Any]:
        """What every learned part depends on: the versions of the lake's tables."""
        self._carry()
        return self.versions or self.lake.versions()

    def _carry(self) -> None:
        """Brings what was published while serving into the lake, unless its versions are given."""
        if self.versions is None:
            catalog = Catalog.open(self.home.catalog_url)
            carry(catalog, self.lake)
            catalog.close()

    def states(self, force: bool = False) -> Done:
        """Listener states from the lake into the embedded online store."""
        from recsys.engines import open_store
        from recsys.state_store import refresh_states

        def work(_folder: Path) -> dict[str, Any]:
            with self.bar("listener states"):
                return {"listeners": refresh_states(self.lake, open_store(self.home))}

        return self.stages.run("states", self.base, work, force)

    def two_tower(self, force: bool = False, start: str | None = None) -> Done:
        """The two-tower model; with `start`, trained on from that release's weights (version, alias or latest).

        A release made from it names what it started from (`lineage` in its manifest's config).
        """
        from models.two_tower.train import train

        config = self.config.two_tower
        seed = None if start is None else seeds.find(self.home, start)

        def work(folder: Path) -> dict[str, Any]:
            curve: list[tuple[int, dict[str, float]]] = []
            model = None if seed is None else seeds.two_tower(seed, self.data.items)
            with self.bar("two-tower") as update:
                model = train(
                    self.data,
                    self.data.split.valid,
                    config,
                    lambda s, m: curve.append((s, m)),
                    update,
                    start=model,
                    release="" if seed is None else seed.version,
                )
            model.save(folder)
            self._track("two_tower", config, curve, {}, folder)
            return {"steps": curve[-1][0] if curve else 0, "lineage": [a.release for a in model.lineage]}

        done = self.stages.run("two_tower", {**self.base, "config": config.model_dump()}, work, force)
        # What is built on it is built anew where its weights began elsewhere.
        return replace(done, key="+".join([done.key, *done.result.get("lineage", [])]))

    def sequence(self, force: bool = False) -> Done:
        """The transformer; by several workers on Ray where its settings say so."""
        config = self.config.sequence

        def work(folder: Path) -> dict[str, Any]:
            with self.bar("sequence") as update:
                curve = (self._here if config.workers == 1 else self._on_ray)(folder, update)
            self._track("sequence", config, curve, {}, folder)
            return {"steps": curve[-1][0] if curve else 0}

        return self.stages.run("sequence", {**self.base, "config": config.model_dump()}, work, force)

    def semantic(self, force: bool = False) -> Done:
        """Semantic ids and their decoder, with the default settings where the recipe has none."""
        from models.semantic_ids.train import train

        config = self.config.semantic or SemanticConfig()

        def work(folder: Path) -> dict[str, Any]:
            curve: list[tuple[int, dict[str, float]]] = []
            checkpoints = self._checkpoints("semantic")
            with self.bar("semantic ids") as update:
                model = train(
                    self.data,
                    self.data.split.valid,
                    config,
                    log=lambda s, m: curve.append((s, m)),
                    progress=update,
                    checkpoint_dir=checkpoints,
                )
            model.save(folder)
            shutil.rmtree(checkpoints, ignore_errors=True)
            self._track("semantic", config, curve, {}, folder)
            return {"steps": curve[-1][0] if curve else 0}

        return self.stages.run("semantic", {**self.base, "config": config.model_dump()}, work, force)

    def artists(self) -> Done:
        """Similar artists, from plays before the test window as other counts of a release."""
        from models.artists import train
        from models.two_tower.model import TwoTower

        tower, config = self.two_tower(), self.config.artists

        def work(folder: Path) -> dict[str, Any]:
            unit = TwoTower.load(tower.folder, self.data.items).unit_vectors
            with self.bar("similar artists") as update:
                near = train(
                    self.data.plays.before(self.data.split.test), self.data.items, unit, config, update
                )
            near.save(folder)
            return {}

        return self.stages.run("artists", {"two_tower": tower.key, "config": config.model_dump()}, work)

    def _optional(self) -> dict[str, Done]:
        """Parts that a release has only where the recipe says so."""
        return {} if self.config.semantic is None else {"semantic": self.semantic()}

    def _checkpoints(self, part: str) -> Path:
        """By the events' version: what was learned before somebody's erasure is never trained on after it, nor kept."""
        own = self.home.work / f"{part}.{self.base.get('events', 0)}.checkpoint"
        for other in self.home.work.glob(f"{part}.*.checkpoint"):
            if other != own:
                shutil.rmtree(other, ignore_errors=True)
        return own

    def _here(self, folder: Path, update: Callable[[int, int], None]) -> list[tuple[int, dict[str, float]]]:
        """Trains the transformer in this process."""
        from models.sequence.train import train

        curve: list[tuple[int, dict[str, float]]] = []
        checkpoints = self._checkpoints("sequence")
        model = train(
            self.data,
            self.data.split.valid,
            self.config.sequence,
            lambda s, m: curve.append((s, m)),
            update,
            checkpoints,
        )
        model.save(folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return curve

    def _on_ray(self, folder: Path, update: Callable[[int, int], None]) -> list[tuple[int, dict[str, float]]]:
        """Trains the transformer on Ray's workers."""
        from serving.ray_training import train_on_ray

        versions = {table: number for table, number in self.base.items() if isinstance(number, int)}
        return train_on_ray(self.lake, versions, self.data.split.valid, self.config.sequence, folder, update)

    def index(self, force: bool = False) -> Done:
        """The FAISS index, its type chosen by measured recall on real listener vectors."""
        from models.two_tower.model import TwoTower
        from recsys.evaluation.tasks import build_tasks
        from recsys.index import build

        tower = self.two_tower()

        def work(folder: Path) -> dict[str, Any]:
            model = TwoTower.load(tower.folder, self.data.items)
            split = self.data.split
            (task,) = build_tasks(self.data, split.valid, split.test, names=("home",), cap=500)
            with self.bar("index"):
                index = build(model.item_vectors, model.encode(task.batch), seed=self.config.two_tower.seed)
            index.save(folder)
            best = index.report.chosen
            metrics = {"recall": best.recall, "ms": best.ms}
            self._track("index", {"kind": best.kind, **best.parameters}, [], metrics, folder)
            return {"kind": best.kind, **metrics}

        return self.stages.run("index", {"two_tower": tower.key}, work, force)

    def ranker(self, force: bool = False) -> Done:
        """Light scorer and ranker, from the window that the other models have not seen."""
        from serving.rank_stage import train_ranker

        needs = {
            "two_tower": self.two_tower().key,
            "sequence": self.sequence().key,
            "index": self.index().key,
            **{name: part.key for name, part in self._optional().items()},
        }
        light = self.config.light
        if "semantic" in needs:
            light = light.model_copy(update={"columns": (*light.columns, "source:semantic")})
        config = {"ranker": self.config.ranker.model_dump(mode="json"), "light": light.model_dump()}

        def work(folder: Path) -> dict[str, Any]:
            with self.bar("ranker") as update:
                report = train_ranker(
                    self.home,
                    self.data,
                    self.config.ranker,
                    light,
                    folder,
                    update,
                    self.home.work / "semantic" if "semantic" in needs else None,
                )
            self._track("ranker", config, [], report, folder)
            return report

        return self.stages.run("ranker", {**needs, "config": config}, work, force)

    def release(self, force: bool = False) -> Done:
        """Seals all parts into one registered version and makes it champion."""
        parts = {
            "two_tower": self.two_tower(),
            "sequence": self.sequence(),
            "index": self.index(),
            "ranker": self.ranker(),
            "artists": self.artists(),
            **self._optional(),
        }
        from serving.loaded import LoadedRelease
        from serving.reference_stage import write_reference

        names = registry.Registry(self.home)

        def work(folder: Path) -> dict[str, Any]:
            version = names.next_version()
            target = names.folder(version)
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for name in ("two_tower", "index", "artists", *self._optional()):
                shutil.copytree(parts[name].folder, target / name)
            self._recounted(parts["sequence"].folder).save(target / "sequence")
            for name in ("ranking", "light", "stats"):
                shutil.copytree(parts["ranker"].folder / name, target / name)
            self.data.items.save(target / "items")
            lineage = {"two_tower": parts["two_tower"].result.get("lineage", [])}
            for ancestor in lineage["two_tower"]:
                Marks(self.home.releases).refuse_seed(
                    ancestor
                )  # it may have been marked while this was trained
            metrics = {k: float(v) for k, v in parts["index"].result.items() if isinstance(v, float)}
            sealed = partial(
                seal,
                target,
                version,
                self.data.versions,
                self.data.split.test,
                {**self.config.model_dump(mode="json"), "lineage": lineage},
                metrics,
            )
            sealed()  # so that it can be loaded: its reference is what its own parts answer
            write_reference(target, LoadedRelease.load(target), self.data, self.config.reference_queries)
            manifest = sealed()
            registry.enter(self.home, target, manifest)
            names.promote(version)
            (folder / "version").write_text(version)
            return {"version": version, "digest": manifest.digest}

        return self.stages.run("release", {n: p.key for n, p in parts.items()}, work, force)

    def _recounted(self, folder: Path) -> Any:
        """The sequence model with co-occurrence counted up to the test window, where nothing more is trained."""
        from models.sequence.model import SequenceModel

        model = SequenceModel.load(folder, self.data.items)
        return model.recounted(self.data.plays.before(self.data.split.test))

    def _track(
        self,
        name: str,
        config: Any,
        curve: list[tuple[int, dict[str, float]]],
        metrics: dict[str, float],
        folder: Path,
    ) -> None:
        """One MLflow run: config, data version, curve, final metrics and the artefact."""
        from serving.tracking import log_run

        settings = config.model_dump() if isinstance(config, BaseModel) else config
        log_run(self.home, name, settings, self.data.versions, curve, metrics, folder)


@contextmanager
def silent(_what: str) -> Iterator[Progress]:
    """A bar that shows nothing, for notebooks and tests."""
    yield lambda _done, _total: None
