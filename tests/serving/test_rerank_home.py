"""Re-ranking of the served home: the parts from a real release, what is recorded, exact propensities and replay."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bandits.epsilon_greedy import EpsilonGreedy
from recsys.items import MS_PER_DAY, UNKNOWN_DAY
from recsys.pipeline import Candidates
from recsys.rerank.floors import Floors
from recsys.rerank.settings import RerankSettings
from recsys.schemas import Surface
from recsys.slate import Shelf, fill, propensities
from recsys.types import Context, Query, QueryBatch, Slate, UserState
from serving import decisions
from serving.metrics import Metrics
from serving.parts.rerank import Reranker, is_new, long_tail
from serving.parts.selectors import ShelfSelector
from serving.recommender import Recommender
from serving.replay import compare
from serving.service import Service
from serving.settings import HomeSettings, ServiceSettings
from serving.surfaces import home

OFF = RerankSettings(diversity_weight=0, calibration_weight=0, new_share=0, tail_share=0)
EVERYTHING = RerankSettings(diversity_weight=0.4, calibration_weight=0.4, new_share=0.3, tail_share=0.3)


@pytest.fixture(scope="module")
def plain(tiny_service: Service) -> Recommender:
    return tiny_service._fleet._by_version["1"]


@pytest.fixture(scope="module")
def scored(tiny_service: Service, plain: Recommender) -> list[tuple[QueryBatch, Candidates]]:
    """Home requests with their scored candidates; the first of them from somebody new."""
    now = plain.release.manifest.until + MS_PER_DAY
    users = [r["user_id"] for r in tiny_service.listeners(200)]
    states = [state for user in users[:30] if (state := tiny_service.state(user)).personalized]
    out = []
    for i, state in enumerate([UserState("n" * 22), *states[:11]]):
        batch, result = plain.run([Query(f"r{i}", Surface.HOME, now + i, i, 10, state, Context("SE"))])
        assert result.rung == "full"
        out.append((batch, result.candidates))
    return out


def selector(plain: Recommender, rerank: RerankSettings, epsilon: float = 0.0) -> ShelfSelector:
    return home.selector(plain.release, HomeSettings(epsilon=epsilon, rerank=rerank), "utility", "full")


def recommender(plain: Recommender, rerank: RerankSettings, epsilon: float = 0.05) -> Recommender:
    return Recommender(plain.release, ServiceSettings(home=HomeSettings(epsilon=epsilon, rerank=rerank)))


def first_shelf(slate: Slate) -> list[int]:
    return [item.track for item in slate.items if item.shelf == "made_for_you"]


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        HomeSettings.model_validate({"rerank": {"diversty": "dpp"}})
    with pytest.raises(ValidationError):
        RerankSettings(diversity_weight=float("inf"))


def test_what_is_switched_off_is_not_built(plain: Recommender) -> None:
    off = Reranker(plain.release, OFF, "utility")
    assert off.effects() == ()
    assert off.quotas() == ()
    on = Reranker(plain.release, EVERYTHING, "utility")
    assert (len(on.effects()), len(on.quotas())) == (2, 1)
    assert OFF.label == ""
    assert EVERYTHING.label == "dpp0.4-calibrated0.4-new0.3-tail0.3"


def test_without_re_ranking_the_first_shelf_is_in_order_of_utility(
    plain: Recommender, scored: list[tuple[QueryBatch, Candidates]]
) -> None:
    for batch, candidates in scored:
        (slate,) = selector(plain, OFF).select(batch, candidates)
        scores = [item.score for item in slate.items if item.shelf == "made_for_you"]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("diversity", ["mmr", "dpp"])
def test_every_part_keeps_propensities_exact(
    plain: Recommender, scored: list[tuple[QueryBatch, Candidates]], diversity: str
) -> None:
    policy = EpsilonGreedy(0.3)
    chosen = selector(plain, EVERYTHING.model_copy(update={"diversity": diversity}), 0.3)
    for batch, candidates in scored:
        seed, p = batch.queries[0].seed, chosen.problem(batch, 0, candidates.of(0))
        slots = fill(p, policy, seed)
        along = propensities(p, policy, seed, [slot.row for slot in slots])
        assert [float(d[s.row]) for d, s in zip(along, slots, strict=True)] == [s.propensity for s in slots]
        assert all(abs(d.sum() - 1) < 1e-9 for d in along)
        (slate,) = chosen.select(batch, candidates)
        assert [s.propensity for s in slots] == [item.propensity for item in slate.items]


def test_answers_with_every_part_replay(
    plain: Recommender, scored: list[tuple[QueryBatch, Candidates]]
) -> None:
    for diversity in ("mmr", "dpp"):
        rec = recommender(plain, EVERYTHING.model_copy(update={"diversity": diversity}), 0.3)
        for batch, _ in scored[:4]:
            assert compare(rec, rec.answer(batch.queries[0]))["same"]


def test_diversity_and_calibration_do_what_their_names_say(
    plain: Recommender, scored: list[tuple[QueryBatch, Candidates]]
) -> None:
    unit, items = plain.release.two_tower.unit_vectors, plain.release.items

    def facts(**given: Any) -> tuple[float, float]:
        chosen, distance, genres = selector(plain, OFF.model_copy(update=given)), [], []
        for batch, candidates in scored:
            tracks = first_shelf(chosen.select(batch, candidates)[0])
            gram = unit[tracks] @ unit[tracks].T
            distance.append(1 - gram[np.triu_indices(len(tracks), 1)].mean())
            genres.append(len(np.unique(items.parent[tracks])))
        return float(np.mean(distance)), float(np.mean(genres))

    off = facts()
    assert facts(diversity_weight=1.0, diversity="dpp")[0] > off[0]
    assert facts(diversity_weight=1.0, diversity="mmr")[0] > off[0]
    assert facts(calibration_weight=5.0)[1] > off[1]


def test_floors_lift_the_share_of_new_and_rare_tracks_within_their_bound(
    plain: Recommender, scored: list[tuple[QueryBatch, Candidates]]
) -> None:
    release, rare = plain.release, long_tail(plain.release.popularity[-1], 0.5)
    chosen = selector(plain, OFF.model_copy(update={"new_share": 0.3, "tail_share": 0.3, "floor_loss": 0.5}))
    before, after = 0, 0
    for batch, candidates in scored:
        query, own = batch.queries[0], candidates.of(0)
        p = chosen.problem(batch, 0, own)
        p = replace(p, shelves=p.shelves[:1])
        rows = [s.row for s in fill(p, EpsilonGreedy(0), query.seed)]
        free = [s.row for s in fill(replace(p, quotas=()), EpsilonGreedy(0), query.seed)]
        (quota,) = p.quotas
        assert isinstance(quota, Floors)
        assert quota.loss(rows) <= quota.allowance(rows) + 1e-9
        assert p.utility[free].sum() - p.utility[rows].sum() <= quota.loss(rows) + 1e-6
        new = is_new(release.items, own.ids, int(batch.country[0]), query.now, 30)
        before += int((new | rare[own.ids])[free].sum())
        after += int((new | rare[own.ids])[rows].sum())
    assert after > before


def test_a_floor_that_falls_short_is_in_the_record_and_in_the_metrics(
    plain: Recommender, scored: list[tuple[QueryBatch, Candidates]]
) -> None:
    rec = recommender(plain, OFF.model_copy(update={"new_share": 1.0, "floor_loss": 0.0}))
    decision = rec.answer(scored[1][0].queries[0])
    assert decision.short["made_for_you:new"] > 0
    event = decisions.to_event(decision)
    assert event.payload is not None
    assert decisions.from_payload(event.payload).short == decision.short
    metrics = Metrics()
    metrics.decided(decision)
    assert b'recsys_floor_short_slots_total{floor="made_for_you:new",surface="home"}' in metrics.text()


def test_new_is_by_release_date_or_else_by_first_showing(plain: Recommender) -> None:
    items, day = plain.release.items, 20_000
    days = np.array([day, day - 29, day - 30, day + 1, UNKNOWN_DAY, UNKNOWN_DAY, UNKNOWN_DAY], np.int32)
    opened = np.array([0, 0, 0, 0, day - 3, day - 40, day + 2], np.int64)[:, None] * MS_PER_DAY
    known = replace(items, release_day=days, available_from=opened)
    found = is_new(known, np.arange(7), 0, day * MS_PER_DAY + 5, 30)
    assert found.tolist() == [True, True, False, False, True, False, False]


def test_a_window_without_plays_leaves_calibration_out(
    plain: Recommender, scored: list[tuple[QueryBatch, Candidates]]
) -> None:
    batch, candidates = scored[0]
    reranker = Reranker(plain.release, OFF.model_copy(update={"calibration_weight": 1.0}), "utility")
    (build,) = reranker.effects()
    utility, n = np.linspace(1, 0, len(candidates)), len(candidates)
    shelf = Shelf("made_for_you", 5, np.ones(n, bool))
    assert build(batch, 0, candidates).utility(utility, shelf, []) is utility
    batch, candidates = scored[1]
    utility, n = np.linspace(1, 0, len(candidates)), len(candidates)
    moved = build(batch, 0, candidates).utility(utility, Shelf("made_for_you", 5, np.ones(n, bool)), [])
    assert not np.array_equal(moved, utility)
