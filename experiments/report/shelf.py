"""Stored reports: `HOME/experiments/reports/<experiment>/<stamp>.json`, the newest the last by name.

shelf = Shelf.of(home.root / "experiments")
shelf.keep(report.to_json(), "ranker", stamp(now))
shelf.newest("ranker")          # plain data, or None
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from recsys.errors import BadInput
from recsys.files import write_whole

logger = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
STAMP = re.compile(r"\d{8}T\d{6}Z")


def stamp(now: int) -> str:
    """A time (UTC ms) as a file is named by it: 20261201T080000Z."""
    return datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True)
class Shelf:
    """The reports of one home; folders are made when the first report is kept."""

    folder: Path

    @classmethod
    def of(cls, experiments: Path) -> Shelf:
        """The shelf in a home's folder of experiments."""
        return cls(experiments / "reports")

    def keep(self, report_json: bytes, name: str, stamp: str) -> Path:
        """Writes a report, whole or not at all; one of the same stamp is replaced.

        Raises:
            BadInput: a name or stamp that cannot be a file's.
        """
        if not NAME.fullmatch(name) or not STAMP.fullmatch(stamp):
            raise BadInput(
                f"no report can be kept as {name!r}, {stamp!r}: the stamp is like 20261201T080000Z"
            )
        path = self.folder / name / f"{stamp}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, report_json)
        return path

    def names(self) -> list[str]:
        """Experiments that have a report."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if NAME.fullmatch(p.name) and self.all(p.name))

    def all(self, name: str) -> list[Path]:
        """An experiment's reports, oldest first."""
        if not NAME.fullmatch(name):
            return []
        return sorted(p for p in (self.folder / name).glob("*.json") if STAMP.fullmatch(p.stem))

    def newest(self, name: str) -> dict[str, Any] | None:
        """The newest report that can be read; a damaged one is passed over, and told in the log."""
        return next(self._readable(name), None)

    def _readable(self, name: str) -> Iterator[dict[str, Any]]:
        for path in reversed(self.all(name)):
            try:
                report = orjson.loads(path.read_bytes())
            except (OSError, orjson.JSONDecodeError) as error:
                logger.error("%s is damaged, and passed over: %s", path, error)
                continue
            if isinstance(report, dict) and report.get("name") == name:
                yield report
            else:
                logger.error("%s is damaged, and passed over: it is no report of %s", path, name)
