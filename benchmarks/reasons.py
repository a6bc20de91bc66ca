"""Are "because you finished X" claims true? Each shown one is judged by taking X away at the time it is shown.

python -m benchmarks.reasons --home var --listeners 200

For each sampled listener the history is cut right after a finished track X: at that moment the claim is tested, as
serving does when a play enters a history. The home feed is then asked for after a while, and each track under the
claim is judged by two runs of the whole pipeline at that moment, with and without X, the track kept in the pool:
without X it must lose utility and at least one place. Compared: the rule before (the tracks most similar to X); and,
for both, another track of the history is taken away in place of X: what holds for any track is no reason.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import FOLDER, table, write
from recsys.engines import open_store
from recsys.evaluation.bootstrap import Resampler
from recsys.features.state import decode
from recsys.home import Home
from recsys.plays import I64, Outcome
from recsys.schemas import Surface
from recsys.types import Context, Query, UserState
from serving.loaded import LoadedRelease
from serving.reasons.claims import OPTION
from serving.reasons.counterfactual import PLAY_COLUMNS, Counterfactual, Effect
from serving.reasons.worker import examine
from serving.recommender import Recommender, request_seed
from serving.registry import CHAMPION, Registry
from serving.settings import ReasonSettings

WAITS = {"10 min": 600_000, "1 hour": 3_600_000, "10 hours": 36_000_000, "3 days": 3 * 86_400_000}
SHELVES = {"similar to X": "more_like", "tested": "because_you_finished"}
LIMITS = ((1, 0.0), (3, 0.1), (5, 0.25), (10, 0.25), (20, 0.5))
"""(places, share of its rank) that a track must lose to be claimed: what other limits would give."""
LEAST_PLAYS = 30
TRACKS = 10
"""Tracks a shelf."""
_HEAD = ("rule", "after", "pages", "tracks", "demoted", "low", "high", "places", "by_other")


@dataclass(frozen=True)
class Case:
    """A listener who has just finished a track."""

    user: UserState
    track_id: str
    other: str  # another track of the history, drawn uniformly
    ended: int  # UTC ms

    def query(self, wait: int) -> Query:
        """A home feed `wait` ms after the end of the track."""
        name = f"reasons:{self.user.user_id}:{wait}"
        return Query(name, Surface.HOME, self.ended + wait, request_seed(name), TRACKS, self.user, Context())


@dataclass(frozen=True)
class Row:
    """One claimed track, judged."""

    rule: str
    after: str
    listener: int
    demoted: bool  # without X it loses utility and a place
    places: int  # that it loses
    other_demoted: bool  # without another track of the history it loses utility and a place


def cases(home: Home, release: LoadedRelease, listeners: int, seed: int) -> Iterator[Case]:
    """Listeners with consent and a history, each cut after one of their last eight finished tracks."""
    store, rng, found = open_store(home), np.random.default_rng(seed), 0
    for key in rng.permutation(store.keys(1_000_000)):
        user = decode(store.get(str(key)) or b"")
        known = release.items.numbers(user.track_id) >= 0
        ends = np.flatnonzero((np.array(user.outcome) == Outcome.FINISH) & known)[-8:]
        if not user.personalized or len(ends) < 8 or ends[0] < LEAST_PLAYS:
            continue
        stop = int(rng.choice(ends)) + 1
        columns: dict[str, Any] = {name: getattr(user, name)[:stop] for name in PLAY_COLUMNS}
        cut = replace(user, **columns)
        others = sorted(set(cut.track_id) - {cut.track_id[-1]})
        yield Case(cut, cut.track_id[-1], str(rng.choice(others)), cut.start[-1] + cut.ms_played[-1] + 1)
        found += 1
        if found == listeners:
            return


def judged(
    recommender: Recommender, test: Counterfactual, case: Case, listener: int, supported: I64
) -> Iterator[Row]:
    """What each rule's shelf shows after each wait, judged then."""
    claim = {
        OPTION: {"track": int(recommender.release.items.number(case.track_id)), "tracks": supported.tolist()}
    }
    enough = len(supported) >= recommender.settings.reasons.least_tracks
    for after, wait in WAITS.items():
        asked = case.query(wait)
        effects = [test.effect(asked, track) for track in (case.track_id, case.other)]
        for rule, shelf in SHELVES.items():
            if rule == "tested" and not enough:
                continue
            query = replace(asked, options=claim) if rule == "tested" else asked
            slots = recommender.answer(query).slots
            shown = [slot["track"] for slot in slots if slot["shelf"] == shelf]
            yield from rows(rule, after, listener, shown, *effects)


