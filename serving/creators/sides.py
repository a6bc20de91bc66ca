"""Two sides of one comparison: what changes for listeners, beside what changes for creators.

found = of_experiment(home, "ranker", now)          # treatment less control, of an experiment of listeners
found = of_loop({"frozen": folder, "greedy": folder})   # policies of one loop, each with a home of its own

Listeners' figures cluster by listener. Shares of artists' groups cluster by listener, by artist and both ways, and
take the largest error. In an experiment an artist's listeners are in both arms, so arms do not say what a launch would
do to an artist: for that its streams are regressed on the share of its earlier listening that is treated (bipartite).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.analysis.bipartite import bipartite
from experiments.analysis.effects import Inference, infer
from experiments.long_term.surrogate import clustered_means
from experiments.report.schedule import Schedule
from experiments.report.units import exposed
from recsys.errors import BadInput, NotReady, UnknownId
from recsys.evaluation.bootstrap import Interval
from recsys.evaluation.creators import NEW, TIERS, Book, Concentration, concentration, seen, share_difference
from recsys.home import Home
from recsys.lake import Lake
from recsys.schemas import STREAM_MS
from serving.creators.report import logged
from serving.experiment_report import config_of

LISTENER = ("hours", "streams", "skips", "home_slots", "home_reward")


@dataclass(frozen=True)
class Sides:
    """One policy (or arm) against another.

    Attributes:
        listeners: by figure, a listener's mean over the time: other, one, difference.
        shares: by group of artists, difference in the share of slots.
        even, even_other: concentration of each.
        artists: streams of an artist, per stream before, if all listeners were treated against none; by tier.
    """

    name: str
    other: str
    units: tuple[int, int]
    means: dict[str, tuple[float, float]]
    listeners: dict[str, Inference]
    shares: dict[str, Interval]
    even: Concentration
    even_other: Concentration
    artists: dict[str, Inference]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def of_experiment(home: Home, name: str, now: datetime, surface: str = "home") -> list[Sides]:
    """Each treatment against the control, of units from their first exposure on.

    Raises:
        UnknownId: no such experiment. BadInput: not one of listeners that asks something.
        NotReady: an arm has no listener who looked at anything yet.
    """
    experiment = config_of(home).experiment(name)
    if experiment is None:
        raise UnknownId(f"no experiment is called {name}: `recsys experiment list` names them")
    if experiment.question is None or experiment.unit != "listener":
        raise BadInput(
            f"{name} is no test of listeners: its artists' side is experiments.analysis.two_sided's"
        )
    events, tracks = logged(home)
    schedule = Schedule.of(experiment)
    since, until = schedule.start, schedule.until(now)
    answered = Lake(home.lake).scan("events")  # with refusals: who declined analysis is no unit
    units = exposed(answered, name, "listener", since, until).units.select("unit", "arm", "exposed_at")
    book = Book.of(events, tracks, since, until)
    inside = events.filter(pl.col("ts") >= since, pl.col("ts") < until)
    slots = seen(events, tracks, since, until, surface)
    arms = [arm.name for arm in experiment.arms if arm.name != experiment.control]
    by_arm = {arm: units.filter(pl.col("arm") == arm) for arm in (experiment.control, *arms)}
    parts = {arm: _of_units(inside, slots, some) for arm, some in by_arm.items()}
    artists = {
        arm: _artists(events, tracks, units, book, arm, experiment.control, since, until) for arm in arms
    }
    return [_sides(arm, experiment.control, parts, book, artists[arm]) for arm in arms]


def of_loop(folders: Mapping[str, Path], surface: str = "home") -> list[Sides]:
    """The first policy against each other, over the days that they all lived; the same listeners in all.

    Raises:
        NotReady: fewer than two of the policies have a home (those without a service log nothing).
    """
    homes = {name: Home.of(at / "home") for name, at in folders.items() if (at / "home").exists()}
    if len(homes) < 2:
        raise NotReady("creators' sides need two policies with a service: those without one log no answers")
    read = {name: logged(home) for name, home in homes.items()}
    ends = [_lived(events) for events, _ in read.values()]
    since, until = max(first for first, _ in ends), min(last for _, last in ends)
    first, *others = homes
    events, tracks = read[first]
    book = Book.of(events, tracks, since, until)
    everybody = pl.concat(e.select(pl.col("user_id").alias("unit")).unique() for e, _ in read.values())
    units = everybody.unique().drop_nulls().sort("unit").collect().with_columns(exposed_at=pl.lit(since))
    parts = {
        name: _of_units(
            e.filter(pl.col("ts") >= since, pl.col("ts") < until), seen(e, t, since, until, surface), units
        )
        for name, (e, t) in read.items()
    }
    return [_sides(first, other, parts, book, {}) for other in others]


def _lived(events: pl.LazyFrame) -> tuple[datetime, datetime]:
    """From the first answer of a loop's home to the end of its log."""
    answers = events.filter(pl.col("kind") == "decision").select(pl.col("ts").min()).collect().item()
    last = events.select(pl.col("ts").max()).collect().item()
    if not isinstance(answers, datetime) or not isinstance(last, datetime):
        raise NotReady("a policy of this loop has logged no answer yet")
    return answers, last + timedelta(milliseconds=1)


