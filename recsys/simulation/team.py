"""Who runs the shards: this process alone, or one spawned process a shard.

Only small messages go to a worker, whose own answers are large: two ends that both block on a full pipe would wait
for ever. So a day's play counts travel as a file.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.errors import RecsysError
from recsys.home import Home
from recsys.simulation.audio import F32
from recsys.simulation.profiles import Profile
from recsys.simulation.shard import Result, Shard

Parts = list[NDArray[np.int64]]
"""Listener numbers of each chunk of a shard."""


class Team(Protocol):
    """Days are started in order, at most two ahead of the one waited for."""

    def start(self, day: int, recent: F32) -> None: ...
    def wait(self) -> NDArray[np.int64]:
        """How often each track was played on the oldest day started and not yet waited for."""
        ...

    def finish(self) -> list[Result]: ...
    def close(self) -> None: ...


class Alone:
    """All in this process."""

    def __init__(self, profile: Profile, home: Home, parts: Parts) -> None:
        self.shard, self.todo = Shard.make(profile, home, parts, "w0"), list[tuple[int, F32]]()

    def start(self, day: int, recent: F32) -> None:
        self.todo.append((day, recent))

    def wait(self) -> NDArray[np.int64]:
        return self.shard.run(*self.todo.pop(0))

    def finish(self) -> list[Result]:
        return [self.shard.finish()]

    def close(self) -> None:
        """Nothing to stop."""


class Processes:
    """One spawned process a shard (never forked: see FINDINGS on fork after parallel work)."""

    def __init__(self, profile: Profile, home: Home, shares: list[Parts]) -> None:
        context = multiprocessing.get_context("spawn")
        self.home, self.pipes = home, list[Connection]()
        self.processes, self.todo = [], list[int]()
        for i, parts in enumerate(shares):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, profile, home, parts, f"w{i}"), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def start(self, day: int, recent: F32) -> None:
        np.save(_recent(self.home, day), recent)
        self.todo.append(day)
        for pipe in self.pipes:
            pipe.send(day)

    def wait(self) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = np.sum([self._receive(pipe) for pipe in self.pipes], axis=0)
        _recent(self.home, self.todo.pop(0)).unlink()
        return counts

    def finish(self) -> list[Result]:
        for pipe in self.pipes:
            pipe.send(None)
        return [self._receive(pipe) for pipe in self.pipes]

    def _receive(self, pipe: Connection):  # type: ignore[no-untyped-def]
        try:
            return pipe.recv()
        except EOFError:
            raise RecsysError(
                "a simulation worker ended early (out of memory or disk?): run again with --workers 1"
            ) from None

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()


def _recent(home: Home, day: int) -> Path:
    return home.world / f"recent-{day}.npy"


def _work(pipe: Connection, profile: Profile, home: Home, parts: Parts, writer: str) -> None:
    shard = Shard.make(profile, home, parts, writer)
    try:
        while (day := pipe.recv()) is not None:
            pipe.send(shard.run(day, np.load(_recent(home, day))))
        pipe.send(shard.finish())
    except (EOFError, BrokenPipeError):
        return
