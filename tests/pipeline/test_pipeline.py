"""The candidate pipeline: what each stage may do, and the one failure rule."""

import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.pipeline import (
    Candidates,
    Pipeline,
    PipelineFailed,
    Proposal,
    Result,
    Rung,
    Truncate,
    apply,
    truncate,
    union,
)
from recsys.turns import Budgets, Guard
from recsys.types import RankedItem, Slate

Batch = list[int]


@dataclass
class Listed:
    """Proposes the same ids to every request."""

    name: str
    ids: tuple[int, ...]
    delay: float = 0.0
    broken: bool = False

    def propose(self, batch: Batch) -> Proposal:
        time.sleep(self.delay)
        if self.broken:
            raise RuntimeError("source is down")
        n = len(self.ids)
        ids = np.tile(np.array(self.ids, np.int64), len(batch))
        return Proposal(ids, np.arange(len(batch) + 1) * n, -ids.astype(np.float32))


@dataclass
class ById:
    """Scores a candidate by a function of its id."""

    name: str = "score"
    values: dict[int, float] = field(default_factory=dict)
    broken: bool = False

    def score(self, batch: Batch, candidates: Candidates) -> np.ndarray:
        if self.broken:
            raise ValueError("scorer is down")
        return np.array([self.values.get(int(i), float(i)) for i in candidates.ids])


@dataclass
class Even:
    name: str = "even"
    broken: bool = False

    def keep(self, batch: Batch, candidates: Candidates) -> np.ndarray:
        if self.broken:
            raise OSError("filter is down")
        return candidates.ids % 2 == 0


@dataclass
class Best:
    """The best candidates by one column."""

    column: str = "score"
    name: str = "best"

    def select(self, batch: Batch, candidates: Candidates) -> list[Slate]:
        slates = []
        for j in range(len(batch)):
            own = candidates.of(j)
            order = np.argsort(-own.columns[self.column], kind="stable")
            items = [RankedItem(int(own.ids[r]), "s", p, 0.0, 1.0, "") for p, r in enumerate(order)]
            slates.append(Slate(tuple(items), self.name))
        return slates


def tracks(result: Result, request: int = 0) -> list[int]:
    return [item.track for item in result.slates[request].items]


def popular() -> Rung[Batch]:
    return Rung("popular", (Listed("p", (12,)),), (ById(),), Best())


def ladder(*rungs: Rung[Batch], budget_ms: float | None = None) -> Pipeline[Batch]:
    return Pipeline(rungs, budget_ms)


def test_each_candidate_comes_once_and_keeps_every_sources_score() -> None:
    found = union({"a": Listed("a", (3, 1)).propose([0]), "b": Listed("b", (3, 7)).propose([0])}, 1)
    assert found.ids.tolist() == [1, 3, 7]
    assert found.columns["source:a"][:2].tolist() == [-1, -3]
    assert np.isnan(found.columns["source:a"][2])
    assert found.columns["source:b"][1:].tolist() == [-3, -7]


def test_a_batch_answers_like_its_requests_one_by_one() -> None:
    pipeline = ladder(Rung("full", (Listed("a", (5, 2, 8)),), (Even(), ById()), Best()))
    together = pipeline.run([0, 1])
    assert tracks(together, 0) == tracks(together, 1) == tracks(pipeline.run([1])) == [8, 2]


def test_a_failing_source_is_skipped_and_counted() -> None:
    result = ladder(Rung("full", (Listed("a", (2,)), Listed("b", (4,), broken=True)), (ById(),), Best())).run(
        [0]
    )
    assert tracks(result) == [2]
    assert result.sources["b"].outcome == "failed"
    assert result.rung == "full"


def test_a_source_over_its_budget_is_skipped_and_counted() -> None:
    slow = Listed("slow", (4,), delay=0.5)
    full = Rung("full", (Listed("a", (2,)), slow), (ById(),), Best())
    result = ladder(full, popular(), budget_ms=50).run([0], Guard())
    assert result.rung == "full"
    assert tracks(result) == [2]
    assert result.sources["slow"].outcome == "timeout"


