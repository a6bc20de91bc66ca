"""Are the ranker's probabilities true? On slots drawn at random, against outcomes and the world's own probabilities.

python -m benchmarks.calibration --home var

The served pipelines of home and radio answer real session starts with exploration turned up to 1, so that every
slot is a uniform draw among what is eligible there, as the served ε-draws are. The listener then does what the world
says: looks, plays, finishes, skips, saves. The probabilities are claims about plays, so only plays are judged.

Two releases are judged: the one that serves, and the same after `recsys release recalibrate` on the random slots of
`--fitted` other session starts, which is how a release is put right once it has served for a while.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import FOLDER, table, write
from ranking.recalibrate import Slots, recalibrated
from recsys.dataset import load
from recsys.evaluation.metrics import calibration_error
from recsys.evaluation.true_value import probe_queries
from recsys.home import Home
from recsys.lake import Lake
from recsys.pipeline import Result
from recsys.plays import Outcome
from recsys.schemas import Surface
from recsys.simulation import behaviour
from recsys.simulation.truth import Probes, World
from recsys.types import Query, QueryBatch, UserState
from serving.loaded import LoadedRelease
from serving.recommender import Recommender, request_seed
from serving.registry import CHAMPION, Registry
from serving.settings import HomeSettings, RadioSettings, ServiceSettings

OBJECTIVES = ("finish", "skip", "save")
SURFACES = (Surface.HOME, Surface.RADIO)
BINS = 15
TARGET = 0.02
SLOTS = 10
"""Slots a shelf or radio page."""
REPEATS = 4
"""Times that each slot is met, so that chance hides less of the error."""
RECENT = 32
"""Finished tracks among which a listener finds the seed of a station."""
_BLOCK = 64
_SHOWN = ("surface", "objective", "plays", "mean_p", "rate", "ece", "noise", "rmse", "rmse_constant")
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """m plays of randomly drawn slots of one surface."""

    p: dict[str, F64]  # objective -> (m,) what the ranker said
    truth: dict[str, F64]  # objective -> (m,) the world's probability, given the play
    outcome: dict[str, NDArray[np.bool_]]  # objective -> (m,) what happened
    slots: int  # slots met, played or not


def measure(home: Home, probes: int, seed: int, fitted: int = 0) -> dict[Surface, Judged]:
    """Answers `probes` session starts of the evaluation window on both surfaces and lets the listeners react.

    The slots of the first `fitted` of them are what the ranker is recalibrated on; the others are judged.

    Raises:
        NotReady: the home holds no simulated world or no release.
    """
    world, data = World.load(home), load(Lake(home.lake))
    release = LoadedRelease.load(Registry(home).get(CHAMPION).folder)
    explore = ServiceSettings(home=HomeSettings(epsilon=1.0), radio=RadioSettings(epsilon=1.0))
    sample = world.probes(probes, seed)
    batch = probe_queries(data, sample)
    consented = np.flatnonzero(~np.isin(sample.user_id, _withheld(home)))

    def served(release: LoadedRelease, rows: I64) -> dict[Surface, Judged]:
        recommender, out = Recommender(release, explore), {}
        blocks = [rows[at : at + _BLOCK] for at in range(0, len(rows), _BLOCK)]
        for surface in SURFACES:
            rng = np.random.default_rng([seed, SURFACES.index(surface)])
            out[surface] = _join([_judge(world, sample, recommender, surface, b, batch, rng) for b in blocks])
        return out

    if fitted:
        slots = {
            surface.value: Slots(own.p, {o: own.outcome[o].astype(np.int8) for o in OBJECTIVES})
            for surface, own in served(release, consented[:fitted]).items()
        }
        release = replace(release, ranker=recalibrated(release.ranker, slots))
    return served(release, consented[fitted:])


def _withheld(home: Home) -> list[str]:
    """Listeners without the personalization consent: they get no ranked answer."""
    import polars as pl

    events = Lake(home.lake).scan("events").filter(pl.col("consent_personalization").not_())
    return events.select(pl.col("user_id").unique()).collect()["user_id"].to_list()


def _seeds(world: World, sample: Probes, batch: QueryBatch, rows: I64, rng: np.random.Generator) -> I64:
    """(len(rows),) what each listener starts a station from: of the last tracks finished, one that appeals now.

    Drawn in proportion to the world's chance that it would be clicked; -1 for a listener without finished tracks.
    """
    histories = batch.histories.take(rows)
    liked = histories.where((histories.outcome == Outcome.FINISH) & (histories.track >= 0)).last(RECENT)
    counts = np.diff(liked.offsets)
    nth = np.arange(liked.rows) - np.repeat(liked.offsets[:-1], counts)
    tracks = np.zeros((len(rows), RECENT), np.int64)
    tracks[liked.owner, nth] = liked.track
    wish = behaviour.click(_score(world.outcome_probabilities(sample, rows, tracks)[:, :, 1]))
    wish = np.cumsum(np.where(np.arange(RECENT) < counts[:, None], wish, 0), axis=1)
    at = (wish <= rng.random((len(rows), 1)) * wish[:, -1:]).sum(1)
    return np.where(counts > 0, tracks[np.arange(len(rows)), np.minimum(at, RECENT - 1)], -1)


def _score(skip: NDArray[np.floating]) -> F64:
    """The world's score z of plays from their P(skip) = σ(SKIP − z)."""
    skip = np.clip(skip.astype(np.float64), 1e-9, 1 - 1e-9)
    return np.asarray(behaviour.SKIP - np.log(skip / (1 - skip)))


