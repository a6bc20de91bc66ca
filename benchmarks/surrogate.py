"""A surrogate of 28-day return against 15 held-out policies: does a first week order them as their month does?

    python -m benchmarks.surrogate --work DIR            # about 25 CPU-minutes; goes on where it was stopped
    python -m benchmarks.surrogate --work DIR --judge    # only what is rolled out already

Truth: days with a session in days 8..28, mean over all listeners who were there on the morning before, from 28-day
roll-outs under four lucks (common random numbers: within a luck, listeners meet the same one under every policy). Days,
not "was back in the last week": most members come back in any week whatever happens, so that answer tells least.
The surrogate learns from 8 other policies under two other lucks. It sees one luck's first week; the truth beside it is
the mean of the other lucks, so no noise is shared. Immediate streams are plays of 30 s or more in the same days, from
anywhere (an experiment's metric `streams`), and, as a second, those from home alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from benchmarks.results import FOLDER, table, write
from benchmarks.surrogate_judge import Judged, agreement, as_experiments, covered, truth
from benchmarks.surrogate_plot import picture
from benchmarks.surrogate_policies import HELD_OUT, TRAINING
from benchmarks.surrogate_rollouts import DAYS, SEEDS, TRAINING_SEEDS, Begun, plan, slug
from experiments.analysis.moments import F64
from experiments.long_term.check import surrogacy
from experiments.long_term.signals import Told, signals
from experiments.long_term.state import load, save
from experiments.long_term.surrogate import Surrogate, SurrogateSettings, fit

WINDOWS = (3, 7, 14)
PRIMARY = 7
BEFORE = ("before_plays", "before_active", "before_finishes")
I64 = NDArray[np.int64]


def told_of(begun: Begun, name: str, seed: int) -> Told:
    """What a service is told of one run, the days before included."""
    places = [begun.folder / "before", begun.folder / f"{slug(name)}-{seed}"]
    plays = pl.concat(pl.read_parquet(place / "plays.parquet") for place in places)
    marks = pl.concat(pl.read_parquet(place / "marks.parquet") for place in places)
    saves = plays.filter("saved").group_by("unit", "day").len("count")
    return Told(plays, pl.concat([marks, saves.select("unit", "count", "day", what=pl.lit("saves"))]))


def frame_of(begun: Begun, name: str, seed: int, days: int, units: pl.DataFrame) -> pl.DataFrame:
    """Signals of one run, kept beside it: runs never change."""
    path = begun.folder / f"{slug(name)}-{seed}" / f"signals-{days}.parquet"
    if not path.exists():
        signals(told_of(begun, name, seed), units, days).write_parquet(path)
    return pl.read_parquet(path)


def learned(begun: Begun, days: int, cohort: I64) -> tuple[Surrogate, dict[str, Any]]:
    """The surrogate of the training policies, and how far it holds for them (fold by fold); kept beside the runs."""
    kept, said = (begun.folder / f"{name}-{days}.json" for name in ("surrogate", "training"))
    if said.exists():
        return load(kept), orjson.loads(said.read_bytes())
    units = pl.DataFrame({"unit": cohort.astype(np.int32)})
    frames, outcomes, names = [], [], []
    for seed in TRAINING_SEEDS:
        for name in TRAINING:
            frames.append(frame_of(begun, name, seed, days, units))
            outcomes.append(returns(begun, name, seed, days, cohort))
            names += [name] * len(cohort)
    frame, outcome, policy = pl.concat(frames), np.concatenate(outcomes), np.array(names)
    made = fit(frame, outcome, policy, SurrogateSettings(days=days, horizon=DAYS))
    found = surrogacy(made, frame, outcome, policy)
    facts: dict[str, Any] = {
        "gap": made.gap,
        "slope": found.slope,
        "slope_se": found.slope_se,
        "p_value": found.p_value,
    }
    facts |= {"explained": found.explained, "direct": [vars(d) for d in found.direct]}
    save(kept, made)
    said.write_bytes(orjson.dumps(facts))
    return made, facts


def returns(begun: Begun, name: str, seed: int, days: int, cohort: I64) -> F64:
    """(listeners,) days with a session after the first `days`."""
    return np.asarray(begun.active(name, seed)[cohort, days:].sum(1), np.float64)


def judged(begun: Begun, made: Surrogate, days: int, seeds: list[int], cohort: I64) -> Judged:
    """The held-out policies under each luck: what their first days say, and what came of it.

    Of one luck alone every other listener is a luck of their own: nobody's draws depend on the others.
    """
    units = pl.DataFrame({"unit": cohort.astype(np.int32)})
    whole, half = np.arange(len(cohort)), np.arange(len(cohort) // 2)
    blocks = (
        [(s, whole) for s in seeds] if len(seeds) > 1 else [(seeds[0], 2 * half), (seeds[0], 2 * half + 1)]
    )
    frames = {
        (name, i): frame_of(begun, name, seed, days, units)[rows]
        for name in HELD_OUT
        for i, (seed, rows) in enumerate(blocks)
    }

    def stack(value: Callable[[str, int], F64]) -> F64:
        return np.stack([np.stack([value(name, i) for i in range(len(blocks))]) for name in HELD_OUT])

    def column(signal: str) -> F64:
        return stack(lambda name, i: frames[name, i][signal].to_numpy())

    def came(name: str, i: int) -> F64:
        seed, rows = blocks[i]
        return returns(begun, name, seed, days, cohort[rows])

    def back(name: str, i: int) -> F64:
        seed, rows = blocks[i]
        return np.asarray(begun.active(name, seed)[cohort[rows], -7:].any(1), np.float64)

    return Judged(
        tuple(HELD_OUT),
        len(blocks),
        frames,
        made,
        told=stack(lambda name, i: made.predict(frames[name, i])),
        streams=column("streams"),
        home=column("home_streams"),
        before=np.stack([column(signal)[0] for signal in BEFORE], axis=1),
        true=stack(came),
        back=stack(back),
    )


def measure(begun: Begun, seeds: list[int]) -> dict[str, Any]:
    cohort, found = begun.cohort(), {}
    for days in WINDOWS:
        made, facts = learned(begun, days, cohort)
        whole = judged(begun, made, days, seeds, cohort)
        found[str(days)] = {"training": facts, "agreement": agreement(whole)}
        if days == PRIMARY:
            found[str(days)] |= {
                "policies": truth(whole),
                "as_experiments": as_experiments(whole),
                "intervals": covered(whole),
            }
    return {
        "listeners": begun.profile.listeners,
        "cohort": len(cohort),
        "tracks": begun.profile.tracks,
        "seeds": seeds,
        "training_seeds": list(TRAINING_SEEDS),
        "training": list(TRAINING),
        "speed": speed(begun, seeds),
        "windows": found,
    }


def speed(begun: Begun, seeds: list[int]) -> dict[str, float]:
    """Sessions a CPU-second of each policy, the first run of it."""
    out = {}
    for names, some in ((TRAINING, TRAINING_SEEDS), (HELD_OUT, seeds)):
        for name in names:
            body = orjson.loads((begun.folder / f"{slug(name)}-{some[0]}" / "figures.json").read_bytes())
            out[name] = body["sessions"] / body["cpu_seconds"]
    return out


def show(figures: dict[str, Any]) -> None:
    week = figures["windows"][str(PRIMARY)]
    head = ["policy", "return days", "± listeners", "± lucks", "back %", "foretold", "streams", "from home"]
    table(head, [
        [p["policy"], f"{p['return_days']:.3f}", f"{p['se']:.4f}", f"{p['se_lucks']:.4f}", f"{100 * p['back']:.2f}",
         f"{p['told']:.3f}", f"{p['streams']:.2f}", f"{p['home_streams']:.2f}"]
        for p in sorted(week["policies"]["rows"], key=lambda p: -p["return_days"])
    ])  # fmt: skip
    rows = []
    for days, found in figures["windows"].items():
        for name, each in found["agreement"].items():
            rows.append([days, name, f"{each['value']:+.3f} [{each['low']:+.3f}, {each['high']:+.3f}]"])
    table(["days seen", "Kendall tau", "95%"], rows)
    for name in ("as_experiments", "intervals"):
        print(name.replace("_", " "), week[name])
    print("pairs that the truth tells apart", week["policies"]["resolved"], "training", week["training"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="where roll-outs are kept")
    parser.add_argument("--listeners", type=int, default=10_000)
    parser.add_argument("--tracks", type=int, default=20_000)
    parser.add_argument(
        "--judge", action="store_true", help="roll nothing out: judge the lucks that are whole"
    )
    given = parser.parse_args()
    begun = Begun.of(given.work, given.listeners, given.tracks)
    runs = [] if given.judge else plan()
    for i, (name, seed) in enumerate(runs):
        print(f"{i + 1}/{len(runs)} {name}, luck {seed}", flush=True)
        begun.roll(name, seed)
    whole = [
        s for s in SEEDS if all((begun.folder / f"{slug(n)}-{s}" / "active.npz").exists() for n in HELD_OUT)
    ]
    figures = measure(begun, whole)
    show(figures)
    path = write("surrogate", figures)
    (FOLDER / f"{path.stem}.png").write_bytes(picture(figures))
    print(path)


if __name__ == "__main__":
    main()