def test_sources_after_a_slow_one_still_propose_and_each_has_a_budget_of_its_own() -> None:
    sources = (
        Listed("a", (2,), delay=0.06),
        Listed("slow", (4,), delay=0.5),
        Listed("b", (6,), delay=0.06),
        Listed("broken", (8,), broken=True),
        Listed("c", (10,), delay=0.06),
    )
    pipeline = ladder(Rung("full", sources, (ById(),), Best()), popular(), budget_ms=100)
    result = pipeline.run([0], Guard(Budgets(rung=2_000)))
    assert tracks(result) == [10, 6, 2]
    assert [result.sources[s.name].outcome for s in sources] == ["ok", "timeout", "ok", "failed", "ok"]


def test_a_failing_scorer_makes_the_next_rung_answer() -> None:
    source = Listed("a", (2, 4))
    result = ladder(
        Rung("full", (source,), (ById(broken=True),), Best()),
        Rung("light", (source,), (), Best("source:a")),
    ).run([0])
    assert result.rung == "light"
    assert tracks(result) == [2, 4]
    assert "scorer is down" in result.fallen["full"]


def test_a_failing_filter_never_lets_everything_through() -> None:
    rung = Rung("full", (Listed("a", (1, 2)),), (Even(broken=True), ById()), Best())
    with pytest.raises(PipelineFailed, match="filter is down"):
        ladder(rung).run([0])


def test_a_request_without_candidates_falls_to_the_next_rung() -> None:
    result = ladder(
        Rung("full", (Listed("a", (1, 3)),), (Even(), ById()), Best()),
        Rung("popular", (Listed("b", (2,)),), (ById(),), Best()),
    ).run([0])
    assert result.rung == "popular"


def test_a_column_of_the_wrong_length_is_refused() -> None:
    class Short:
        name = "short"

        def score(self, batch: Batch, candidates: Candidates) -> np.ndarray:
            return np.zeros(1)

    with pytest.raises(PipelineFailed, match="wrong length"):
        apply(Short(), [0], Candidates(np.arange(3), np.array([0, 3])))


def test_nonfinite_scores_sink() -> None:
    values = {1: np.nan, 2: np.inf, 3: -np.inf, 4: -5.0}
    pipeline = ladder(Rung("full", (Listed("a", (1, 2, 3, 4)),), (ById(values=values),), Best()))
    assert tracks(pipeline.run([0]))[0] == 4


def test_a_side_effect_that_fails_does_not_take_the_answer_away() -> None:
    class Broken:
        def observe(self, batch: Batch, result: Result) -> None:
            raise RuntimeError("no disk")

    rung = Rung("full", (Listed("a", (2,)),), (ById(),), Best())
    assert tracks(Pipeline([rung], None, [Broken()]).run([0])) == [2]


def test_floors_keep_the_best_of_a_small_source() -> None:
    ids = np.arange(10)
    columns = {"score": ids.astype(np.float64), "source:new": np.where(ids < 4, 1.0, np.nan)}
    kept = truncate(Candidates(ids, np.array([0, 10]), columns), Truncate("score", 3, {"source:new": 2}))
    assert kept.ids.tolist() == [2, 3, 7, 8, 9]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 50), max_size=20, unique=True), min_size=1, max_size=4),
    st.integers(1, 10),
)
def test_truncation_keeps_exactly_the_k_best_of_each_request(rows: list[list[int]], k: int) -> None:
    ids = np.array([i for row in rows for i in sorted(row)], np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    score = (ids * 7919 % 13).astype(np.float64)
    kept = truncate(Candidates(ids, offsets, {"score": score}), Truncate("score", k))
    for j, row in enumerate(rows):
        best = sorted(row, key=lambda i: (-(i * 7919 % 13), i))[:k]
        assert kept.of(j).ids.tolist() == sorted(best)


def test_replay_from_the_record_gives_the_same_answer() -> None:
    pipeline = ladder(Rung("full", (Listed("a", (1, 2, 6)),), (Even(), ById(), Truncate("score", 2)), Best()))
    result = pipeline.run([0])
    record = Candidates(result.candidates.ids, result.candidates.offsets)
    assert tracks(pipeline.replay("full", [0], record)) == tracks(result)