def _of_units(
    inside: pl.LazyFrame, slots: pl.DataFrame, units: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A row a unit with the figures of LISTENER, and the slots of these units since their exposure."""
    start = units.select(pl.col("unit").alias("user_id"), "exposed_at")
    own = slots.join(start, on="user_id", maintain_order="left")
    own = own.filter(pl.col("day") >= pl.col("exposed_at").dt.date()).drop("exposed_at")
    done = (pl.col("reason_end") == "trackdone").fill_null(False)
    plays = (
        inside.filter(pl.col("kind") == "play_end")
        .join(start.lazy(), on="user_id", maintain_order="left")
        .filter(pl.col("ts") >= pl.col("exposed_at"))
        .group_by("user_id")
        .agg(
            hours=pl.col("ms_played").sum() / 3_600_000,
            streams=(pl.col("ms_played") >= STREAM_MS).sum().cast(pl.Float64),
            skips=((pl.col("ms_played") < STREAM_MS) & ~done).sum().cast(pl.Float64),
        )
        .collect()
    )
    home = own.group_by("user_id").agg(
        home_slots=pl.len().cast(pl.Float64), home_reward=pl.col("reward").sum().cast(pl.Float64)
    )
    frame = (
        start.select("user_id")
        .join(plays, on="user_id", how="left", maintain_order="left")
        .join(home, on="user_id", how="left", maintain_order="left")
        .fill_null(0.0)
    )
    return frame, own


def _sides(
    name: str,
    other: str,
    parts: Mapping[str, tuple[pl.DataFrame, pl.DataFrame]],
    book: Book,
    artists: dict[str, Inference],
) -> Sides:
    (one, slots), (two, slots_two) = parts[name], parts[other]
    if min(len(slots), len(slots_two)) == 0 or min(len(one), len(two)) < 2:
        raise NotReady(f"nobody has looked at anything under {name} or {other} yet")
    both = pl.concat([two, one])
    arm = np.repeat([0, 1], [len(two), len(one)])
    code = both["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    contrast, listeners, means = np.array([-1.0, 1.0]), {}, {}
    for figure in LISTENER:
        mean, covariance = clustered_means(both[figure].to_numpy(), arm, code)
        means[figure] = (float(mean[1]), float(mean[0]))
        listeners[figure] = infer(float(mean[1] - mean[0]), float(np.sqrt(contrast @ covariance @ contrast)))
    shares = {tier: share_difference(slots, slots_two, book, "tier", tier) for tier in TIERS}
    shares |= {"new artists": share_difference(slots, slots_two, book, "age", NEW)}
    even = concentration(slots, book), concentration(slots_two, book)
    return Sides(name, other, (len(one), len(two)), means, listeners, shares, *even, artists)


def _artists(
    events: pl.LazyFrame,
    tracks: pl.DataFrame,
    units: pl.DataFrame,
    book: Book,
    arm: str,
    control: str,
    since: datetime,
    until: datetime,
) -> dict[str, Inference]:
    """What launching the arm does to an artist, by tier of artists; empty where too few listened before."""
    some = units.filter(pl.col("arm").is_in([arm, control]))
    plays = (
        events.filter(pl.col("kind") == "play_end", pl.col("ts") < until, pl.col("ms_played") >= STREAM_MS)
        .join(tracks.lazy().select("track_id", by="artist_id"), on="track_id", maintain_order="left")
        .filter(pl.col("user_id").is_in(some["unit"].implode()))
        .group_by("user_id", "by", before=pl.col("ts") < since)
        .len()
        .collect()
    )
    listener = some.select("unit", row=pl.int_range(pl.len(), dtype=pl.Int64))
    edges = plays.filter("before").join(listener, left_on="user_id", right_on="unit", maintain_order="left")
    treated = (some["arm"] == arm).to_numpy().astype(np.int64)
    tier, found = book.artists["tier"].to_numpy(), {}
    row = book.codes(edges["by"])
    after = plays.filter(~pl.col("before")).group_by("by").agg(pl.col("len").sum())
    streams = np.zeros(len(book.artists))
    place = book.codes(after["by"])
    streams[place[place >= 0]] = after["len"].to_numpy()[place >= 0]
    for name in TIERS[:3]:
        here = (row >= 0) & (np.append(tier, "")[row] == name)
        before = np.bincount(row[here], edges["len"].to_numpy()[here], len(streams))
        known = before > 0
        if known.sum() < 3:
            continue
        rate = np.where(known, streams / np.maximum(before, 1.0), 0.0)
        try:
            result = bipartite(
                edges["row"].to_numpy()[here],
                row[here],
                edges["len"].to_numpy()[here].astype(float),
                treated,
                rate,
            )
        except BadInput:
            continue
        found[name] = result.effect
    return found
