"""The creators' side of a log: whose music was shown, to whom, and how evenly. Nothing of the simulator is read.

slots = seen(events, tracks, since, until, surface="home")      # a row for every slot that was looked at
book = Book.of(events, tracks, since, until)                    # artists: tier by plays before, first release, label
groups(slots, book, "tier")                                     # exposure by tier, with intervals over listeners
concentration(slots, book)                                      # Gini, top share, artists reached, with intervals
share_difference(a, b, book, "tier", "top")                     # two policies or arms: both ways clustered

Tiers: the 1% of artists who were played most before `since`, the next 9%, the rest that were played, and those not
played yet. New is an artist whose first release is at most 30 days older than `since`. A label is what `labels` names
for each artist, else the registrant of the ISRC (ISO 3901: its first five characters say who assigned it), the nearest
thing that a catalog of recordings has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.evaluation import metrics
from recsys.evaluation.bootstrap import Interval, Resampler, jackknife
from recsys.rewards import WINDOW_MS, attribute
from recsys.schemas import EventKind

F64 = NDArray[np.float64]
Kind = Literal["tier", "territory", "label", "age"]
TIERS = ("top", "middle", "tail", "not played before")
TOP, MIDDLE = 0.01, 0.10
"""Shares of artists, by plays before, that the first two tiers end at."""
NEW_DAYS = 30
NEW, KNOWN = "new", "known"
UNKNOWN = "(unknown)"


@dataclass(frozen=True)
class Book:
    """Artists who could be shown, one row each: artist_id, tier, age, label, plays (before)."""

    artists: pl.DataFrame

    @classmethod
    def of(
        cls,
        events: pl.LazyFrame,
        tracks: pl.DataFrame,
        since: datetime,
        until: datetime,
        labels: pl.DataFrame | None = None,
    ) -> Book:
        """Artists with a track that was out before `until`.

        Args:
            labels: artist_id and label, if the catalog's owner has them.
        """
        out = tracks.filter(pl.col("release_date").is_null() | (pl.col("release_date") < until.date()))
        plays = (
            events.filter(pl.col("kind") == EventKind.PLAY_END.value, pl.col("ts") < since)
            .group_by("track_id")
            .len("plays")
            .collect(engine="streaming")
        )
        artists = (
            out.join(plays, on="track_id", how="left")
            .group_by("artist_id")
            .agg(
                plays=pl.col("plays").sum(),
                first=pl.col("release_date").min(),
                label=pl.col("isrc").str.slice(0, 5).drop_nulls().mode().sort().first(),
            )
            .drop_nulls("artist_id")
            .sort("plays", "artist_id", descending=[True, False])
        )
        if labels is not None:
            named = labels.select("artist_id", "label").unique("artist_id")
            artists = artists.drop("label").join(named, on="artist_id", how="left", maintain_order="left")
        n = len(artists)
        place = pl.int_range(pl.len())
        tier = (
            pl.when(pl.col("plays") == 0)
            .then(pl.lit(TIERS[3]))
            .when(place < max(round(TOP * n), 1))
            .then(pl.lit(TIERS[0]))
            .when(place < max(round(MIDDLE * n), 1))
            .then(pl.lit(TIERS[1]))
            .otherwise(pl.lit(TIERS[2]))
        )
        new = pl.col("first") >= (since - timedelta(days=NEW_DAYS)).date()
        return cls(
            artists.select(
                "artist_id",
                "plays",
                tier=tier,
                age=pl.when(new).then(pl.lit(NEW)).otherwise(pl.lit(KNOWN)),
                label=pl.col("label").fill_null(UNKNOWN),
            )
        )

    def codes(self, artist: pl.Series) -> NDArray[np.int64]:
        """(n,) row of each artist in `artists`; -1 where there is none."""
        rows = self.artists.select("artist_id", row=pl.int_range(pl.len(), dtype=pl.Int64))
        found = artist.to_frame("artist_id").join(rows, on="artist_id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy()


def seen(
    events: pl.LazyFrame,
    tracks: pl.DataFrame,
    since: datetime,
    until: datetime,
    surface: str | None = "home",
) -> pl.DataFrame:
    """A row for every slot looked at in [since, until): user_id, day, territory, track_id, artist_id, released, and
    what became of it (played, streamed, finished, skipped, reward; recsys/rewards.py).

    Listeners who declined analytics, and incognito answers, are left out.
    """
    ts = pl.col("ts")
    usable = events.filter(
        ts >= since,
        ts < until + timedelta(milliseconds=WINDOW_MS),
        pl.col("consent_analytics").fill_null(True),
        ~pl.col("incognito_mode").fill_null(False),
    )
    shown = attribute(usable).filter(ts < until)
    if surface is not None:
        shown = shown.filter(pl.col("surface") == surface)
    of = tracks.select("track_id", "artist_id", released=pl.col("release_date")).unique("track_id")
    return (
        shown.drop("artist_id", strict=False)
        .join(of, on="track_id", how="left", maintain_order="left")
        .select(
            "user_id",
            pl.col("ts").dt.date().alias("day"),
            pl.col("conn_country").cast(pl.String).fill_null(UNKNOWN).alias("territory"),
            "track_id",
            "artist_id",
            "released",
            "played",
            "streamed",
            "finished",
            "skipped",
            "reward",
        )
    )


@dataclass(frozen=True)
class Group:
    """What one group of artists (or one territory's listeners) got; shares are of all slots looked at."""

    name: str
    artists: int  # that could be shown
    shown: int  # of them, at least once
    plays_before: float  # share of all plays before
    slots: Interval
    streams: Interval  # share of streams from these slots
    listeners: int


def groups(slots: pl.DataFrame, book: Book, kind: Kind, most: int = 20) -> list[Group]:
    """Exposure by group, in the tiers' order or by slots; of labels and territories the `most` largest."""
    if not len(slots):
        return []
    row = book.codes(slots["artist_id"])
    of_slot = _names(slots, book, row, kind)
    draw = Resampler.of(slots["user_id"].rank("dense").to_numpy().astype(np.int64))
    streamed, every = slots["streamed"].to_numpy(), np.ones(len(slots))
    order = [t for t in TIERS if (of_slot == t).any()] if kind == "tier" else _largest(of_slot, most)
    plays = max(np.sum(book.artists["plays"].to_numpy()), 1)
    found = []
    for name in order:
        here = of_slot == name
        own = book.artists if kind == "territory" else book.artists.filter(pl.col(kind) == name)
        found.append(
            Group(
                name,
                len(own),
                len(np.unique(row[here & (row >= 0)])),
                float("nan") if kind == "territory" else float(np.sum(own["plays"].to_numpy()) / plays),
                draw.ratio(here.astype(np.float64), every),
                draw.mean(np.where(streamed, here.astype(np.float64), np.nan)),
                slots.filter(here)["user_id"].n_unique(),
            )
        )
    return found


def _names(slots: pl.DataFrame, book: Book, row: NDArray[np.int64], kind: Kind) -> NDArray[np.object_]:
    if kind == "territory":
        return slots["territory"].to_numpy().astype(object)
    names = np.append(book.artists[kind].to_numpy().astype(object), UNKNOWN)
    return np.asarray(names[row])


def _largest(names: NDArray[np.object_], most: int) -> list[str]:
    found, count = np.unique(names.astype(str), return_counts=True)
    return [str(found[i]) for i in np.argsort(-count, kind="stable")[:most]]


@dataclass(frozen=True)
class Concentration:
    """How evenly artists who could be shown were shown; intervals over listeners (delete-a-group jackknife)."""

    gini: Interval
    top_share: Interval  # slots of the 1% of artists most shown
    reached: Interval  # artists shown at least once
    new_artists: Interval  # share of slots of artists whose first release is within 30 days
    new_releases: Interval  # share of slots of tracks released within 30 days


def concentration(slots: pl.DataFrame, book: Book) -> Concentration:
    """Of all slots; artists never shown count."""
    row, listener = book.codes(slots["artist_id"]), slots["user_id"].rank("dense").to_numpy().astype(np.int64)
    n = len(book.artists)

    def counted(keep: NDArray[np.bool_]) -> F64:
        return np.bincount(row[keep & (row >= 0)], minlength=n).astype(np.float64)

    age = np.append(book.artists["age"].to_numpy() == NEW, False)
    fresh = ((slots["day"] - slots["released"]).dt.total_days().is_between(0, NEW_DAYS - 1)).fill_null(False)
    draw = Resampler.of(listener)
    return Concentration(
        jackknife(lambda keep: _gini(counted(keep)), listener),
        jackknife(lambda keep: _top(counted(keep)), listener),
        jackknife(lambda keep: float((counted(keep) > 0).mean()), listener),
        draw.mean(age[row].astype(np.float64)),
        draw.mean(fresh.to_numpy().astype(np.float64)),
    )


def by_day(slots: pl.DataFrame, book: Book) -> pl.DataFrame:
    """Through time: day, slots, and of all slots so far gini, top_share, reached; new_artists of the day alone."""
    row, n = book.codes(slots["artist_id"]), len(book.artists)
    new = np.append(book.artists["age"].to_numpy() == NEW, False)[row]
    day = slots["day"].to_physical().to_numpy()
    so_far, rows = np.zeros(n), []
    for each in np.unique(day).tolist():
        here = day == each
        so_far += np.bincount(row[here & (row >= 0)], minlength=n)
        rows.append(
            (
                each,
                int(here.sum()),
                _gini(so_far),
                _top(so_far),
                float((so_far > 0).mean()),
                float(new[here].mean()),
            )
        )
    schema = ["day", "slots", "gini", "top_share", "reached", "new_artists"]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("day").cast(pl.Int32).cast(pl.Date)
    )


