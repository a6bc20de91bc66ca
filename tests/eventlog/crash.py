"""Kill -9 harness: a client posts and retries while its service is killed at random points.

Works on anything that can be started, posted to and killed (`Service`): the log with its mover here
(`python -m tests.eventlog.crash FOLDER` is that service), the HTTP server elsewhere.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from recsys.events import Event
from recsys.lake import Lake

ROOT = Path(__file__).resolve().parents[2]


class Service(Protocol):
    def start(self) -> None:
        """Returns when it answers."""

    def post(self, events: list[Event]) -> list[str]:
        """What became of each event; raises OSError where the service died."""

    def kill(self) -> None:
        """SIGKILL."""

    def finish(self) -> None:
        """Ends it in good order, with everything moved to the lake."""


@dataclass
class Posted:
    """Event ids by what the client knows of them."""

    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    kills: int = 0


def run(
    service: Service, kills: int, make: Callable[[int], Event], seed: int, longest: float = 0.4
) -> Posted:
    """Posts batches of 1 to 20 events; retries an unanswered batch, or gives it up one time in four."""
    random_ = random.Random(seed)
    posted = Posted()
    number, pending = 0, list[Event]()
    for kill in range(kills + 1):
        service.start()
        timer = threading.Timer(random_.uniform(0.0, longest), service.kill)
        if kill < kills:
            timer.start()
        deadline = time.monotonic() + longest
        while kill < kills or pending or time.monotonic() < deadline:
            if not pending:
                size = random_.randint(1, 20)
                pending = [make(i) for i in range(number, number + size)]
                number += size
            posted.sent.update(event.event_id for event in pending)
            try:
                answers = service.post(pending)
            except OSError:
                posted.kills += 1
                if random_.random() < 0.25:
                    pending = []
                break
            assert set(answers) <= {"accepted", "duplicate"}, answers
            posted.acknowledged.update(event.event_id for event in pending)
            pending = []
        timer.cancel()
        timer.join() if timer.ident else None
    service.finish()
    return posted


def check(lake: Lake, posted: Posted) -> None:
    """Every acknowledged event has exactly one row, every other one zero or one."""
    rows = Counter(lake.scan("events").select("event_id").collect()["event_id"].to_list())
    assert set(rows) <= posted.sent
    assert posted.acknowledged <= set(rows), (
        f"{len(posted.acknowledged - set(rows))} acknowledged events lost"
    )
    assert max(rows.values(), default=1) == 1, "an event has more than one row"


@dataclass
class LogService:
    """The embedded log and a busy mover in a process of their own, spoken to by lines on pipes."""

    folder: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.eventlog.crash", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._line()

    def post(self, events: list[Event]) -> list[str]:
        assert self.process
        assert self.process.stdin
        self.process.stdin.write(json.dumps([e.model_dump(mode="json") for e in events]) + "\n")
        self.process.stdin.flush()
        answers: list[str] = json.loads(self._line())
        return answers

    def kill(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self) -> None:
        assert self.process
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0

    def _line(self) -> str:
        assert self.process
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise ConnectionError("the service died")
        return line


def serve(folder: Path) -> None:
    """Answers batches on standard input until it is closed."""
    from recsys.eventlog import LocalEventLog, LogSettings
    from recsys.ingest import Mover

    log = LocalEventLog(folder / "log", LogSettings(segment_bytes=20_000))
    with Mover(log, Lake(folder / "lake"), interval=0.005):
        print("ready", flush=True)
        for line in sys.stdin:
            bodies: list[dict[str, Any]] = json.loads(line)
            outcomes = log.append([Event.model_validate(body) for body in bodies])
            print(json.dumps(outcomes), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
