"""How one server is watched, in one value: `create_app(service, watching=Watching.of_server())`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from serving.watch import tracing
from serving.watch.board import Board
from serving.watch.logs import configure, from_environment
from serving.watch.recent import Recent
from serving.watch.tracing import Tracing


@dataclass(frozen=True)
class Watching:
    """The default watches this process alone, without traces and log lines of good requests."""

    tracing: Tracing | None = None
    board: Board | None = None  # None: one replica
    requests: float = 0.0  # share of good requests that get a log line
    recent: Recent = field(default_factory=Recent)

    @classmethod
    def of_server(cls, board: Path | None = None) -> Watching:
        """As the environment says (RECSYS_LOG_*, OTEL_*); sets up this process's logging.

        Args:
            board: the folder that the replicas of one machine share; None where there is one process only.

        Raises:
            BadInput: an exporter or ratio that cannot be used.
        """
        settings = from_environment()
        configure(settings)
        return cls(tracing.from_environment(), None if board is None else Board(board), settings.requests)
