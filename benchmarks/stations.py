"""Thousands of stations of at least 100 tracks, every stated rule checked from the catalog's own tables.

    python -m benchmarks.stations --home var --stations 10000 --twins 1000 --out benchmarks/results

Listeners skip, finish, save and reject as they go; halfway more tracks are withdrawn. The checker
(benchmarks/station_rules.py) reads the lake's tables and ids only, and shares no code with the selector. Twins: one
station goes on with and without three skips of its commonest genre, with the same draws.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track as progress

from benchmarks.results import FOLDER, table, write
from benchmarks.station_rules import Heard, Rules, Walk
from recsys.features.state import decode
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.plays import WINDOW, Outcome
from recsys.schemas import Surface
from recsys.separation import Gaps
from recsys.state_store import LocalStore
from recsys.transitions import Sound
from recsys.types import Context, Query, UserState
from serving.loaded import LoadedRelease
from serving.recommender import Recommender, request_seed
from serving.registry import CHAMPION, Registry
from serving.settings import RadioSettings, ServiceSettings
from serving.surfaces.periods import day
from serving.surfaces.radio import tuned
from serving.surfaces.stations import Station
from serving.surfaces.stored import planned

KINDS = ("track", "artist", "album", "playlist", "genre", "words")
BATCH = 200
WITHDRAWN = 0.01
KEEP, LATER = 100, 60_000


class World:
    """A release, its listeners, and the random choices of a run."""

    def __init__(self, home: Home, settings: RadioSettings, seed: int) -> None:
        release = LoadedRelease.load(Registry(home).get(CHAMPION).folder)
        store = LocalStore(home.state_db)
        self.settings = ServiceSettings(radio=settings)
        self.users = [decode(store.get(key) or b"") for key in store.keys(2000)]
        self.rng = np.random.default_rng(seed)
        self.now = release.manifest.until + MS_PER_DAY
        self.items = release.items
        self.availability = Lake(home.lake).scan("availability").collect()
        gone = self.rng.permutation(len(self.items))[: int(2 * WITHDRAWN * len(self.items))]
        self.withdrawn = [self._ids(gone[: len(gone) // 2]), self._ids(gone)]
        self.recommenders = [
            Recommender(_without(release, part), self.settings) for part in (gone[: len(gone) // 2], gone)
        ]

    def _ids(self, tracks: Any) -> set[str]:
        return {self.items.track_id(int(track)) for track in tracks}

    def walk(self, number: int) -> Walk:
        """A new station: its kind of seed in turn, somebody's, somewhere."""
        rng, kind = self.rng, KINDS[number % len(KINDS)]
        user = (
            self.users[rng.integers(len(self.users))]
            if rng.random() < 0.9
            else UserState(f"new{number:019d}")
        )
        refused = {self.items.track_id(int(t)) for t in rng.integers(0, len(self.items), 20)}
        user = replace(user, not_interested=user.not_interested | refused)
        country = rng.choice(np.array([*self.items.countries, "AQ"], object))
        context = Context(country=country, explicit=bool(rng.random() > 0.3))
        station = Station(
            f"s{number}",
            self.seed(kind),
            user.user_id,
            self.now,
            dial=float(rng.choice([0, 0.25, 0.5, 0.75, 1])),
        )
        return Walk(kind, user, context, station, refused=set(user.not_interested))

    def seed(self, kind: str) -> str:
        frame, rng = self.items.frame, self.rng
        row = frame.row(int(rng.integers(len(frame))), named=True)
        if kind == "playlist":
            return "playlist:" + ",".join(self._ids(rng.integers(0, len(frame), int(rng.integers(2, 12)))))
        if kind == "genre":
            return f"genre:{row['genre'] if rng.random() < 0.7 else row['genre'].split('/')[0]}"
        if kind == "words":
            return f"words:{row['artist_name'] if rng.random() < 0.5 else row['title']}"
        return f"{kind}:{row[f'{kind}_id']}"

    def page(self, walks: list[Walk], half: int, name: str, limit: int, now: int) -> list[list[str]]:
        """The next page of each station, as a batch; the stations are not moved on. Returns relaxations too."""
        recommender = self.recommenders[half]
        queries = [tuned(_query(walk, name, limit, now), walk.station, recommender) for walk in walks]
        _, result = recommender.run(queries)
        self.last = result
        return [[self.items.track_id(item.track) for item in slate.items] for slate in result.slates]

    def act(self, walk: Walk, page: list[str], now: int) -> None:
        """What the listener does with a page: skips, finishes, saves, rejects."""
        draws = self.rng.random(len(page))
        outcomes = [
            Outcome.SKIP if d < 0.25 else Outcome.FINISH if d < 0.8 else Outcome.PARTIAL for d in draws
        ]
        rejected = {t for t in page if self.rng.random() < 0.02}
        walk.refused |= rejected
        walk.user = played(walk.user, page, outcomes, now)
        walk.user = replace(walk.user, not_interested=walk.user.not_interested | rejected)


