"""One A/B test over HTTP, on live listeners, from its YAML to its own stop; what is true of it stands beside.

    python -m benchmarks.live_ab_http --home var --work /tmp/live-ab-http

A service explores half of its slots; the test asks whether a twentieth is better. A copy of a simulated home gets the
YAML, the planner says what its listeners can show, and a server with a simulated clock answers them day by day: who
they are, when they come and what they do is the live world's. Every evening `recsys experiment report --stop` reads
the log and ends the test when its rule is done; one more day shows that the server has let it go. The truth is the
same mixed world without a server: lived again with other luck, with the arms' listeners exchanged, all on and all off.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import yaml

from benchmarks.freshness import headers
from benchmarks.http_home import RECSYS, server
from benchmarks.live_ab_worlds import CONTROL, NAME, TREATMENT, sums
from benchmarks.results import table, write
from experiments.config import Config
from experiments.report.verdict import FINAL
from recsys.home import Home
from recsys.ingest import caught_up
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import LiveSettings, LiveWorld, days
from recsys.simulation.live.http import HttpPolicy
from serving.cli.common import progress_bar
from serving.loop.place import made, profile_of, start_day
from serving.loop.policies import SETTINGS
from serving.loop.service_policy import ServicePolicy
from serving.loop.trial import told_until
from serving.service import Service
from serving.trials import folder

MUCH, LITTLE, DAYS = 0.5, 0.05, 14
TICKS = LiveSettings(measured=0, tick_minutes=45)
PATH = "home.epsilon"


def written(start: datetime, salt: str, epsilons: tuple[float, float], mde: float = 0.3) -> dict[str, Any]:
    """The file, as an experimenter writes it: what both arms set, what is asked, when it may stop."""
    skips = {"numerator": "shown_skipped", "denominator": "shown_played"}
    arms = [
        {"name": name, "weight": 0.5, "parameters": {PATH: epsilon}}
        for name, epsilon in zip((CONTROL, TREATMENT), epsilons, strict=True)
    ]
    question = {
        "primary": "reward",
        "secondary": ["skip_rate"],
        "guardrails": [{"metric": "home_skips", "margin": 0.25}],
        "mde": mde,
        "stopping": {"rule": "group_sequential", "looks": 4},
    }
    return {
        "metrics": [
            {"name": "reward", "kind": "mean", "direction": "increase", "description": "Reward a day."},
            {"name": "home_skips", "kind": "ratio", "direction": "decrease", **skips},
        ],
        "experiments": [
            {
                "name": NAME,
                "description": "Half of the slots explore; a twentieth is enough, and pleases more.",
                "owner": "home",
                "salt": salt,
                "start": start.isoformat(),
                "stop": (start + timedelta(days=DAYS)).isoformat(),
                "surfaces": ["home"],
                "arms": arms,
                "question": question,
            }
        ],
    }


def recsys(home: Home, *words: str) -> str:
    """What a command says; stops the program where it fails."""
    run = [*RECSYS, *words, "--home", str(home.root)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr + done.stdout)
    return done.stdout


def begun(source: Home, listeners: int | None) -> LiveWorld:
    """The home's listeners on the morning after the champion's last data."""
    profile = profile_of(source)
    catalog = Catalog.load(source.world / "catalog.npz")
    world = LiveWorld.at(profile, catalog, start_day(source, profile))
    return world.only(listeners) if listeners else world


def over_http(
    source: Home, world: LiveWorld, work: Path, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """The test itself."""
    home = made(source, work / "home", world.day, world.profile)
    start = told_until(world) + timedelta(days=2)
    path = folder(home) / "exploring-less.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(written(start, "exploring-less-1", (MUCH, LITTLE)), sort_keys=False))
    recsys(home, "experiment", "validate")
    plan = orjson.loads(recsys(home, "experiment", "plan", NAME, "--json"))
    evenings: list[dict[str, Any]] = []
    pages, begin = 0, time.perf_counter()
    with (
        server(home.root, "uvicorn", 1, "--simulated-clock") as address,
        HttpPolicy(address, world.track_ids, headers=headers(home)) as policy,
    ):
        while told_until(world) < start + timedelta(days=DAYS):
            [lived] = days(world, policy, TICKS, 1)
            pages += lived.figures.pages
            now = told_until(world)
            progress(len(evenings), DAYS)
            if now <= start:
                continue
            evenings.append(_evening(home, now))
            if evenings[-1]["final"]:
                break
        seconds = time.perf_counter() - begin
        before = _answers(home)
        time.sleep(1.0)  # the server looks at the files every 0.2 s
        list(days(world, policy, TICKS, 1))
    after = _answers(home).join(before, on="event_id", how="anti")
    return {
        "plan": {"units": plan["units"], "days": plan["days"], "detectable": plan["detectable"]},
        "evenings": evenings,
        "pages": pages,
        "seconds": seconds,
        "days": len(evenings),
        "after_stop": {"answers": after.height, "exposed": int(after["exposed"].is_not_null().sum())},
        "salt": "exploring-less-1",
    }


def _evening(home: Home, now: datetime) -> dict[str, Any]:
    """The day's report, by the command that an operator runs every night."""
    found = orjson.loads(
        recsys(home, "experiment", "report", NAME, "--until", now.isoformat(), "--stop", "--json")
    )
    row = next((r for r in found["metrics"] if r["metric"] == "reward"), None)
    shown = {} if row is None else {key: row[key] for key in ("estimate", "low", "high", "kind", "standing")}
    effect = {} if row is None else {key: row["effect"][key] for key in ("control_value", "lift", "se")}
    units = [arm["units"] for arm in found["arms"]]
    verdict = found["verdict"]
    return {
        "until": now.isoformat(),
        "decision": verdict["decision"],
        "sentence": verdict["sentence"],
        "final": verdict["decision"] in FINAL,
        "units": units,
        **shown,
        **effect,
    }