def _judge(
    world: World,
    sample: Probes,
    recommender: Recommender,
    surface: Surface,
    rows: I64,
    batch: QueryBatch,
    rng: np.random.Generator,
) -> Judged:
    """One block of session starts: served, played, compared."""
    seeds = _seeds(world, sample, batch, rows, rng) if surface == Surface.RADIO else np.zeros_like(rows)
    rows, seeds = rows[seeds >= 0], seeds[seeds >= 0]
    queries = tuple(
        _query(surface, int(batch.now[j]), int(j), int(seed)) for j, seed in zip(rows, seeds, strict=True)
    )
    asked = replace(batch.take(rows), queries=queries, memo={})
    result = recommender.pipeline(queries[0]).run(asked)
    request, at, position = (np.array(column, np.int64) for column in zip(*_drawn(result), strict=True))
    wide = np.full((len(rows), int(np.bincount(request).max())), -1, np.int64)
    nth = np.arange(len(request)) - np.searchsorted(request, request)
    wide[request, nth] = result.candidates.ids[at]
    true = world.outcome_probabilities(sample, rows, np.maximum(wide, 0))[request, nth].astype(np.float64)
    at, position, true = (np.repeat(column, REPEATS, axis=0) for column in (at, position, true))
    played = _played(surface, true, position, rng)
    u = rng.random((2, len(at)))
    finish, skip, save = true.T
    happened = (u[0] >= 1 - finish, u[0] < skip, (u[0] >= 1 - finish) & (u[1] < save / finish))
    return Judged(
        p={o: np.asarray(result.candidates.columns[f"p_{o}"][at][played], np.float64) for o in OBJECTIVES},
        truth={o: true[played, i] for i, o in enumerate(OBJECTIVES)},
        outcome={o: happened[i][played] for i, o in enumerate(OBJECTIVES)},
        slots=len(at),
    )


def _query(surface: Surface, now: int, probe: int, seed: int) -> Query:
    name = f"calibration:{surface.value}:{probe}"
    station = (seed,) if surface == Surface.RADIO else ()
    user = UserState("0" * 22)
    return Query(name, surface, now, request_seed(name), SLOTS, user, station=station, exclude=station)


def _drawn(result: Result) -> Iterator[tuple[int, int, int]]:
    """(request, candidate row, position in its shelf) of every slot, in order of request."""
    candidates = result.candidates
    for j, slate in enumerate(result.slates):
        first, end = int(candidates.offsets[j]), int(candidates.offsets[j + 1])
        for item in slate.items:
            yield j, first + int(np.searchsorted(candidates.ids[first:end], item.track)), item.position