def share_difference(a: pl.DataFrame, b: pl.DataFrame, book: Book, kind: Kind, name: str) -> Interval:
    """Share of slots that a group got in `a` less that in `b`, with a 95% interval.

    Slots of one listener are alike, and so are those of one artist, and both may stand in both frames. The error is the
    largest of those clustered by listener, by artist and both ways (Cameron, Gelbach & Miller, JBES 2011; the maximum:
    MacKinnon, Nielsen & Webb 2024), as in experiments.analysis.two_sided.
    """
    both = pl.concat([a, b])
    row = book.codes(both["artist_id"])
    inside = (_names(both, book, row, kind) == name).astype(np.float64)
    first = np.arange(len(both)) < len(a)
    shares = inside[first].mean(), inside[~first].mean()
    influence = np.where(first, (inside - shares[0]) / len(a), -(inside - shares[1]) / max(len(b), 1))
    half = 1.96 * two_way_error(influence, both["user_id"].rank("dense").to_numpy().astype(np.int64), row + 1)
    value = float(shares[0] - shares[1])
    return Interval(value, value - half, value + half)


def two_way_error(influence: F64, first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """Standard error of a sum of influences, the largest over clusterings by either way and by both."""
    pair = np.unique(np.stack([first, second]), axis=1, return_inverse=True)[1].ravel()
    one, other, same = (float(np.sum(np.bincount(code, influence) ** 2)) for code in (first, second, pair))
    return float(np.sqrt(max(one, other, one + other - same)))


def _gini(amount: F64) -> float:
    return metrics.gini(amount, np.ones(len(amount), bool))


def _top(amount: F64) -> float:
    most = max(round(TOP * len(amount)), 1)
    total = amount.sum()
    return float(np.sort(amount)[-most:].sum() / total) if total else float("nan")
