"""What a change of the catalog costs: from its acknowledgement to the first answer that has it, and per apply.

    python -m benchmarks.live_catalog --home var --sizes 20000 100000

Works on copies. Sizes beyond the home's catalog are made by publishing tracks like those that are there and taking the
result as the release: the same parts, models and index, without training again.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.results import table, write
from music.catalog.service import Catalog
from recsys.home import Home
from recsys.ids import public_id
from recsys.index_live import merged
from recsys.items import MS_PER_DAY
from recsys.schemas import TRACKS
from recsys.types import Context
from serving.live.follower import Follower, closed_by
from serving.live.view import View
from serving.loaded import LoadedRelease
from serving.recommender import Recommender
from serving.service import Service
from serving.settings import LiveSettings

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", default="var")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home.of(shutil.copytree(given.home, Path(folder) / "home"))
        seen = latencies(home, given.repeats)
        costs = [row for size in given.sizes for row in applies(home, size, given.repeats)]
    head = ["change", "p50 ms", "max ms", "CPU ms"]
    table(head, [[r["change"], r["p50"], r["max"], r["cpu"]] for r in seen])
    table(["tracks", *head], [[r["tracks"], r["change"], r["p50"], r["max"], r["cpu"]] for r in costs])
    print(write("live-catalog", {"acknowledged_to_answer": seen, "per_apply": costs}))


def latencies(home: Home, repeats: int) -> list[Row]:
    """Milliseconds from the acknowledgement of a change to the end of the first home answer that has it, and of a
    home answer without any change before it; one service that serves, another that writes."""
    with Service.open(home, background=False) as served:
        catalog = Catalog.open(home.catalog_url)
        items = served.live.fresh(served._fleet.loaded()[0]).release.items
        now = served._fleet.loaded()[0].release.manifest.until + MS_PER_DAY
        user = served.listeners(5)[0]["user_id"]

        def ask() -> None:
            served.home(user, 10, Context(), now)

        for _ in range(3):
            ask()
        found = [timed("none", lambda _i: None, ask, repeats)]
        found.append(timed("publish 1", lambda i: publish(catalog, items.frame, f"a{i}", 1), ask, repeats))
        found.append(timed("publish 100", lambda i: publish(catalog, items.frame, f"b{i}", 100), ask, 5))
        found.append(timed("withdraw", lambda i: withdraw(catalog, items.track_ids[i]), ask, repeats))
        found.append({"change": "check, nothing changed", **check(served)})
        catalog.close()
    return found


def check(served: Service) -> Row:
    base, times = served._fleet.loaded()[0], []
    for _ in range(2_000):
        begin = time.thread_time_ns()
        served.live.fresh(base)
        times.append((time.thread_time_ns() - begin) / 1e6)
    return {"p50": float(np.median(times)), "max": float(np.max(times)), "cpu": float(np.mean(times))}


def applies(home: Home, size: int, repeats: int) -> list[Row]:
    """Milliseconds of one apply, for a release of about `size` tracks, and of the merge in the background."""
    catalog = Catalog.open(home.catalog_url)
    release = LoadedRelease.load(home.releases / "v1")
    release = grown(release, catalog, size)
    follower = Follower(Recommender(release), catalog, LiveSettings(), background=False)
    frame, n = release.items.frame, len(release.items)
    for country in range(len(release.items.countries)):  # bitmaps that requests have asked for
        release_eligibility(follower, country)

    def apply() -> None:
        follower.at(catalog.revision())

    apply()
    found = [
        timed("publish 1", lambda i: publish(catalog, frame, f"{size}c{i}", 1), apply, repeats),
        timed("publish 100", lambda i: publish(catalog, frame, f"{size}d{i}", 100), apply, 5),
        timed("change of genre", lambda i: change(catalog, frame, n // 2 + i), apply, repeats),
        timed("withdraw", lambda i: withdraw(catalog, frame["track_id"][n // 3 + i]), apply, repeats),
        timed("merge (background)", lambda _i: None, follower.merge, 1),
    ]
    catalog.close()
    return [{"tracks": n, **row} for row in found]


def release_eligibility(follower: Follower, country: int) -> None:
    from recsys.retrieval.eligibility import Eligibility

    release = follower.view.release
    if release.index.layout is not None:
        kept = Eligibility.shared(release.items, release.index.layout)
        kept.open(country, release.manifest.until)
        kept.open(country, release.manifest.until, ("free",))


def grown(release: LoadedRelease, catalog: Catalog, size: int) -> LoadedRelease:
    """The release with as many more tracks as it lacks, as if it had been built with them."""
    lacking = size - len(release.items)
    for at in range(0, max(lacking, 0), 20_000):
        publish(catalog, release.items.frame, f"grown{at}", min(20_000, lacking - at))
    view = View.of(release, catalog.snapshot(), closed_by())
    index = merged(release.index, view.release.two_tower.item_vectors)
    return replace(view.release, index=index, revision=None)


def timed(change: str, act: Callable[[int], object], then: Callable[[], object], repeats: int) -> Row:
    """Time of `then`, each after one `act`; CPU is of the calling thread, where other processes share the cores."""
    times, cpu = [], []
    for i in range(repeats):
        act(i)
        begin, spent = time.perf_counter(), time.thread_time()
        then()
        times.append((time.perf_counter() - begin) * 1000)
        cpu.append((time.thread_time() - spent) * 1000)
    found = {"p50": float(np.median(times)), "max": float(np.max(times)), "cpu": float(np.median(cpu))}
    return {"change": change, **found, "n": repeats}


def publish(catalog: Catalog, frame: pl.DataFrame, name: str, n: int) -> None:
    """New tracks like the first n of a release."""
    rows = pl.concat([frame] * (1 + n // len(frame)))[:n].select([c for c in TRACKS if c in frame.columns])
    ids = pl.Series([public_id("benchmark", f"{name}/{i}") for i in range(n)])
    catalog.write({"tracks": rows.with_columns(track_id=ids, isrc=pl.lit(None, pl.String))})


def change(catalog: Catalog, frame: pl.DataFrame, row: int) -> None:
    track = frame[row].select([c for c in TRACKS if c in frame.columns])
    catalog.write({"tracks": track.with_columns(genre=pl.lit(f"benchmark/{row}"))})


def withdraw(catalog: Catalog, track_id: str) -> None:
    catalog.withdraw(track_id, datetime.now(UTC))


if __name__ == "__main__":
    main()
