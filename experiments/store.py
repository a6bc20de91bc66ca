"""Every version of the config that ever ran, in the home folder: content-addressed files and an append-only journal.

store = Store(home.root / "experiments")
store.put(config, files, "started ranker", now)      # under a lock; the version's file is whole before it is named
store.load("9f0c..."), store.versions()
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import ValidationError

from experiments.config import Config
from recsys.errors import BadInput, UnknownId
from recsys.files import alone, write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One line of the journal: from `at` (UTC ms) on, `version` was the newest."""

    at: int
    version: str
    why: str


@dataclass(frozen=True)
class Store:
    """The versions of one home."""

    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def path(self, version: str) -> Path:
        return self.folder / "versions" / f"{version}.json"

    def versions(self) -> list[Entry]:
        """What ran, oldest first; a line that a crash cut short is passed over."""
        text = self.journal.read_bytes() if self.journal.exists() else b""
        entries = []
        for line in text.split(b"\n")[:-1]:
            try:
                entries.append(Entry(**orjson.loads(line)))
            except (orjson.JSONDecodeError, TypeError):
                continue
        return entries

    def newest(self) -> Entry | None:
        """The version that runs, or ran last."""
        entries = self.versions()
        return entries[-1] if entries else None

    def newest_config(self) -> Config | None:
        """The config that runs, or ran last; None where none is kept, or it cannot be read any more."""
        newest = self.newest()
        try:
            return None if newest is None else self.load(newest.version)
        except (BadInput, UnknownId) as error:
            logger.error("experiments: %s", error)
            return None

    def load(self, version: str) -> Config:
        """A version as it was.

        Raises:
            UnknownId: never kept here.
            BadInput: its file is damaged: it does not hash to its name.
        """
        path = self.path(version)
        if not re.fullmatch(r"[0-9a-f]{16}", version) or not path.exists():
            raise UnknownId(f"no version {version} of the experiments is kept in {self.folder}")
        try:
            config = Config.model_validate(orjson.loads(path.read_bytes())["config"])
        except (orjson.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
            raise BadInput(f"{path} is damaged") from error
        if config.version != version:
            raise BadInput(f"{path} is damaged: it holds version {config.version}")
        return config

    def put(self, config: Config, files: Mapping[str, str], why: str, now: int) -> bool:
        """Keeps a version and names it the newest; False where it is that already.

        Args:
            files: the text of each source file by name, kept for people.
        """
        with self.locked():
            return self.keep(config, files, why, now)

    def keep(self, config: Config, files: Mapping[str, str], why: str, now: int) -> bool:
        """`put` for a caller who holds the lock."""
        newest = self.newest()
        if newest is not None and newest.version == config.version:
            return False
        if not self.path(config.version).exists():
            body = {
                "config": orjson.loads(config.model_dump_json(exclude_defaults=True)),
                "files": dict(files),
            }
            write_whole(self.path(config.version), orjson.dumps(body, option=orjson.OPT_INDENT_2))
        self._append({"at": now, "version": config.version, "why": why})
        return True

    def _append(self, line: Mapping[str, object]) -> None:
        before = self.journal.read_bytes() if self.journal.exists() else b""
        cut = b"\n" if before and not before.endswith(b"\n") else b""  # a crash's half line ends here
        with self.journal.open("ab") as file:
            file.write(cut + orjson.dumps(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One writer at a time, of all processes of this machine."""
        (self.folder / "versions").mkdir(parents=True, exist_ok=True)
        with alone(self.folder / ".lock"):
            yield
