"""An A/B test of two releases over HTTP, from YAML to report, with listeners whose reactions follow the hidden world.

    python -m benchmarks.ab_over_http --home var --work /tmp/ab

A copy of a simulated home gets a second release (the same, with a ranker of one tree from a few examples), and an
experiment in YAML that compares the two. A server with a simulated clock answers every session start that the world
recorded after its split, moved behind the end of the logs. Listeners look at slots, play, skip and save as the
hidden world says, and post events. `recsys experiment report` reads them. Beside its verdict stands the truth: what
the served slates were worth in expectation, and what each release's slates are worth for the same session starts.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
import yaml

from benchmarks.freshness import headers
from benchmarks.http_home import RECSYS, server
from benchmarks.results import table, write
from recsys.home import Home
from recsys.rewards import RewardWeights
from recsys.simulation import behaviour
from recsys.simulation.truth import Probes, World
from serving.cli.common import progress_bar
from serving.trials import folder

NAME = "weak-ranker"
LIMIT = 10
AT_ONCE = 4
WEAK = {"ranker": {"num_trees": 1, "queries": 200}}


@dataclass
class Served:
    """What was served, and its worth: one entry a request."""

    arm: list[str] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)  # of the reward, over the slots looked at
    looks: list[float] = field(default_factory=list)  # expected number of slots looked at
    failed: int = 0


def prepare(home: Path, work: Path, profile: str) -> Home:
    """A copy of the home with a challenger release; the champion stays."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(home, work, ignore=shutil.ignore_patterns("log", "state.sqlite*"))
    settings = work / "weak.yaml"
    settings.write_text(yaml.safe_dump(WEAK))
    run = [*RECSYS, "index", "--home", str(work), "--profile", profile, "--config", str(settings)]
    made = subprocess.run([*run, "--json"], capture_output=True, text=True, check=True)
    version = str(orjson.loads(made.stdout)["version"])
    for words in (["rollback"], ["promote", version, "--alias", "challenger"]):
        subprocess.run([*RECSYS, "release", *words, "--home", str(work)], check=True, capture_output=True)
    return Home.of(work)


def written(home: Home, start: datetime, days: int) -> Path:
    """The experiment, as somebody would write it down."""
    stop = start + timedelta(days=days)
    body: dict[str, Any] = {
        "metrics": [
            {
                "name": "reward_per_shown",
                "kind": "ratio",
                "direction": "increase",
                "numerator": "reward",
                "denominator": "shown",
                "description": "Reward of a recommended track that was seen.",
            }
        ],
        "experiments": [
            {
                "name": NAME,
                "description": "A ranker of one tree costs listeners' satisfaction.",
                "owner": "benchmarks",
                "salt": "weak-ranker-1",
                "start": start.isoformat(),
                "stop": stop.isoformat(),
                "arms": [
                    {"name": "control", "weight": 0.5},
                    {"name": "one-tree", "weight": 0.5, "release": "challenger"},
                ],
                "question": {
                    "primary": "reward_per_shown",
                    "secondary": ["skip_rate"],
                    "guardrails": [
                        {"metric": "hours", "margin": 0.1},
                        {"metric": "latency", "margin": 50.0, "scale": "absolute"},
                    ],
                    "mde": 0.1,
                    "stopping": {"rule": "group_sequential", "looks": 3},
                },
            }
        ],
    }
    path = folder(home) / "weak-ranker.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(body, sort_keys=False))
    return path


