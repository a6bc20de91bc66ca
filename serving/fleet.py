"""The releases that a server holds at once, by alias: verified, warmed, swapped without dropping a request."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsys.errors import NotReady, RecsysError, ReleaseRefused
from recsys.home import Home
from recsys.marks import Marks
from recsys.pipeline import Effort
from recsys.schemas import Surface
from recsys.types import Assignment, Query, UserState
from serving.clock import now_ms
from serving.loaded import LoadedRelease
from serving.recommender import Recommender
from serving.registry import CHALLENGER, CHAMPION, Registered, Registry
from serving.settings import ServiceSettings
from serving.surfaces import SURFACES

logger = logging.getLogger(__name__)
Loader = Callable[[Path], LoadedRelease]
"""How a release is read."""
WARM_ID = "00000000-0000-7000-8000-000000000000"


class Fleet:
    """Champion and challenger in memory; requests go on with the old one while a new one loads."""

    def __init__(
        self,
        home: Home,
        settings: ServiceSettings,
        long_lived: bool = False,
        prepare: Callable[[Recommender], None] | None = None,
        load: Loader = LoadedRelease.load,
        also: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """`long_lived`: this process serves until it ends, so what is loaded is kept out of garbage collection.
        `prepare` is called with each release once it is warm, before it answers.
        `also` names the aliases and versions that experiments ask for."""
        self._prepare, self._also = prepare, also
        self._long_lived, self._load = long_lived, load
        self._registry, self._settings = Registry(home), settings
        self._by_version: dict[str, Recommender] = {}
        self._aliases: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._seen: tuple[str, frozenset[str]] = "", frozenset()
        self._loading = threading.Lock()

    @property
    def ready(self) -> bool:
        return CHAMPION in self._aliases

    def of(self, assignment: Assignment) -> Recommender:
        """The release that an assignment asks for, by alias or version; the champion where it is not loaded."""
        version = self._aliases.get(assignment.release, assignment.release)
        found = self._by_version.get(version) or self._by_version.get(self._aliases.get(CHAMPION, ""))
        if found is None:
            raise NotReady(
                "no release is loaded: build one with `recsys index`, then `recsys release promote`"
            )
        return found

    def named(self, name: str) -> Recommender | None:
        """A release in memory, by alias or version; None where it is not."""
        return self._by_version.get(self._aliases.get(name, name))

    def follow(self) -> None:
        """Loads again when an alias, or what experiments ask for, has changed (one small file is read)."""
        if self._stamp() != self._seen:
            self.load()

    def _stamp(self) -> tuple[str, frozenset[str]]:
        stamp = self._registry.stamp
        return stamp.read_text() if stamp.exists() else "", self._also()

    def load(self) -> None:
        """Reads the aliases and brings every named release into memory; a bad one is refused, the old one stays.

        Raises:
            NotReady: nothing has been promoted yet and nothing is loaded.
            ReleaseRefused: the champion is damaged and nothing else is loaded.
        """
        with self._loading:
            self._seen = self._stamp()
            names = {CHAMPION, CHALLENGER} | self._seen[1]
            wanted = {
                name: release
                for release in self._registry.list()
                for name in (*release.aliases, release.version)
                if name in names
            }
            for missing in sorted(self._seen[1] - set(wanted)):
                logger.error(
                    "an experiment asks for release %s, which is not registered: champion answers", missing
                )
            if CHAMPION not in wanted and not self._aliases:
                raise NotReady("no release has been promoted: run `recsys demo`, or `recsys release promote`")
            versions = {release.version for release in wanted.values()}
            self._refused = {v: why for v, why in self._refused.items() if v in versions}
            for alias, release in wanted.items():
                self._bring(alias, release)
            for gone in set(self._aliases) - set(wanted):
                del self._aliases[gone]
            kept = set(self._aliases.values())
            self._by_version = {v: r for v, r in self._by_version.items() if v in kept}

    def _bring(self, alias: str, release: Registered) -> None:
        if release.version not in self._by_version:
            try:
                self._check_mark(alias, release)
                loaded = self._load(release.folder)
            except RecsysError as error:
                self._refused[release.version] = str(error)
                logger.error("release %s refused, %s stays: %s", release.version, alias, error)
                if not self._by_version:
                    raise
                return
            recommender = Recommender(loaded, self._settings, self._settings.source_budget_ms)
            warm(recommender)
            if self._prepare is not None:
                self._prepare(recommender)
            if self._long_lived:
                # A release is a million objects that stay: a collection that visits them stops all requests.
                gc.collect()
                gc.freeze()
            self._by_version = {**self._by_version, release.version: recommender}
        self._refused.pop(release.version, None)
        self._aliases = {**self._aliases, alias: release.version}

    def _check_mark(self, alias: str, release: Registered) -> None:
        """An expired release answers nobody, but for a champion: then the choice is between it and no answer at all.

        Raises:
            ReleaseRefused
        """
        try:
            Marks(self._registry.home.releases).refuse_expired(release.version, now_ms())
        except ReleaseRefused as error:
            if alias != CHAMPION:
                raise
            logger.error("it is the champion, and answers until there is another: %s", error)

    def loaded(self) -> list[Recommender]:
        """Every release in memory."""
        return list(self._by_version.values())

    def describe(self) -> dict[str, Any]:
        marks = Marks(self._registry.home.releases).all()
        return {
            "aliases": dict(self._aliases),
            "loaded": {v: r.release.manifest.digest for v, r in self._by_version.items()},
            "refused": dict(self._refused),
            "marked": {v: m.text for v, m in marks.items() if v in self._by_version},
            "until": {a: r.release.manifest.until for a, r in self._named().items()},
            "overran": {v: r.guard.describe() for v, r in self._by_version.items() if r.guard is not None},
        }

    def drift(self) -> dict[str, Any]:
        """By alias, how far traffic has moved from the release's reference; without those that have none."""
        return {a: r.drift.report() for a, r in self._named().items() if r.drift is not None}

    def _named(self) -> dict[str, Recommender]:
        return {a: self._by_version[v] for a, v in self._aliases.copy().items() if v in self._by_version}


def warm(recommender: Recommender) -> None:
    """Answers a request of every surface from its rungs, so that no listener pays for lazy set-up.

    The first run of a model may take longer than its budget, so the ladders run without a guard here.
    """
    begin = time.perf_counter()
    guard, recommender.guard = recommender.guard, None
    bare = Query(WARM_ID, Surface.HOME, recommender.release.manifest.until, 0, 10, UserState("0" * 22))
    for spec in SURFACES.values():
        query = replace(spec.example(bare), surface=spec.surface)
        for effort in (*Effort, Effort.FULL):
            recommender.answer(query, effort=effort)
        recommender.answer(replace(query, user=replace(query.user, personalized=False)))
    recommender.guard = guard
    recommender.words.warm()
    logger.info("warmed release in %.2f s", time.perf_counter() - begin)
