"""How good the list surfaces are, on a home whose log goes past its release's training:

    python -m benchmarks.lists --home var

Continuation: sessions after the training's end with at least 8 distinct tracks that were not skipped; the first half
is given, with the listener's state before the session, and a hit is any track of the rest among the first 10. Mixes,
discovery: listeners with the consent and at least 30 plays, asked one day after the training's end. Exploration is
off. Writes benchmarks/results/lists.json.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.results import table, write
from recsys.engines import open_store
from recsys.features.state import decode
from recsys.home import Home
from recsys.items import MS_PER_DAY, Items
from recsys.lake import Lake
from recsys.plays import SESSION_GAP_MS
from recsys.schemas import STREAM_MS, Surface
from recsys.types import Context, Query, UserState
from serving.list_settings import ContinuationSettings, DiscoverySettings, ListSettings, MixSettings
from serving.loaded import LoadedRelease
from serving.recommender import Recommender
from serving.registry import Registry
from serving.settings import HomeSettings, ServiceSettings

LEAST, K = 8, 10
PLAIN = ServiceSettings(
    home=HomeSettings(epsilon=0),
    lists=ListSettings(
        mixes=MixSettings(epsilon=0),
        discovery=DiscoverySettings(epsilon=0),
        continuation=ContinuationSettings(epsilon=0),
    ),
)


@dataclass(frozen=True)
class Case:
    """One held-out session: the given half, and the rest."""

    user: str
    start: int
    given: tuple[int, ...]
    rest: frozenset[int]


def sessions(lake: Lake, items: Items, since: int) -> list[Case]:
    """All cases after `since` (UTC ms)."""
    plays = (
        lake.scan("events")
        .filter(pl.col("kind") == "play_end", pl.col("ts").dt.epoch("ms") >= since)
        .select("user_id", "track_id", "ms_played", "reason_end", end=pl.col("ts").dt.epoch("ms"))
        .collect()
        .sort("user_id", "end")
    )
    dense = items.numbers(plays["track_id"].to_list())
    skipped = ((plays["ms_played"] < STREAM_MS) & (plays["reason_end"] != "trackdone")).fill_null(False)
    found, tracks, last, first = list[Case](), dict[int, None](), ("", 0), 0
    for user, end, ms, track, skip in zip(
        plays["user_id"], plays["end"], plays["ms_played"], dense.tolist(), skipped, strict=True
    ):
        if user != last[0] or end - ms - last[1] > SESSION_GAP_MS:
            found += _case(last[0], first, list(tracks))
            tracks, first = {}, end - ms
        if track >= 0 and not skip:
            tracks[track] = None
        last = (user, end)
    return found + _case(last[0], first, list(tracks))


def _case(user: str, start: int, tracks: list[int]) -> list[Case]:
    half = len(tracks) // 2
    return [Case(user, start, tuple(tracks[:half]), frozenset(tracks[half:]))] if len(tracks) >= LEAST else []


def continuation(recommender: Recommender, cases: list[Case], states: Any) -> list[dict[str, Any]]:
    """hit@10 and share of the rest found, for the surface and its baselines."""
    items, popular = recommender.release.items, recommender.release.popularity[-1]
    found: dict[str, list[tuple[bool, float]]] = {}
    for case in cases:
        base = Query("r", Surface.CONTINUATION, case.start, 0, K, UserState(case.user))
        query = replace(base, station=case.given, exclude=case.given)
        counts = np.bincount(items.artist[list(case.given)], minlength=len(items.artist_ids))
        personal = recommender.answer(replace(query, user=states(case.user)))
        alone = recommender.answer(replace(query, user=UserState(case.user, personalized=False)))
        lists = {
            "continuation": [s["track"] for s in personal.slots],
            "continuation without consent": [s["track"] for s in alone.slots],
            "artists of the list": best(counts[items.artist] * 1e6 + popular, case.given),
            "popularity": best(popular, case.given),
        }
        for name, tracks in lists.items():
            hits = len(case.rest & set(tracks))
            found.setdefault(name, []).append((hits > 0, hits / min(K, len(case.rest))))
    return [_row(name, np.array(rows, float)) for name, rows in found.items()]


def best(score: NDArray[np.floating], without: tuple[int, ...]) -> list[int]:
    """The K best tracks that were not given."""
    score = score.astype(np.float64)
    score[list(without)] = -np.inf
    top: list[int] = np.argsort(-score, kind="stable")[:K].tolist()
    return top


def _row(name: str, rows: NDArray[np.float64]) -> dict[str, Any]:
    margin = 1.96 * rows[:, 0].std() / np.sqrt(len(rows))
    return {
        "list": name,
        "hit@10": rows[:, 0].mean(),
        "±": margin,
        "found": rows[:, 1].mean(),
        "n": len(rows),
    }


def lists(recommender: Recommender, states: list[UserState], now: int) -> dict[str, float]:
    """Means over listeners: how many mixes, how alike, how familiar, against home; new artists in discovery."""
    items, unit = recommender.release.items, recommender.release.two_tower.unit_vectors
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float | np.floating[Any]) -> None:
        rows.setdefault(name, []).append(float(value))

    for state in states:
        query = Query("r", Surface.DAILY_MIX, now, 7, 100, state, Context())
        window = items.numbers(state.track_id)
        window = window[window >= 0]
        mixes: dict[str, list[int]] = {}
        for slot in recommender.answer(query).slots:
            mixes.setdefault(slot["shelf"], []).append(slot["track"])
        sets = [set(tracks[:50]) for tracks in mixes.values()]
        feed = {s["track"] for s in recommender.answer(replace(query, surface=Surface.HOME, limit=10)).slots}
        tomorrow = recommender.answer(replace(query, seed=8))
        again = {s["track"] for s in tomorrow.slots if s["shelf"] == "mix_1" and s["position"] < 50}
        note("mixes a listener", len(mixes))
        note("tracks a mix", np.mean([len(tracks) for tracks in mixes.values()]))
        note("familiar share of a mix", np.mean([np.isin(list(s), window).mean() for s in sets]))
        note("share of home's tracks in the mixes", len(feed & set().union(*sets)) / len(feed))
        note("same tracks in mix 1 under another day's draw", len(again & sets[0]) / max(len(sets[0]), 1))
        if len(sets) > 1:
            pairs = [(a, b) for i, a in enumerate(sets) for b in sets[:i]]
            note("Jaccard between mixes", np.mean([len(a & b) / len(a | b) for a, b in pairs]))
            means = np.stack([unit[tracks].mean(0) for tracks in mixes.values()])
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            note("cosine between mixes", (means @ means.T)[np.triu_indices(len(means), 1)].mean())
        known = set(items.artist[window].tolist())
        heard = tuple(int(t) for t in np.unique(window))
        wish = replace(query, surface=Surface.DISCOVERY, limit=30, exclude=heard)
        for name, tracks in (
            ("new artists in discovery", [s["track"] for s in recommender.answer(wish).slots]),
            ("new artists in home", list(feed)),
        ):
            note(name, np.mean([int(items.artist[t]) not in known for t in tracks]))
    return {name: float(np.mean(values)) for name, values in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", default="var")
    parser.add_argument("--sessions", type=int, default=600)
    parser.add_argument("--listeners", type=int, default=100)
    given = parser.parse_args()
    home = Home.of(Path(given.home))
    recommender = Recommender(LoadedRelease.load(Registry(home).get("champion").folder), PLAIN)
    store, until = open_store(home), recommender.release.manifest.until

    def state(user: str) -> UserState:
        raw = store.get(user)
        return decode(raw) if raw is not None else UserState(user)

    rng = np.random.default_rng(0)
    cases = sessions(Lake(home.lake), recommender.release.items, until)
    chosen = rng.permutation(len(cases))[: given.sessions]
    rows = continuation(recommender, [cases[i] for i in chosen], state)
    states = [s for s in map(state, store.keys(50 * given.listeners)) if s.personalized]
    states = [s for s in states if len(s.track_id) >= 30][: given.listeners]
    figures = lists(recommender, states, until + MS_PER_DAY)
    table(list(rows[0]), [[f"{v:.3f}" if isinstance(v, float) else v for v in r.values()] for r in rows])
    for name, value in figures.items():
        print(f"{name:46} {value:.3f}")
    write("lists", {"continuation": rows, "lists": figures, "tracks": len(recommender.release.items)})


if __name__ == "__main__":
    main()