def rows(
    rule: str, after: str, listener: int, shown: list[int], of_x: Effect, other: Effect
) -> Iterator[Row]:
    """One row a shown track; the other effect's pool may lack it, and then it does not move."""
    for track in shown:
        moved = [_moved(effect, track) for effect in (of_x, other)]
        yield Row(rule, after, listener, moved[0] > 0, moved[0], moved[1] > 0)


def _moved(effect: Effect, track: int) -> int:
    """Places that a track loses, 0 where its own utility did not fall."""
    at = np.flatnonzero(effect.ids == track)
    return int(effect.drop[at[0]]) if len(at) and effect.loss[at[0]] > 0 else 0


def limits(settings: ReasonSettings, test: Counterfactual, case: Case, listener: int) -> Iterator[Row]:
    """What other limits would claim, the best TRACKS of each, judged after two hours."""
    hour = WAITS["1 hour"]
    effects = [test.effect(case.query(int(h * hour)), case.track_id) for h in settings.later_hours]
    judges = [test.effect(case.query(2 * hour), track) for track in (case.track_id, case.other)]
    for drop, share in LIMITS:
        first, *later = [effect.supported(drop, share) for effect in effects]
        kept = first[np.all([np.isin(first, ids) for ids in later], axis=0)] if later else first
        shown = kept[:TRACKS].tolist() if len(kept) >= settings.least_tracks else []
        yield from rows(f"{drop}, {share:.0%}", "2 hours", listener, shown, *judges)


def figures(found: list[Row]) -> list[dict[str, Any]]:
    """One line a rule and wait: the share demoted without X with its 95% interval over listeners, and the rest."""
    lines = []
    for rule, after in dict.fromkeys((row.rule, row.after) for row in found):
        own = [row for row in found if (row.rule, row.after) == (rule, after)]
        listener = np.array([row.listener for row in own])
        share = Resampler.of(listener).mean(np.array([row.demoted for row in own], float))
        lines.append(
            {
                "rule": rule,
                "after": after,
                "pages": len(np.unique(listener)),
                "tracks": len(own),
                "demoted": share.value,
                "low": share.low,
                "high": share.high,
                "places": float(np.mean([row.places for row in own])),
                "by_other": float(np.mean([row.other_demoted for row in own])),
            }
        )
    return lines


def measure(home: Home, listeners: int, seed: int) -> dict[str, Any]:
    """All figures of one home.

    Raises:
        NotReady: no release has been promoted.
    """
    recommender = Recommender(LoadedRelease.load(Registry(home).get(CHAMPION).folder))
    reasons, test = (
        recommender.settings.reasons,
        Counterfactual(recommender.release, recommender.settings.home),
    )
    found, other, spent, asked = list[Row](), list[Row](), list[float](), 0
    for listener, case in enumerate(cases(home, recommender.release, listeners, seed)):
        begin = time.thread_time()
        claim = examine(test, reasons, case.user, Context(), case.ended)
        spent.append((time.thread_time() - begin) * 1000)
        supported = recommender.release.items.numbers(claim.supported if claim else [])
        found += judged(recommender, test, case, listener, supported.astype(np.int64))
        other += limits(reasons, test, case, listener)
        asked += 1
    return {
        "listeners": asked,
        "settings": reasons.model_dump(),
        "shown": figures(found),
        "limits": figures(other),
        "test_cpu_ms": {"mean": float(np.mean(spent)), "p90": float(np.quantile(spent, 0.9))},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    found = measure(Home.of(given.home), given.listeners, given.seed)
    for part in ("shown", "limits"):
        print(part)
        table([*_HEAD], [[line[name] for name in _HEAD] for line in found[part]])
    print(f"one test: {found['test_cpu_ms']['mean']:.0f} ms of CPU; {found['listeners']} listeners")
    print(write("reasons", found, given.out))


if __name__ == "__main__":
    main()
