"""The config that a process runs by: it follows the files, and a new one replaces the old one whole or not at all.

running = Running(folder, store, space)
running.live.config, running.live.reach      # one snapshot; take it once a request
running.follow()                              # now and then: looks whether the files have changed
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.changes import forbidden
from experiments.check import Conflict
from experiments.config import DEFAULT, Config, parse
from experiments.experiment import Unit
from experiments.exposure import Reach, reaches
from experiments.parameters import Space, mistakes
from experiments.source import Problem, Refused, Sources
from experiments.store import Store
from recsys.errors import BadInput

logger = logging.getLogger(__name__)
Stamp = tuple[tuple[str, int, int, int], ...]
UNREAD: Stamp = (("", 0, 0, 0),)
"""Of no files: the next look reads them again."""


@dataclass(frozen=True)
class Live:
    """One version of the config with what follows from it; never changed, only replaced."""

    config: Config
    reach: Reach
    readers: Mapping[str, frozenset[str] | None]  # by parameter, the surfaces that read it; None: all
    units: Mapping[str, Unit]  # by experiment or holdout, its kind of unit

    @classmethod
    def of(cls, config: Config, space: Space | None = None) -> Live:
        config.plan  # noqa: B018  compiled here, and not by the first request
        paths = {path for e in config.running for arm in e.arms for path in arm.parameters}
        readers = {path: None if space is None else space.reach(path) for path in paths}
        units = {e.name: e.unit for e in config.running} | {h.name: h.unit for h in config.holdouts}
        return cls(config, reaches(config, space), readers, units)

    def on(self, surface: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Those parameters that a surface reads."""
        return {
            path: value
            for path, value in parameters.items()
            if (readers := self.readers.get(path)) is None or surface in readers
        }


class Running:
    """Follows a folder of *.yaml (or, where it has none, the shipped file).

    Args:
        folder: where the files are looked for.
        store: where versions are kept; None keeps none.
        space: what arms may set.
        clock: UTC ms.

    Raises:
        BadInput: the files cannot be used, and no earlier version is kept that could run on.
    """

    def __init__(
        self,
        folder: Path,
        store: Store | None = None,
        space: Space | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._folder, self._store, self._space, self._clock = folder, store, space, clock
        self._lock = threading.Lock()
        self.error: str | None = None
        self._seen = self._pending = self._stamp()
        kept = self._kept()
        self.live = Live.of(kept or Config(), space)
        self.load()
        if self.error is not None and kept is None:
            raise BadInput(self.error)

    def follow(self, ready: Callable[[Config], None] | None = None) -> bool:
        """Loads the files if they have changed and stand still since the last look; whether a new version runs.

        `ready` is called with a new version before it runs: to bring what its arms ask for.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        if stamp != self._pending:  # somebody may be in the middle of writing several files
            self._pending = stamp
            return False
        return self.load(ready)

    def load(self, ready: Callable[[Config], None] | None = None) -> bool:
        """Loads the files now; a mistake leaves the old version running and `error` says it."""
        with self._lock:
            self._seen = self._pending = self._stamp()
            try:
                sources = source_files(self._folder)
                config = checked(sources, self._space, self.live.config, self._clock())
                if self._store is not None:
                    files = {file.path.name: file.text for file in sources.files}
                    self._store.put(config, files, "files changed", self._clock())
            except Refused as error:  # until the files change
                return self._refused(str(error))
            except BadInput as error:  # a file that cannot be read now
                self._seen = UNREAD
                return self._refused(str(error))
            except OSError as error:
                self._seen = UNREAD
                return self._refused(f"the new version cannot be kept: {error}")
            self.error = None
            if config.version == self.live.config.version:
                return False
            if ready is not None:
                ready(config)
            self.live = Live.of(
                config, self._space
            )  # one assignment: a request has the old one or the new one
            return True

    def _refused(self, why: str) -> bool:
        if why != self.error:  # told once, however often it is tried again
            logger.error("experiments: version %s stays: %s", self.live.config.version, why)
        self.error = why
        return False

    def _kept(self) -> Config | None:
        """The newest kept version, if there is one that can be read, and whose settings there still are."""
        config = self._store.newest_config() if self._store is not None else None
        if config is None or self._space is None:
            return config
        for _, message in mistakes(config, self._space):
            logger.error("experiments: version %s cannot run any more: %s", config.version, message)
            return None
        return config

    def _stamp(self) -> Stamp:
        try:
            found = [(path, path.stat()) for path in sorted(self._folder.glob("*.yaml"))]
        except OSError:  # a file went away between the two looks
            return ()
        return tuple((path.name, s.st_mtime_ns, s.st_size, s.st_ino) for path, s in found)


def source_files(folder: Path) -> Sources:
    """The *.yaml of a folder; the shipped file where it has none."""
    return Sources.read(folder if any(folder.glob("*.yaml")) else DEFAULT)


def checked(sources: Sources, space: Space | None, old: Config | None, now: int) -> Config:
    """The config in some sources after every check: its own, of parameters, and of what changes under way.

    Raises:
        Refused: names file and line.
    """
    config = parse(sources)
    found: list[Conflict] = list(mistakes(config, space)) if space is not None else []
    found += forbidden(old, config, now) if old is not None else []
    if found:
        raise Refused([_problem(sources, at, message) for at, message in found])
    return config


def _problem(sources: Sources, at: tuple[str | int, ...], message: str) -> Problem:
    path, line = sources.place(at)
    return Problem(path, line, message)
