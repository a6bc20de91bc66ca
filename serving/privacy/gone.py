"""Which decisions were erased: 64-bit hashes of request ids, in one sorted file, with nothing of whose they were.

gone = Gone(home)
gone.add(request_ids, days)
gone.check(request_id)       # raises Erased: "replay is refused", rather than "no such request"
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.errors import Erased
from recsys.files import alone, write_whole
from recsys.home import Home


@dataclass(frozen=True)
class Gone:
    """The erased decisions of one home."""

    home: Home

    @property
    def path(self) -> Path:
        return self.home.privacy / "gone.bin"

    def add(self, request_ids: Iterable[str]) -> int:
        """Notes requests; how many of them were not known."""
        new = np.array([_digest(r) for r in request_ids], np.uint64)
        with alone(self.home.privacy / "gone.lock"):
            known = self._read()
            both = np.union1d(known, new)
            if len(both) > len(known):
                write_whole(self.path, both.astype("<u8").tobytes())
        return len(both) - len(known)

    def __contains__(self, request_id: str) -> bool:
        known, wanted = self._read(), np.uint64(_digest(request_id))
        at = int(np.searchsorted(known, wanted))
        return bool(at < len(known) and known[at] == wanted)

    def __len__(self) -> int:
        return len(self._read())

    def check(self, request_id: str) -> None:
        """Raises Erased where the request's listener was erased."""
        if request_id in self:
            raise Erased(
                f"the listener of request {request_id} was erased: nothing of it is kept, so it cannot be replayed"
            )

    def _read(self) -> NDArray[np.uint64]:
        return np.fromfile(self.path, "<u8") if self.path.exists() else np.zeros(0, np.uint64)


def _digest(request_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest(), "little")