def _without(release: LoadedRelease, tracks: Any) -> LoadedRelease:
    """The release with some tracks withdrawn everywhere."""
    until = release.items.available_until.copy()
    until[tracks] = release.items.available_from[tracks]
    items = replace(release.items, available_until=until)
    return replace(release, items=items)


def _query(walk: Walk, name: str, limit: int, now: int) -> Query:
    request_id = f"{walk.station.station_id}.{name}"
    return Query(request_id, Surface.RADIO, now, request_seed(request_id), limit, walk.user, walk.context)


def played(user: UserState, page: list[str], outcomes: list[Outcome], now: int) -> UserState:
    """The state with some more plays."""
    n = len(page)
    more: dict[str, tuple[Any, ...]] = {
        "track_id": tuple(page),
        "start": tuple(now + 1000 * i for i in range(n)),
        "ms_played": tuple(5_000 if o == Outcome.SKIP else 180_000 for o in outcomes),
        "outcome": tuple(int(o) for o in outcomes),
        "hour": (12,) * n,
        "device": (0,) * n,
        "surface": (1,) * n,
    }
    return replace(user, **{name: (getattr(user, name) + new)[-WINDOW:] for name, new in more.items()})


def stations(world: World, count: int, limit: int) -> dict[str, Any]:
    """Violations, relaxations and figures of `count` stations of at least KEEP tracks."""
    rules = Rules(world.items, world.availability, world.settings.radio.gaps)
    broken, relaxed, short, rungs = Counter[str](), Counter[str](), 0, Counter[str]()
    pages, slots, starts = 0, 0, range(0, count, BATCH)
    steps, cpu = -(-KEEP // limit), time.process_time()
    for first in progress(starts, "stations"):
        walks = [world.walk(i) for i in range(first, min(first + BATCH, count))]
        for step in range(steps):
            half, now = int(step >= steps // 2), world.now + LATER * step
            found = world.page(walks, half, str(step), limit, now)
            rungs[world.last.rung] += len(walks)
            for walk, page, slate in zip(walks, found, world.last.slates, strict=True):
                walk.heard += [Heard(track_id, frozenset(slate.relaxed)) for track_id in page]
                places = range(len(walk.heard) - len(page), len(walk.heard))
                for place in places:
                    broken.update(rules.broken(walk, place, now, world.withdrawn[half]))
                relaxed.update(slate.relaxed)
                short += len(page) < limit
                pages, slots = pages + 1, slots + len(page)
                walk.station = replace(walk.station, tracks=walk.station.tracks + tuple(page))
                world.act(walk, page, now)
    return {
        "stations": count,
        "pages": pages,
        "slots": slots,
        "violations": dict(broken),
        "violations_total": sum(broken.values()),
        "relaxed_pages": dict(relaxed),
        "short_pages": short,
        "rungs": dict(rungs),
        "cpu_ms_a_page": (time.process_time() - cpu) * 1000 / pages,
    }


def mixes(world: World, count: int) -> dict[str, Any]:
    """Violations and figures of the daily mixes of `count` listeners, up to six of a hundred tracks each."""
    settings, now = world.settings.lists.mixes, world.now + LATER
    rules = Rules(world.items, world.availability, Gaps(settings.rules.artist_gap, 0, 0))
    period, broken, made, slots = day(now, "UTC"), Counter[str](), 0, 0
    for first in progress(range(0, count, BATCH), "mixes"):
        walks = [world.walk(i) for i in range(first, min(first + BATCH, count))]
        walks = [walk for walk in walks if walk.user.personalized]
        queries = [planned(_mix(walk, now), period, period.start, settings.tracks) for walk in walks]
        _, result = world.recommenders[1].run(queries)
        for walk, slate in zip(walks, result.slates, strict=True):
            shelves: dict[str, list[str]] = {}
            for item in slate.items:
                shelves.setdefault(item.shelf, []).append(world.items.track_id(item.track))
            shown = [track for tracks in shelves.values() for track in tracks]
            broken["shared"] += len(shown) - len(set(shown))
            for tracks in shelves.values():
                walk.heard = [Heard(track, frozenset(slate.relaxed)) for track in tracks]
                for place in range(len(tracks)):
                    broken.update(rules.broken(walk, place, now, world.withdrawn[1]))
                most = max(Counter(rules.facts[track]["artist_id"] for track in tracks).values())
                broken["artist_cap"] += most > settings.rules.artist_cap_shelf
            made, slots = made + len(shelves), slots + len(shown)
    broken += Counter()  # drops what never happened
    return {
        "mixes": made,
        "slots": slots,
        "violations": dict(broken),
        "violations_total": sum(broken.values()),
    }


def _mix(walk: Walk, now: int) -> Query:
    request_id = f"{walk.station.station_id}.mix"
    return Query(request_id, Surface.DAILY_MIX, now, request_seed(request_id), 1, walk.user, walk.context)


def twins(world: World, count: int, limit: int = 20, skips: int = 3) -> dict[str, Any]:
    """Share of a genre in the next `limit` tracks with three skips of it over the share without."""
    rows: list[tuple[str, float, float]] = []
    for first in progress(range(0, count, BATCH), "twins"):
        walks = [world.walk(i) for i in range(first, min(first + BATCH, count))]
        for walk, page in zip(walks, world.page(walks, 0, "0", limit, world.now), strict=True):
            walk.station = replace(walk.station, tracks=tuple(page))
        genres = [_commonest(world, walk.station.tracks) for walk in walks]
        skipping = [_skipped(world, w, g, skips) for w, g in zip(walks, genres, strict=True)]
        without = world.page(walks, 0, "1", limit, world.now + LATER)
        after = world.page(skipping, 0, "1", limit, world.now + LATER)
        for walk, genre, a, b in zip(walks, genres, without, after, strict=True):
            if sum(_genre(world, t) == genre for t in walk.station.tracks) >= skips:
                rows.append((walk.kind, _share(world, a, genre), _share(world, b, genre)))
    return _twin_figures(rows)


def _twin_figures(rows: list[tuple[str, float, float]]) -> dict[str, Any]:
    pairs = np.array([row[1:] for row in rows])
    draws = np.random.default_rng(0).integers(0, len(rows), (1000, len(rows)))
    lowered = 1 - pairs[draws, 1].sum(axis=1) / pairs[draws, 0].sum(axis=1)
    each = 1 - pairs[pairs[:, 0] > 0, 1] / pairs[pairs[:, 0] > 0, 0]
    by_kind = {
        kind: 1 - sum(r[2] for r in rows if r[0] == kind) / sum(r[1] for r in rows if r[0] == kind)
        for kind in dict.fromkeys(row[0] for row in rows)
    }
    return {
        "twins": len(rows),
        "share_without": float(pairs[:, 0].mean()),
        "share_with": float(pairs[:, 1].mean()),
        "lowered": float(1 - pairs[:, 1].sum() / pairs[:, 0].sum()),
        "lowered_95": [float(x) for x in np.percentile(lowered, [2.5, 97.5])],
        "stations_lowered_30": float((each >= 0.3).mean()),
        "by_seed": by_kind,
    }


def _skipped(world: World, walk: Walk, genre: str, skips: int) -> Walk:
    gone = [t for t in walk.station.tracks if _genre(world, t) == genre][:skips]
    user = played(walk.user, gone, [Outcome.SKIP] * len(gone), world.now + 1)
    return replace(walk, user=user)


def _genre(world: World, track_id: str) -> str:
    return str(world.items.genres[world.items.genre[world.items.number(track_id)]])


def _commonest(world: World, tracks: tuple[str, ...]) -> str:
    return str(Counter(_genre(world, t) for t in tracks).most_common(1)[0][0])


def _share(world: World, tracks: list[str], genre: str) -> float:
    return float(np.mean([_genre(world, t) == genre for t in tracks]))


def seams(home: Home, weights: list[float], count: int, seed: int) -> list[dict[str, Any]]:
    """What smoothness costs: the distance at seams, and the mean score, for each weight over the same stations."""
    rows = []
    for weight in weights:
        world = World(home, RadioSettings(smooth_weight=weight), seed)
        sound = Sound.of(world.items)
        walks = [
            replace(w, station=replace(w.station, dial=0.5)) for w in (world.walk(i) for i in range(count))
        ]
        world.page(walks, 0, "0", 20, world.now)
        ids = [np.array([item.track for item in slate.items]) for slate in world.last.slates]
        parts = np.concatenate([sound.take(t[1:]).parts(sound.take(t[:-1])) for t in ids], axis=1).mean(
            axis=1
        )
        score = float(np.mean([item.score for slate in world.last.slates for item in slate.items]))
        rows.append(
            {
                "weight": weight,
                "score": score,
                **dict(zip(("tempo", "key", "energy"), parts.tolist(), strict=True)),
            }
        )
    return rows


def turned(world: World, count: int) -> list[dict[str, float]]:
    """Share of tracks, and of tracks by artists, that the listener's window knows, at five places of the dial."""
    walks = [w for w in (world.walk(i) for i in range(count)) if w.user.track_id]
    rows = []
    for dial in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = [replace(w, station=replace(w.station, dial=dial)) for w in walks]
        known = np.array(
            [_known(world, w, p) for w, p in zip(at, world.page(at, 0, "0", 20, world.now), strict=True)]
        )
        rows.append({"dial": dial, "tracks": float(known[:, 0].mean()), "artists": float(known[:, 1].mean())})
    return rows


def _known(world: World, walk: Walk, page: list[str]) -> tuple[float, float]:
    artist, heard = world.items.artist, set(walk.user.track_id)
    artists = {int(artist[t]) for t in world.items.numbers(walk.user.track_id) if t >= 0}
    return (
        float(np.mean([t in heard for t in page])),
        float(np.mean([int(artist[t]) in artists for t in world.items.numbers(page)])),
    )


def latency(world: World, count: int, limit: int) -> dict[str, float]:
    """Wall and CPU ms of a station's third page, one request at a time."""
    ms, cpu = [], []
    for number in progress(range(count), "one at a time"):
        walk = world.walk(number)
        for step in range(3):
            begin, spent = time.perf_counter(), time.thread_time()
            (page,) = world.page([walk], 0, str(step), limit, world.now + step)
            wall, spent = time.perf_counter() - begin, time.thread_time() - spent
            walk.station = replace(walk.station, tracks=walk.station.tracks + tuple(page))
        ms.append(wall * 1000)
        cpu.append(spent * 1000)
    found = {
        "pages": float(count),
        "cpu_p50_ms": np.percentile(cpu, 50),
        "cpu_p99_ms": np.percentile(cpu, 99),
    }
    return {**found, "wall_p50_ms": np.percentile(ms, 50), "wall_p99_ms": np.percentile(ms, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--stations", type=int, default=10_000)
    parser.add_argument("--mixes", type=int, default=1_000, help="listeners whose daily mixes are checked")
    parser.add_argument("--twins", type=int, default=1_000)
    parser.add_argument("--limit", type=int, default=20, help="tracks a page")
    parser.add_argument("--smooth", type=float, nargs="*", default=[0.0, RadioSettings().smooth_weight])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    home, begin = Home.of(given.home), time.perf_counter()
    world = World(home, RadioSettings(), given.seed)
    figures: dict[str, Any] = {"tracks": len(world.items)}
    if given.stations:
        figures["stations"] = stations(world, given.stations, given.limit)
    if given.mixes:
        figures["mixes"] = mixes(world, given.mixes)
    if given.twins:
        figures["twins"] = twins(world, given.twins)
    if given.smooth:
        figures["smooth"] = seams(home, given.smooth, 100, given.seed)
        figures["dial"] = turned(world, 200)
    figures["page"] = latency(world, 100, given.limit)
    figures["seconds"] = time.perf_counter() - begin
    for name in ("stations", "mixes", "twins", "page"):
        table(["", name], [[key, value] for key, value in figures.get(name, {}).items()])
    for row in [*figures.get("smooth", []), *figures.get("dial", [])]:
        print(row)
    print(write(f"stations-{given.stations}", figures, given.out))


if __name__ == "__main__":
    main()
