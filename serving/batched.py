"""A batch of home queries through the pipeline in one pass, with one Decision each: what live listeners ask.

answer(queries, recommender_of, store)      # the slates and records of the one-query path, in the same order

No time limits hold, so that an answer depends on its query alone. Where a batch falls from its first rung (one listener
without candidates is enough), its queries are answered one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from recsys.pipeline import Result
from recsys.state_store import StateStore
from recsys.types import Decision, Query
from serving import decisions
from serving.reasons import claims
from serving.recommender import Recommender

RecommenderOf = Callable[[Query], Recommender]


def answer(queries: Sequence[Query], recommender_of: RecommenderOf, store: StateStore) -> list[Decision]:
    """Decisions of some home queries, not logged yet; `store` holds what may be claimed to listeners."""
    out: dict[int, Decision] = {}
    for recommender, places in _groups(queries, recommender_of):
        release, least = recommender.release, recommender.settings.reasons.least_tracks
        own = [
            claims.claimed(queries[i], store, release.manifest.version, release.items, least) for i in places
        ]
        out |= zip(places, _decided(recommender, own), strict=True)
    return [out[i] for i in range(len(queries))]


def _groups(queries: Sequence[Query], recommender_of: RecommenderOf) -> list[tuple[Recommender, list[int]]]:
    """Places of the queries that one pipeline answers: the same release and settings, the same consent."""
    groups: dict[tuple[int, bool], tuple[Recommender, list[int]]] = {}
    for i, query in enumerate(queries):
        recommender = recommender_of(query)
        groups.setdefault((id(recommender), query.user.personalized), (recommender, []))[1].append(i)
    return list(groups.values())


def _decided(recommender: Recommender, queries: Sequence[Query]) -> list[Decision]:
    batch, result = recommender.run(queries)
    if result.fallen and len(queries) > 1:
        return [_decided(recommender, [query])[0] for query in queries]
    recommender.observe(batch, result)
    release, bandit = recommender.release, recommender.state_of(queries[0], result)
    return [
        decisions.record(batch, j, _own(result, j), release.ref, release.items, release.revision, bandit)
        for j in range(len(queries))
    ]


def _own(result: Result, j: int) -> Result:
    """The result as the record of request j has it: its own candidates are counted, times are its share."""
    if len(result.slates) == 1:
        return result
    own, share = result.candidates.of(j), 1 / len(result.slates)
    return replace(
        result,
        sources={
            name: replace(outcome, count=int(own.proposed_by(name).sum()), ms=outcome.ms * share)
            for name, outcome in result.sources.items()
        },
        counts={"eligible": len(own)},
        stages_ms={name: ms * share for name, ms in result.stages_ms.items()},
    )
