"""Stages that finish once: each writes into its own folder, and a marker says for which inputs it is done.

A stage that fails or is interrupted leaves what there was before; a finished one is skipped unless its inputs changed.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from recsys.home import Home


@dataclass(frozen=True)
class Done:
    """A finished stage."""

    name: str
    folder: Path
    key: str
    result: dict[str, Any]
    seconds: float
    resumed: bool


@dataclass(frozen=True)
class Stages:
    """Stages of one home folder."""

    home: Home
    say: Callable[[str], None]
    told: set[str] = field(default_factory=set)  # each stage is mentioned once

    def run(
        self, name: str, inputs: dict[str, Any], work: Callable[[Path], dict[str, Any]], force: bool = False
    ) -> Done:
        """Runs `work(folder)` unless it is done for the same inputs; its JSON-able result is kept."""
        folder, marker = self.home.work / name, self.home.work / f"{name}.json"
        key = hashlib.sha256(orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
        if not force and marker.exists():
            kept = orjson.loads(marker.read_bytes())
            if kept["key"] == key:
                if name not in self.told:
                    self.say(f"{name}: done before ({kept['seconds']:.0f} s)")
                self.told.add(name)
                return Done(name, folder, key, kept["result"], kept["seconds"], True)
        partial = self.home.work / f"{name}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        result = work(partial)
        seconds = time.perf_counter() - begin
        marker.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        _write(marker, {"key": key, "result": result, "seconds": seconds})
        self.say(f"{name}: {seconds:.0f} s")
        self.told.add(name)
        return Done(name, folder, key, result, seconds, False)


def _write(path: Path, value: dict[str, Any]) -> None:
    """All or nothing: a marker is never half a file."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    temporary.rename(path)
