"""A server whose parts can be made to fail from outside, for benchmarks/faults.py: the real one but for its loader.

    python -m benchmarks.faulty HOME FLAGS

While a file of that name lies in the folder FLAGS: `hang` (the sequence model does not come back), `slow` (each of its
calls takes 150 ms longer), `corrupt` (the index raises).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from models.sequence.model import SequenceModel
from recsys.home import Home
from recsys.index import Index
from serving.loaded import LoadedRelease
from serving.ray_app import serve_uvicorn
from serving.service import Service

SLOWER = 0.15


@dataclass(frozen=True)
class Faulty:
    """A part of a release that does what the flags say before each call."""

    part: Any
    flags: Path

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.part, name)
        return partial(self._call, found) if callable(found) else found

    def _call(self, method: Any, *given: Any, **named: Any) -> Any:
        misbehave(self.flags, isinstance(self.part, Index))
        return method(*given, **named)


def misbehave(flags: Path, is_index: bool) -> None:
    """What the flags want of the index, or of the sequence model."""
    if is_index:
        if (flags / "corrupt").exists():
            raise RuntimeError("the index is corrupt")
        return
    if (flags / "slow").exists():
        time.sleep(SLOWER)
    while (flags / "hang").exists():
        time.sleep(0.02)


def load(flags: Path, folder: Path) -> LoadedRelease:
    """A release with a sequence model and an index that look at the flags."""
    release = LoadedRelease.load(folder)
    return replace(
        release,
        sequence=cast(SequenceModel, Faulty(release.sequence, flags)),
        index=cast(Index, Faulty(release.index, flags)),
    )


def main(root: str, flags: str) -> None:
    """Serves until it is interrupted."""
    home = Home.of(Path(root))
    serve_uvicorn(home, port=0, open_service=partial(Service.open, home, load=partial(load, Path(flags))))


if __name__ == "__main__":
    main(*sys.argv[1:])
