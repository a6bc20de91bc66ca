"""What a loop is judged by, day by day: value, hours, who comes back, and whose music is shown.

ledger = Ledger.of(world)
ledger.add(world, day, values)      # DayFigures of one day
retention(ledger.active, 7)         # by day, of the listeners of that day, who came back within 7 days
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation import metrics
from recsys.plays import Outcome
from recsys.simulation.catalog import Catalog
from recsys.simulation.listen import HOME
from recsys.simulation.live.day import LiveDay
from recsys.simulation.live.values import Values
from recsys.simulation.live.world import LiveWorld
from recsys.simulation.memory import EMPTY
from recsys.simulation.rng import F64

NEW_DAYS = 30
"""A track is a new release for so many days."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class DayFigures:
    """One day. Shares of `seen` slots: those of home pages that were looked at."""

    day: int
    sessions: int
    pages: int
    seen: int
    plays: int
    home_plays: int
    listeners: int  # with a session
    members: int  # joined, and not gone for good
    gone: int  # left for good so far, as of this morning
    hours: float
    skipped: float  # share of home plays under 30 s
    reward: float  # of home plays, per page
    satisfaction: float  # mean over members, this morning
    true_value: float  # nan without measured pages
    exploration_loss: float  # nan where the policy does not say what it would have shown
    new_releases: float  # share of seen slots
    new_artists: float  # share of seen slots by artists of whom the listener remembers no track
    gini: float  # of the artists' seen slots so far: 0 all alike, 1 one has all
    top_share: float  # of the seen slots so far, the share of the 1% most shown tracks
    coverage: float  # tracks shown so far, as a share of those that were ever open


@dataclass
class Ledger:
    """What figures need of the days before."""

    exposed: F64  # (n_tracks,) slots seen so far
    opened: Bools  # (n_tracks,) ever open anywhere
    active: list[Bools] = field(default_factory=list)  # by day, (n_listeners,) had a session

    @classmethod
    def of(cls, world: LiveWorld) -> Ledger:
        n = len(world.catalog)
        return cls(np.zeros(n), np.zeros(n, bool))

    def add(self, world: LiveWorld, day: LiveDay, values: Values | None) -> DayFigures:
        """Figures of a day that its listeners have not slept on yet."""
        shown, played = day.shown, day.played
        here = np.zeros(len(world.listeners), bool)
        here[day.sessions.row] = True
        self.active.append(here)
        self.opened |= world.catalog.open_on(day.day).any(1)
        row, slot = np.nonzero(shown.seen)
        track = shown.track[row, slot]
        self.exposed += np.bincount(track, minlength=len(self.exposed))
        home = played.source == HOME
        members = (world.listeners.join_day <= day.day) & ~world.memory.gone
        age = day.day - world.catalog.release[track]
        return DayFigures(
            day=day.day,
            sessions=len(day.sessions),
            pages=len(shown.session),
            seen=len(track),
            plays=len(played.track),
            home_plays=int(home.sum()),
            listeners=int(here.sum()),
            members=int(members.sum()),
            gone=int(world.memory.gone.sum()),
            hours=float(played.ms.sum() / 3_600_000),
            skipped=_mean(played.outcome[home] == Outcome.SKIP),
            reward=float(played.reward[home].sum() / max(len(shown.session), 1)),
            satisfaction=_mean(world.memory.satisfaction[members]),
            true_value=float("nan") if values is None else values.true_value,
            exploration_loss=float("nan") if values is None else values.exploration_loss,
            new_releases=_mean((age >= 0) & (age < NEW_DAYS)),
            new_artists=_mean(~_known_artists(world, day.sessions.row[shown.session[row]], track)),
            gini=gini(by_artist(world.catalog, self.exposed)),
            top_share=top_share(self.exposed, 0.01),
            coverage=float((self.exposed > 0).sum() / max(self.opened.sum(), 1)),
        )


def _known_artists(world: LiveWorld, rows: NDArray[np.int64], track: NDArray[np.integer]) -> Bools:
    """(m,) whether the listener remembers a track by the artist of each track."""
    artist, library = world.catalog.artist, world.memory.track[rows]
    by = np.where(library == EMPTY, -1, artist[np.where(library == EMPTY, 0, library)])
    return np.asarray((by == artist[track][:, None]).any(1))


def by_artist(catalog: Catalog, exposed: F64) -> F64:
    """(artists,) of (tracks,)."""
    return np.bincount(catalog.artist, exposed, len(catalog.artist_leaf)).astype(np.float64)


def gini(amount: F64) -> float:
    """Gini coefficient of non-negative amounts; nan where all are zero."""
    return metrics.gini(amount, np.ones(len(amount), bool)) if amount.any() else float("nan")


def top_share(amount: F64, share: float) -> float:
    """What the largest `share` of the amounts hold of all; nan where all are zero."""
    most = max(round(share * len(amount)), 1)
    total = amount.sum()
    return float(np.sort(amount)[-most:].sum() / total) if total else float("nan")


def retention(active: list[Bools], within: int) -> F64:
    """(days,) of the listeners active on each day, the share that is active again within so many days; nan for days
    that the run does not follow so long, and for those without listeners.
    """
    out = np.full(len(active), np.nan)
    for day in range(len(active) - within):
        again = np.any(active[day + 1 : day + 1 + within], axis=0)
        if active[day].any():
            out[day] = again[active[day]].mean()
    return out


def _mean(values: NDArray[np.floating] | Bools) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