def _played(surface: Surface, true: F64, position: I64, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which slots are played: on home those looked at and chosen; radio plays by itself."""
    if surface == Surface.RADIO:
        return np.ones(len(true), bool)
    return rng.random(len(true)) < behaviour.examine(position) * behaviour.click(_score(true[:, 1]))


def _join(parts: list[Judged]) -> Judged:
    def whole(name: str) -> dict[str, Any]:
        return {o: np.concatenate([getattr(part, name)[o] for part in parts]) for o in OBJECTIVES}

    return Judged(whole("p"), whole("truth"), whole("outcome"), sum(part.slots for part in parts))


def figures(judged: dict[Surface, Judged]) -> list[dict[str, Any]]:
    """One row a surface and objective. `noise` is the calibration error that the truth itself has on these outcomes;
    `rmse_constant` the RMSE of saying the mean for every slot."""
    return [
        {
            "surface": surface.value,
            "objective": o,
            "slots": all_.slots,
            "plays": len(all_.p[o]),
            "mean_p": float(all_.p[o].mean()),
            "rate": float(all_.outcome[o].mean()),
            "ece": calibration_error(all_.p[o], all_.outcome[o], BINS),
            "noise": calibration_error(all_.truth[o], all_.outcome[o], BINS),
            "rmse": float(np.sqrt(np.mean((all_.p[o] - all_.truth[o]) ** 2))),
            "rmse_constant": float(all_.truth[o].std()),
        }
        for surface, all_ in judged.items()
        for o in OBJECTIVES
    ]


def plot(judged: dict[Surface, Judged], path: Path) -> None:
    """Reliability diagrams: observed rate and mean true probability by bins of equal count, beside the diagonal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 6.6), layout="constrained", facecolor="white")
    grid = figure.subplots(len(SURFACES), len(OBJECTIVES))
    for line, (surface, all_) in zip(grid, judged.items(), strict=True):
        for axes, objective in zip(line, OBJECTIVES, strict=True):
            _panel(axes, all_, objective)
            axes.set_title(f"{surface.value}: {objective}", fontsize=10, loc="left", color="#1c2330")
    grid[0][0].legend(frameon=False, fontsize=8, loc="upper left")
    for axes in grid[-1]:
        axes.set_xlabel("predicted probability, given a play", fontsize=9, color="#667085")
    figure.savefig(path, dpi=140, metadata={"Software": None})


def _panel(axes: Any, all_: Judged, objective: str) -> None:
    p, outcome, truth = all_.p[objective], all_.outcome[objective], all_.truth[objective]
    bins = np.array_split(np.argsort(p, kind="stable"), BINS)
    said = np.array([p[rows].mean() for rows in bins])
    rate = np.array([outcome[rows].mean() for rows in bins])
    spread = [1.96 * float(np.sqrt(outcome[rows].var() / len(rows))) for rows in bins]
    top = 1.08 * float(max(said.max(), (rate + spread).max()))
    axes.plot([0, top], [0, top], color="#98a2b3", lw=1, ls="--")
    axes.errorbar(said, rate, spread, fmt="o", ms=4.5, color="#4338ca", elinewidth=1, label="observed, 95%")
    axes.plot(said, [truth[rows].mean() for rows in bins], color="#db2777", lw=1.3, label="true probability")
    axes.set(xlim=(0, top), ylim=(0, top))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e7ec")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0)
    error = calibration_error(p, outcome, BINS)
    axes.annotate(f"ECE {error:.3f}", (0.97, 0.05), xycoords="axes fraction", ha="right", fontsize=9)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--probes", type=int, default=3_000)
    parser.add_argument("--fitted", type=int, default=500, help="session starts to recalibrate on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    home = Home.of(given.home)
    released = measure(home, given.probes, given.seed)
    after = measure(home, given.probes + given.fitted, given.seed, given.fitted)
    rows = {"as released": figures(released), "recalibrated": figures(after)}
    for name, found in rows.items():
        print(name)
        cells = [[row[c] for c in _SHOWN] + ["ok" if row["ece"] <= TARGET else "over .02"] for row in found]
        table([*_SHOWN, ""], cells)
    path = write("calibration", {"target": TARGET, "fitted": given.fitted, **rows}, given.out)
    plot(released, path.with_suffix(".png"))
    plot(after, path.with_suffix(".recalibrated.png"))
    print(path)


if __name__ == "__main__":
    main()
