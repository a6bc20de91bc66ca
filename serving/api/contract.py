"""What the HTTP layer needs of the service behind it; serving/service.py satisfies it structurally."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from recsys.home import Home
from recsys.ports import CatalogReader
from recsys.types import Ask, Decision
from serving.loaded import LoadedRelease


class Service(Protocol):
    """Synchronous and safe for several threads; every answer is JSON-able."""

    @property
    def catalog(self) -> CatalogReader: ...

    @property
    def place(self) -> Home:
        """The home folder that it serves; nothing of it need exist."""
        ...

    @property
    def observers(self) -> list[Callable[[Decision], None]]:
        """Called with every decision, once its answer is fixed."""
        ...

    def recommend(self, ask: Ask) -> dict[str, Any]:
        """The answer of any surface.

        Raises UnknownId for a seed that is not in the release, BadInput for a cursor it did not write.
        """
        ...

    def similar(self, track_id: str, limit: int) -> dict[str, Any]:
        """Raises UnknownId."""
        ...

    def release(self) -> LoadedRelease:
        """The parts in memory, whose tracks the Spotify drop-in shows. Raises NotReady."""
        ...

    def ingest(self, bodies: list[Any]) -> dict[str, Any]:
        """`{"accepted": n, "duplicates": n, "refused": [{"index": i, "reason": text}]}`, once durable.

        Raises LogUnavailable: nothing was acknowledged.
        """
        ...

    def decision(self, request_id: str) -> dict[str, Any]:
        """The fields of recsys.types.Decision. Raises UnknownId."""
        ...

    def listeners(self, limit: int) -> list[dict[str, Any]]:
        """For the page's picker: `user_id, plays, top_genres`."""
        ...

    def status(self) -> dict[str, Any]: ...

    def ready(self) -> bool: ...

    def reload(self) -> dict[str, Any]: ...

    def close(self) -> None: ...
