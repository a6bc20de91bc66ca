"""The smoke stage: the challenger is whole, and answers real listeners with numbers, in time, as it was built to.

found = checks(champion, challenger, queries, settings)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from recsys.pipeline import Candidates
from recsys.schemas import Surface
from recsys.state_store import StateStore
from recsys.state_tail import read_state
from recsys.types import Context, Query
from serving.controls import allowed
from serving.gating.record import Check
from serving.gating.settings import SmokeSettings
from serving.loaded import LoadedRelease
from serving.recommender import Recommender, new_request_id, request_seed
from serving.watch.drift import psi
from serving.watch.reference import binned, thinned

LIMIT = 10
_UTILITY = "utility"


@dataclass
class Answers:
    """What a release answered to some queries."""

    ms: list[float] = field(default_factory=list)
    empty: int = 0
    fallen: list[str] = field(default_factory=list)  # why: the rung, or the type of what was raised
    infinite: int = 0  # slots whose score is no number
    improper: int = 0  # slots whose propensity is not within (0, 1]
    utility: list[np.ndarray] = field(default_factory=list)


def queries(store: StateStore, count: int, now: int, seed: int) -> list[Query]:
    """Home pages of known listeners at `now` (UTC ms), the same for the same store and seed."""
    keys = sorted(store.keys(50 * count))
    chosen = np.random.default_rng(seed).permutation(len(keys))[:count]
    out = []
    for i in sorted(chosen.tolist()):
        request_id = new_request_id(now)
        user = allowed(read_state(store, keys[i]))
        out.append(
            Query(request_id, Surface.HOME, now, request_seed(request_id), LIMIT, user, context=Context())
        )
    return out


def checks(
    champion: Recommender, challenger: Recommender, asked: Sequence[Query], settings: SmokeSettings
) -> list[Check]:
    """Every rule, each with its own name."""
    if not asked:
        return [Check("smoke.answers", "unclear", "no listener is known here: nobody to answer")]
    ours, theirs = _answers(champion, asked), _answers(challenger, asked)
    return [
        _counted("smoke.answers", len(theirs.fallen), len(asked), "home pages failed", theirs.fallen[:3]),
        _counted("smoke.slates", theirs.empty, len(asked), "home pages are empty"),
        _counted("smoke.finite", theirs.infinite, len(asked) * LIMIT, "slots have a score that is no number"),
        _counted(
            "smoke.propensities", theirs.improper, len(asked) * LIMIT, "slots have no propensity in (0, 1]"
        ),
        _latency(ours, theirs, settings),
        _drift(challenger.release, theirs, settings),
    ]


def _answers(recommender: Recommender, asked: Sequence[Query]) -> Answers:
    """The first query is asked twice: its first time warms what is set up lazily."""
    out = Answers()
    _quietly(recommender, asked[0], Answers())
    for query in asked:
        _quietly(recommender, query, out)
    return out


def _quietly(recommender: Recommender, query: Query, out: Answers) -> None:
    began = time.perf_counter()
    try:
        _, result = recommender.run([query])
    except Exception as error:  # whatever it is, the release does not answer
        out.fallen.append(type(error).__name__)
        return
    out.ms.append((time.perf_counter() - began) * 1000)
    slots = result.slates[0].items
    out.empty += not slots
    if query.user.personalized and result.rung != "full":
        out.fallen.append(f"rung {result.rung}")
    out.infinite += sum(not np.isfinite(slot.score) for slot in slots)
    out.improper += sum(not 0 < slot.propensity <= 1 + 1e-9 for slot in slots)
    if result.rung == "full" and _UTILITY in result.candidates.columns:
        out.utility.append(_thin(result.candidates))


def _thin(candidates: Candidates) -> np.ndarray:
    return np.asarray(candidates.columns[_UTILITY][thinned(len(candidates))], np.float64)


def _counted(rule: str, bad: int, of: int, what: str, examples: Sequence[str] = ()) -> Check:
    said = f"{bad} of {of} {what}" + (f": {', '.join(examples)}" if bad and examples else "")
    return Check(rule, "stopped" if bad else "passed", said, {"bad": bad, "of": of})


def _latency(ours: Answers, theirs: Answers, settings: SmokeSettings) -> Check:
    if not ours.ms or not theirs.ms:
        return Check("smoke.latency", "unclear", "one of the releases gave no answer to time")
    a, b = median(ours.ms), median(theirs.ms)
    said = f"median {b:.1f} ms against {a:.1f} ms; at most {settings.slower:g} times is let through"
    outcome = "stopped" if b > settings.slower * a else "passed"
    return Check("smoke.latency", outcome, said, {"champion": a, "challenger": b})  # type: ignore[arg-type]


def _drift(release: LoadedRelease, found: Answers, settings: SmokeSettings) -> Check:
    """Utilities of now against those that the release gave when it was built: another input, or not this release."""
    known = None if release.reference is None else release.reference.scores.get(_UTILITY)
    if known is None or not found.utility:
        return Check("smoke.drift", "passed", "the release carries no scores to compare with")
    counts = binned(np.concatenate(found.utility), np.asarray(known.edges))
    value = psi(known, counts)
    said = f"PSI of the utility {value:.2f} against its own reference; at most {settings.psi:g}"
    return Check("smoke.drift", "stopped" if value > settings.psi else "passed", said, {"psi": value})
