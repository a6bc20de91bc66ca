"""What sealing the event log costs: `python -m benchmarks.sealing` prints CPU microseconds a record as JSON.

Building a record for the log and reading it back, in clear and sealed, small (a play) and with a payload of 200 kB; and
the first record of a new listener, who gets a key. The least of five rounds, in CPU time of one thread. Then how long
answers without an id, 200 a second, wait for their key (wall milliseconds): each made when it is needed, and ahead.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.event_log import sample
from recsys.eventlog.frame import entries_of
from recsys.eventlog.sealing import decoded
from recsys.events import Event
from recsys.ids import public_id, uuid7
from recsys.vault import Newcomers, Vault

ROUNDS = 5
NEW = 200


def cpu_us(count: int, work: Callable[[], object]) -> float:
    """CPU microseconds a record."""
    began = time.thread_time()
    work()
    return (time.thread_time() - began) / count * 1e6


def once(events: list[Event], vault: Vault | None) -> tuple[float, float]:
    """(append, read) of some events."""
    append = cpu_us(len(events), lambda: entries_of(events, vault))
    lines = [entry.line for entry in entries_of(events, vault)]
    return append, cpu_us(len(events), lambda: [decoded(line, vault) for line in lines])


def waits(vault: Vault, made_up: Callable[[], str]) -> dict[str, float]:
    """Wall ms from asking for an id to having its key, of requests that come every 5 ms."""
    found = []
    for _ in range(NEW):
        time.sleep(0.005)
        began = time.perf_counter()
        vault.key(made_up())
        found.append((time.perf_counter() - began) * 1000)
    median, most = statistics.median(found), statistics.quantiles(found, n=20)[-1]
    return {"median": round(median, 3), "p95": round(most, 3), "max": round(max(found), 3)}


def measure() -> dict[str, object]:
    """The least of each figure."""
    samples = {
        "small": [sample(i) for i in range(1_500)],
        "200_kB": [sample(9_000 + i, "x" * 200_000) for i in range(15)],
    }
    least: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault(Path(folder))
        for _ in range(ROUNDS):
            for name, events in samples.items():
                for form, given in {"clear": None, "sealed": vault}.items():
                    for what, us in zip(("append", "read"), once(events, given), strict=True):
                        key = f"{name} {what} {form}"
                        least[key] = min(us, least.get(key, us))
        users = [f"{i:022d}" for i in range(NEW)]
        least["new listener"] = cpu_us(NEW, lambda: [vault.key(user) for user in users])
        alone = waits(vault, lambda: public_id("alone", uuid7()))
        ahead = waits(vault, Newcomers(vault).take)
    figures = {name: round(us, 1) for name, us in least.items()}
    return {
        **figures,
        "wait without an id, key made then": alone,
        "wait without an id, key made ahead": ahead,
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
