"""A stream job to be killed: folds a log into a store until standard input ends, then to the log's end.

python -m tests.state.stream_job FOLDER [REDIS_URL PREFIX]
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from recsys.eventlog import LocalEventLog, LogSettings
from recsys.events import Event
from recsys.ids import public_id, uuid7

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 3, 28, tzinfo=UTC)
FORGETFUL = LogSettings(segment_bytes=200_000, horizon_events=1_000)
"""A log that soon forgets ids: later repetitions get into it, and only the states can drop them."""


def history(listeners: int, events: int, seed: int) -> list[Event]:
    """Events as they reach the log: out of order, hours late, with wrong clocks, repeated, from every kind."""
    draw = random.Random(seed)
    users = [public_id("stream", f"user {i}") for i in range(listeners)]
    out: list[Event] = []
    for number in range(events):
        again = draw.random()
        if out and again < 0.03:  # sent again, at once or much later
            out.append(out[-1] if again < 0.01 else draw.choice(out))
            continue
        late = draw.choice([0, 0, 0, 0, draw.randrange(36_000), -draw.randrange(600)])
        body = _body(draw, draw.choice(users), START + timedelta(seconds=number * 2 - late))
        out.append(Event.model_validate({"event_id": uuid7(number, number), **body}))
    return out


def _body(draw: random.Random, user: str, at: datetime) -> dict[str, Any]:
    kind = draw.choices(
        ("play_end", "play_start", "save", "unsave", "not_interested", "follow"), (80, 5, 4, 4, 4, 3)
    )[0]
    body: dict[str, Any] = {"kind": kind, "user_id": user, "ts": at}
    if kind == "follow":
        return body | {"artist_id": public_id("stream", f"artist {draw.randrange(50)}")}
    body |= {"track_id": public_id("stream", f"track {draw.randrange(2_000)}")}
    body |= {"incognito_mode": draw.random() < 0.02, "consent_personalization": draw.random() > 0.01}
    if kind == "play_end":
        body |= {"ms_played": draw.choice([4_000, 30_000, 180_000]), "tz": draw.choice([None, "Asia/Tokyo"])}
        body |= {"reason_end": draw.choice(["trackdone", "fwdbtn"]), "device": draw.choice([None, "mobile"])}
    return body


def killed_stream(
    folder: Path, place: Sequence[str], events: Sequence[Event], kills: int, longest: float, seed: int
) -> int:
    """Appends events while a job folds them and is killed at random points; ends when all are folded.

    Returns how many kills found the job with records still to fold.
    """
    draw, log = random.Random(seed), LocalEventLog(folder / "log", FORGETFUL)

    def write() -> None:
        for first in range(0, len(events), 500):
            log.append(events[first : first + 500])

    writer = threading.Thread(target=write)
    writer.start()
    busy = 0
    for _ in range(kills):
        job = _start(folder, place)
        time.sleep(draw.uniform(0, longest))
        os.kill(job.pid, signal.SIGKILL)
        rest = job.communicate()[0]
        busy += not rest.endswith("idle\n") or writer.is_alive()
    writer.join()
    log.close()
    job = _start(folder, place)
    job.communicate()
    assert job.returncode == 0
    return busy


def _start(folder: Path, place: Sequence[str]) -> subprocess.Popen[str]:
    job = subprocess.Popen(
        [sys.executable, "-m", "tests.state.stream_job", str(folder), *place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    assert job.stdout
    assert job.stdout.readline() == "ready\n"
    return job


def main(folder: str, *place: str) -> None:
    from recsys.state_redis import RedisStore
    from recsys.state_store import LocalStore, StateStore, StateUpdater

    log = LocalEventLog(Path(folder) / "log", FORGETFUL)
    store: StateStore = RedisStore(*place) if place else LocalStore(Path(folder) / "state.sqlite")
    updater = StateUpdater(log, store, batch=500)
    print("ready", flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        if updater.catch_up():
            print("idle", flush=True)
        time.sleep(0.001)
    updater.catch_up()


if __name__ == "__main__":
    main(*sys.argv[1:])
