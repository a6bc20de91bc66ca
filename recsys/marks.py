"""Which releases learned from somebody who was erased since: not reproducible, expiring, and never a seed.

    marks = Marks(home.releases)
    marks.of("3")                 # a Mark, or None
    marks.refuse_seed("3")        # raises ReleaseRefused: what a training from earlier weights asks first

One small file beside the releases, so that a release's own files and digests stay as they were sealed. A release made
from a marked one (recsys.release, serving.registry.derived) inherits the mark: new statistics over old weights still
have what the old weights learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from recsys.errors import ReleaseRefused
from recsys.files import alone, write_whole

FILE = ".marks.json"
DAY_MS = 86_400_000
EXPIRY_DAYS = 30.0


@dataclass(frozen=True)
class Mark:
    """Why and since when a release cannot be made again; times are UTC ms."""

    reason: str
    at: int
    expires: int
    request: str = ""  # the erasure's id

    @property
    def text(self) -> str:
        """One line for people: what `recsys release list` shows."""
        day, end = (datetime.fromtimestamp(t / 1000, UTC).date() for t in (self.at, self.expires))
        return f"not reproducible: {self.reason}, {day}; expires {end}"

    def expired(self, now: int) -> bool:
        return now >= self.expires


@dataclass(frozen=True)
class Marks:
    """The marks of one folder of releases, by version; several processes may read and add."""

    releases: Path

    @property
    def path(self) -> Path:
        return self.releases / FILE

    def all(self) -> dict[str, Mark]:
        """Every mark by release version."""
        return {version: Mark(**body) for version, body in self._read()["releases"].items()}

    def of(self, version: str) -> Mark | None:
        return self.all().get(version)

    def add(self, versions: Iterable[str], mark: Mark) -> None:
        """Marks releases; one that is marked already keeps the earlier expiry, which nothing puts off."""
        with alone(self.releases / ".marks.lock"):
            body = self._read()
            for version in versions:
                known = body["releases"].get(version)
                if known is None or mark.expires < known["expires"]:
                    body["releases"][version] = asdict(mark)
            self._write(body)

    def inherit(self, version: str, source: str) -> None:
        """Gives a release made from another one that one's mark, if it has one."""
        mark = self.of(source)
        if mark is not None:
            self.add([version], mark)

    def raise_floor(self, tables: Mapping[str, int], mark: Mark) -> None:
        """Notes from which version on each lake table is free of what was erased."""
        with alone(self.releases / ".marks.lock"):
            body = self._read()
            for table, version in tables.items():
                body["floor"][table] = max(version, body["floor"].get(table, 0))
            body["newest"] = asdict(mark)
            self._write(body)

    def admit(self, version: str, data: Mapping[str, int]) -> None:
        """Marks a release that is registered now if it was trained on tables as they were before an erasure.

        A training that had read the lake when the erasure came ends after it, and must not escape it.
        """
        body = self._read()
        if any(data.get(table, floor) < floor for table, floor in body["floor"].items()):
            self.add([version], Mark(**body["newest"]))

    def refuse_seed(self, version: str) -> None:
        """What a training that starts from a release's weights asks first.

        Raises:
            ReleaseRefused: the release is marked: what is trained on from it would keep what it has learned.
        """
        mark = self.of(version)
        if mark is not None:
            raise ReleaseRefused(f"release {version} is {mark.text}; train from scratch instead")

    def refuse_expired(self, version: str, now: int) -> None:
        """What everything that would have a release answer asks first (`now`: UTC ms).

        Raises:
            ReleaseRefused: the release's mark has expired.
        """
        mark = self.of(version)
        if mark is not None and mark.expired(now):
            raise ReleaseRefused(
                f"release {version} has expired ({mark.text}): train a new one, `recsys index`"
            )

    def _read(self) -> dict[str, dict[str, Any]]:
        empty: dict[str, dict[str, Any]] = {"releases": {}, "floor": {}, "newest": {}}
        try:
            return {**empty, **orjson.loads(self.path.read_bytes())}
        except FileNotFoundError:
            return empty
        except ValueError:
            raise ReleaseRefused(f"{self.path} is damaged: restore it from a backup") from None

    def _write(self, body: dict[str, dict[str, Any]]) -> None:
        write_whole(self.path, orjson.dumps(body, option=orjson.OPT_INDENT_2))
