"""Throughput of the event log: `python -m benchmarks.event_log [FOLDER | kafka://host:port/topic]` prints JSON.

Without an argument the embedded log in a temporary folder. Singly (one client, one fsync an event), from 16 threads
(group commit), in batches of 500, with a payload as large as a decision's, and reading back.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from recsys.eventlog import LocalEventLog
from recsys.eventlog_kafka import KafkaEventLog
from recsys.events import Event
from recsys.ids import public_id, uuid7
from recsys.ports import EventLog

_AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
_THREADS = 16


def sample(number: int, payload: str | None = None) -> Event:
    """A numbered play."""
    body = {
        "event_id": uuid7(1_770_000_000_000 + number, entropy=number),
        "kind": "play_end",
        "user_id": public_id("bench", str(number % 100)),
        "track_id": public_id("bench", str(number % 1000)),
        "ts": _AT,
        "received_at": _AT,
        "ms_played": 200_000,
        "reason_end": "trackdone",
        "device": "mobile",
        "surface": "home",
        "payload": payload,
    }
    return Event.model_validate(body)


def per_second(count: int, work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return round(count / (time.perf_counter() - began), 1)


def measure(open_: Callable[[], EventLog]) -> dict[str, float]:
    """Events per second by way of appending and reading, on an empty log."""
    log = open_()
    events = [sample(i) for i in range(60_000)]

    def singly(part: list[Event]) -> None:
        for event in part:
            log.append([event])

    def threaded() -> None:
        size = 8_000 // _THREADS
        parts = [events[2_000 + i * size : 2_000 + (i + 1) * size] for i in range(_THREADS)]
        threads = [threading.Thread(target=singly, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def batched() -> None:
        for first in range(10_000, len(events), 500):
            log.append(events[first : first + 500])

    reader = open_()

    def read() -> None:  # by one who did not write them, and decodes
        for _ in reader.read(0, len(events)):
            pass

    def follow() -> None:  # by the writer, a batch behind
        for first in range(60_000, 70_000, 500):
            log.append(later[first - 60_000 : first - 59_500])
            for _ in log.read(first, 500):
                pass

    later = [sample(i) for i in range(60_000, 70_000)]
    decisions = [sample(100_000 + i, "x" * 200_000) for i in range(200)]
    return {
        "single": per_second(2_000, lambda: singly(events[:2_000])),
        f"single_{_THREADS}_threads": per_second(8_000, threaded),
        "batch_500": per_second(50_000, batched),
        "append_and_follow_500": per_second(10_000, follow),
        "single_200_kB": per_second(200, lambda: singly(decisions)),
        "read": per_second(len(events), read),
        "open_seconds": round(1 / per_second(1, lambda: open_().close()), 3),
    }


def main(place: str = "") -> None:
    if place.startswith("kafka://"):
        figures = measure(lambda: KafkaEventLog.of_url(place))
    else:
        with tempfile.TemporaryDirectory(dir=place or None) as scratch:
            figures = measure(lambda: LocalEventLog(Path(scratch)))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