class Listeners:
    """Session starts of the hidden world, moved behind the end of its logs, and how their listeners react."""

    def __init__(self, home: Home, seed: int, most: int) -> None:
        self.world = World.load(home)
        days = self.world.profile.days - self.world.profile.split_day
        self.days, self.shift_ms = days, days * 86_400_000
        self.probes: Probes = self.world.probes(most, seed)
        self.order = np.argsort(self.probes.now, kind="stable")
        self.column = {track: i for i, track in enumerate(self.world.track_ids)}
        self.seed = seed

    @property
    def start(self) -> datetime:
        return datetime.fromtimestamp((self.world.split_ms + self.shift_ms) / 1000, UTC)

    def now(self, i: int) -> int:
        return int(self.probes.now[i]) + self.shift_ms

    def path(self, i: int) -> str:
        p = self.probes
        asked = (
            f"user_id={p.user_id[i]}&limit={LIMIT}&country={p.country[i]}&tz={p.tz[i]}&device={p.device[i]}"
        )
        return f"/v1/home?{asked}"

    def react(self, i: int, answer: dict[str, Any]) -> tuple[list[dict[str, Any]], float, float]:
        """The events of one answer; and the expected reward and number of slots looked at, by the hidden world."""
        slots = [(shelf["id"], item) for shelf in answer["shelves"] for item in shelf["items"]]
        columns = np.array([[self.column[item["track_id"]] for _, item in slots]])
        rows = np.array([i])
        play = self.world.play_probabilities(self.probes, rows, columns)[0]
        finish, skip, save = self.world.outcome_probabilities(self.probes, rows, columns)[0].T
        look = behaviour.examine(np.arange(len(slots)))
        w = RewardWeights()
        partly = 1 - finish - skip
        worth = w.finished * finish + w.streamed * partly + w.skipped * skip + w.saved * save
        draw = np.random.default_rng([self.seed, i]).random((4, len(slots)))
        events: list[dict[str, Any]] = []
        at = self.now(i)
        for j in np.flatnonzero(draw[0] < look):
            shelf, item = slots[j]
            common = self._common(i, answer, item)
            shown = {"kind": "impression", "surface": "home", "shelf": shelf, "position": int(j)}
            events.append(common | shown | {"ts": _iso(at + 100 * int(j))})
            if draw[1, j] < play[j]:
                at, more = self._played(common, at, item, draw[2, j], draw[3, j], finish[j], skip[j], save[j])
                events += more
        return events, float((look * play * worth).sum()), float(look.sum())

    def _common(self, i: int, answer: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        return {
            "user_id": self.probes.user_id[i],
            "request_id": answer["request_id"],
            "track_id": item["track_id"],
            "session_id": f"ab-{i}",
            "device": self.probes.device[i],
        }

    def _played(
        self,
        common: dict[str, Any],
        at: int,
        item: dict[str, Any],
        u: float,
        v: float,
        finish: float,
        skip: float,
        save: float,
    ) -> tuple[int, list[dict[str, Any]]]:
        """How one play ends: to the end, before 30 s, or in between; and whether the track is saved."""
        length = int(item.get("duration_ms") or 200_000)
        ended, reason = (length, "trackdone") if u < finish else (40_000, "fwdbtn")
        if finish <= u < finish + skip:
            ended = 9_000
        begun = at + 5_000
        play = {"kind": "play_end", "ms_played": ended, "reason_end": reason, "surface": "home"}
        out = [common | play | {"ts": _iso(begun + ended)}]
        if u < finish and v < save / max(finish, 1e-9):
            out.append(common | {"kind": "save", "ts": _iso(begun + ended)})
        return begun + ended, out


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


async def listen(
    address: str, home: Home, listeners: Listeners, progress: Callable[[int, int], None]
) -> Served:
    """All session starts in the order of their time, a few at once."""
    served, lines = Served(), asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(address, headers=headers(home)) as session:

        async def one(i: int) -> None:
            async with lines:
                clock = {"Recsys-Now": str(listeners.now(i))}
                async with session.get(listeners.path(i), headers=clock) as answer:
                    body = await answer.json()
                    if answer.status != 200:
                        served.failed += 1
                        return
                events, worth, looks = listeners.react(i, body)
                for n, event in enumerate(events):
                    event["event_id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{body['request_id']}:{n}"))
                late = {"Recsys-Now": str(listeners.now(i) + 3_600_000)}
                async with session.post(
                    "/v1/events", data=orjson.dumps({"events": events}), headers=late
                ) as told:
                    kept = await told.json()
                    served.failed += told.status != 200 or bool(kept["refused"])
                async with session.get(f"/v1/decisions/{body['request_id']}") as record:
                    served.arm.append((await record.json())["arms"].get(NAME, ""))
                served.expected.append(worth)
                served.looks.append(looks)

        for block in range(0, len(listeners.order), 64):
            await asyncio.gather(*(one(int(i)) for i in listeners.order[block : block + 64]))
            progress(min(block + 64, len(listeners.order)), len(listeners.order))
    return served


def truth(served: Served) -> dict[str, float]:
    """Expected reward of a slot looked at, by arm, of the slates that were served."""
    arm, worth, looks = np.array(served.arm), np.array(served.expected), np.array(served.looks)
    values = {
        name: float(worth[arm == name].sum() / looks[arm == name].sum()) for name in ("control", "one-tree")
    }
    return {**values, "lift": values["one-tree"] / values["control"] - 1}


def report(home: Home, until: datetime) -> dict[str, Any]:
    """What `recsys experiment report` says at a time."""
    run = [
        *RECSYS,
        "experiment",
        "report",
        NAME,
        "--home",
        str(home.root),
        "--until",
        until.isoformat(),
        "--json",
    ]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def measure(home: Path, work: Path, profile: str, seed: int, most: int) -> dict[str, Any]:
    """One whole test."""
    copy = prepare(home, work, profile)
    listeners = Listeners(copy, seed, most)
    written(copy, listeners.start, listeners.days)
    subprocess.run([*RECSYS, "experiment", "validate", "--home", str(work)], check=True)
    with server(work, "uvicorn", 1, "--simulated-clock") as address, progress_bar("sessions") as progress:
        served = asyncio.run(listen(address, copy, listeners, progress))
    looks = {}
    for day in range(1, listeners.days + 1):
        if day in _looks(listeners.days):
            looks[day] = report(copy, listeners.start + timedelta(days=day, minutes=1))
    return {
        "sessions": len(listeners.order),
        "failed": served.failed,
        "true": truth(served),
        "verdicts": {str(day): found["verdict"] for day, found in looks.items()},
        "metrics": [_short(row) for row in looks[listeners.days]["metrics"]],
        "sample_ratio": looks[listeners.days]["sample_ratio"]["p"],
    }


def _looks(days: int) -> set[int]:
    """The days after which the rule looks: thirds of the time, on whole days."""
    return {int(days * share / 3) for share in (1, 2, 3)}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    effect = row["effect"]
    return {
        "metric": row["metric"],
        "standing": row["standing"],
        "control": effect["control_value"],
        "treatment": effect["treatment_value"],
        "lift": effect["lift"],
        "low": row["low"],
        "high": row["high"],
        "p": row["p"],
        "variance_reduction": effect["variance_reduction"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--work", type=Path, required=True, help="folder for the copy of the home; replaced")
    parser.add_argument("--profile", default="demo", help="of the home: tiny, demo or large")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sessions", type=int, default=1_000_000, help="at most so many")
    given = parser.parse_args()
    found = measure(given.home, given.work, given.profile, given.seed, given.sessions)
    for day, verdict in found["verdicts"].items():
        print(f"day {day}: {verdict['sentence']}")
    rows = [
        [m["metric"], m["standing"], m["control"], m["treatment"], m["lift"], m["p"]]
        for m in found["metrics"]
    ]
    table(["metric", "standing", "control", "treatment", "lift", "p"], rows)
    print(f"truth of the served slates: {found['true']}")
    print(write("ab-over-http", found))


if __name__ == "__main__":
    main()
