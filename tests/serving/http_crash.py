"""Kill -9 over HTTP: a real `recsys serve` process on a home, under the harness of tests/eventlog/crash.py.

While the client posts, a reader asks for decisions that nobody made: each such question moves the log to the
lake first, so that kills also hit the move, and asks for home feeds, whose decisions share the log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import polars as pl

from recsys.events import Event
from recsys.home import Home
from recsys.lake import Lake
from serving.access.keys import KeyFile
from tests.columns import moved_to, servers_of
from tests.eventlog.crash import ROOT, Posted

NOBODYS = "0194ce42-9a78-7fef-a3f3-000000000000"
COMMAND = (sys.executable, "-c", "from serving.cli import main; main()", "serve", "--engine", "uvicorn")


@dataclass
class HttpService:
    """One server process at a time over one home."""

    home: Home
    process: subprocess.Popen[str] | None = None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))
    refused: int = 0

    def start(self) -> None:
        before = os.environ.get("PYTHONPATH", "")
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", "--home", str(self.home.root)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}:{before}", "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("recsys is ready at "), line
        self.client = client_of(self.home, line.split()[-1])
        threading.Thread(target=_read, args=(self.home, line.split()[-1]), daemon=True).start()

    def post(self, events: list[Event]) -> list[str]:
        body = {"events": [event.model_dump(mode="json") for event in events]}
        try:
            answer = self.client.post("/v1/events", json=body)
        except httpx.TransportError as error:
            raise ConnectionError(str(error)) from None
        assert answer.status_code == 200, answer.text
        told = answer.json()
        self.refused += len(told["refused"])
        return ["accepted"] * told["accepted"] + ["duplicate"] * told["duplicates"]

    def kill(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self) -> None:
        assert self.process
        self.process.terminate()
        assert self.process.wait(timeout=120) == 0


def client_of(home: Home, address: str) -> httpx.Client:
    """A client of a server over this home, with the operator's key that the server made at its start."""
    token = KeyFile(home.root).operator_token.read_text().strip()
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def _read(home: Home, address: str) -> None:
    """Reads until the server is gone."""
    with contextlib.suppress(httpx.TransportError), client_of(home, address) as client:
        while True:
            assert client.get(f"/v1/decisions/{NOBODYS}").status_code == 404
            assert client.get("/v1/home?limit=1").status_code == 200


@dataclass(frozen=True)
class Outcome:
    """What became of the posted events in the lake."""

    acknowledged: int
    unacknowledged: int
    lost: int  # acknowledged, without a row
    doubled: int  # with more than one row
    arrived: int  # without an acknowledgement, with a row


def outcome(home: Home, posted: Posted) -> Outcome:
    """Counts rows of the lake by event id."""
    ids = (
        Lake(home.lake).scan("events").select("event_id").filter(pl.col("event_id").is_in(list(posted.sent)))
    )
    rows = Counter(ids.collect()["event_id"].to_list())
    return Outcome(
        acknowledged=len(posted.acknowledged),
        unacknowledged=len(posted.sent - posted.acknowledged),
        lost=len(posted.acknowledged - set(rows)),
        doubled=sum(n > 1 for n in rows.values()),
        arrived=len(set(rows) - posted.acknowledged),
    )


def copied(home: Home, folder: Path) -> Home:
    """A copy of what serving needs of a home, to be damaged; on engines, with places of its own there."""
    unneeded = shutil.ignore_patterns("world", "work", "features", "reports", "mlartifacts")
    copy = Home.of(Path(shutil.copytree(home.root, folder / "home", ignore=unneeded)))
    return moved_to(copy, *servers_of(copy)) if copy.engines.log else copy