def _answers(home: Home) -> pl.DataFrame:
    """Every decision so far: event_id, exposed."""
    events = caught_up(home).scan("events").filter(pl.col("kind") == "decision")
    return events.select("event_id", "exposed").collect()


def lived(
    source: Home, morning: LiveWorld, work: Path, epsilons: tuple[float, float], seed: int, until: int
) -> Any:
    """By arm, (1, 2): reward and listener-days, of the mixed world without a server, for so many days of the test."""
    world = copy.deepcopy(morning)
    world.luck = 1000 + seed
    shutil.rmtree(work, ignore_errors=True)
    home = made(source, work, world.day, world.profile)
    start = told_until(world) + timedelta(days=2)
    test = Config.model_validate(written(start, f"truth-{seed}", epsilons))
    with Service.open(home, SETTINGS, test, background=False) as service:
        policy = ServicePolicy(service, world.track_ids)
        while told_until(world) < start + timedelta(days=until):
            list(days(world, policy, TICKS, 1))
    found = sums(caught_up(home).scan("events").collect(), test, [until])
    shutil.rmtree(work)
    return found


def truth(source: Home, morning: LiveWorld, work: Path, seed: int, until: int) -> dict[str, Any]:
    """One replicate: the mixed world twice, arms exchanged, and all on and all off."""
    runs = {
        both: lived(source, morning, work, both, seed, until)
        for both in ((MUCH, LITTLE), (LITTLE, MUCH), (LITTLE, LITTLE), (MUCH, MUCH))
    }
    old = runs[MUCH, LITTLE][CONTROL] + runs[LITTLE, MUCH][TREATMENT]
    new = runs[MUCH, LITTLE][TREATMENT] + runs[LITTLE, MUCH][CONTROL]
    on, off = (sum(runs[e, e].values()) for e in (LITTLE, MUCH))
    old_, new_, on_, off_ = (float(x[0, 0] / x[0, 1]) for x in (old, new, on, off))
    return {"seed": seed, "old": old_, "effect": new_ - old_, "all_on_off": on_ - off_}


def measure(home: Path, work: Path, seeds: int, listeners: int | None = None) -> dict[str, Any]:
    """The test, and what is true of it at its stop."""
    source = Home.of(home)
    morning = begun(source, listeners)
    work.mkdir(parents=True, exist_ok=True)
    kept, truths = work / "test.json", work / "truth.jsonl"
    if not kept.exists():
        shutil.rmtree(work / "home", ignore_errors=True)
        with progress_bar("days over HTTP") as progress:
            kept.write_bytes(orjson.dumps(over_http(source, copy.deepcopy(morning), work, progress)))
    found = orjson.loads(kept.read_bytes())
    rows = [orjson.loads(line) for line in truths.read_bytes().splitlines()] if truths.exists() else []
    with progress_bar("replicates") as progress:
        for seed in range(len(rows), seeds):
            rows.append(truth(source, morning, work / "truth", seed, found["days"]))
            with truths.open("ab") as out:
                out.write(orjson.dumps(rows[-1]) + b"\n")
            progress(seed + 1, seeds)
    effect, whole = (np.array([row[key] for row in rows]) for key in ("effect", "all_on_off"))
    return {
        **found,
        "truth": {
            "replicates": rows,
            "effect": float(effect.mean()),
            "effect_se": _se(effect),
            "all_on_off": float(whole.mean()),
            "interference": float((effect - whole).mean()),
            "interference_se": _se(effect - whole),
            "relative": float(effect.mean() / np.mean([row["old"] for row in rows])),
        },
    }


def _se(values: np.ndarray) -> float | None:
    """Of their mean; one replicate tells none."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for copies of the home; resumes there"
    )
    parser.add_argument("--listeners", type=int, default=None, help="the first so many; absent: all")
    parser.add_argument("--seeds", type=int, default=3, help="replicates for the truth")
    given = parser.parse_args()
    found = measure(given.home, given.work, given.seeds, given.listeners)
    head = ["until", "units", "reward", "low", "high", "decision"]
    rows = [
        [e["until"][:10], "/".join(map(str, e["units"])), *(e.get(k) for k in ("estimate", "low", "high")),
         e["decision"]]
        for e in found["evenings"]
    ]  # fmt: skip
    table(head, rows)
    print(found["evenings"][-1]["sentence"], found["after_stop"], found["truth"], sep="\n")
    print(write("live-ab-http", found))


if __name__ == "__main__":
    main()
