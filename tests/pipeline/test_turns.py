"""A ladder keeps its time: what hangs is left behind, then left out, then tried again."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from recsys.breaker import Breaker, BreakerRule
from recsys.candidates import Candidates, Proposal
from recsys.pipeline import Effort, Pipeline, PipelineFailed, Rung
from recsys.turns import Budgets, Crew, Guard, Watch
from recsys.types import RankedItem, Slate

Batch = list[int]


@dataclass
class Part:
    """A source and a scorer at once; it hangs while `gate` is closed."""

    name: str
    gate: threading.Event = field(default_factory=threading.Event)
    broken: bool = False
    calls: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def _called(self) -> None:
        self.calls += 1
        assert self.gate.wait(20)
        if self.broken:
            raise RuntimeError("it is down")

    def propose(self, batch: Batch) -> Proposal:
        self._called()
        ids = np.array([1, 2, 3] * len(batch), np.int64)
        return Proposal(ids, np.arange(len(batch) + 1) * 3, ids.astype(np.float32))

    def score(self, batch: Batch, candidates: Candidates) -> np.ndarray:
        self._called()
        return candidates.ids.astype(np.float32)


@dataclass
class First:
    name: str = "first"

    def select(self, batch: Batch, candidates: Candidates) -> list[Slate]:
        ids = [int(candidates.of(j).ids[0]) for j in range(len(batch))]
        return [Slate((RankedItem(i, "s", 0, 0.0, 1.0, ""),), self.name) for i in ids]


@dataclass
class World:
    """full (source, slow source, scorer) -> light (source) -> last (popular)."""

    source: Part = field(default_factory=lambda: Part("source"))
    other: Part = field(default_factory=lambda: Part("other"))
    scorer: Part = field(default_factory=lambda: Part("scorer"))
    popular: Part = field(default_factory=lambda: Part("popular"))

    def pipeline(self, part_ms: float = 60) -> Pipeline[Batch]:
        rungs = [
            Rung("full", (self.source, self.other), (self.scorer,), First()),
            Rung("light", (self.source,), (), First()),
            Rung("last", (self.popular,), (), First()),
        ]
        return Pipeline(rungs, part_ms)


@pytest.fixture
def world() -> World:
    return World()


def guard(crew: Crew | None = None, **rule: float) -> Guard:
    return Guard(Budgets(300, 600, 1000), BreakerRule(**{"seconds": 60, **rule}), crew or Crew(16))


def timed(pipeline: Pipeline[Batch], by: Guard, effort: Effort = Effort.FULL) -> tuple[str, float]:
    begin = time.perf_counter()
    return pipeline.run([0], by, effort).rung, time.perf_counter() - begin


def test_a_hung_scorer_costs_its_budget_and_the_sources_are_not_asked_again(world: World) -> None:
    world.scorer.gate.clear()
    result = world.pipeline().run([0], guard())
    assert result.rung == "light"
    assert "scorer overran its time" in result.fallen["full"]
    assert world.source.calls == 1
    world.scorer.gate.set()


def test_a_part_that_keeps_hanging_is_left_out_at_no_cost(world: World) -> None:
    world.scorer.gate.clear()
    pipeline, by = world.pipeline(), guard()
    slow = [timed(pipeline, by) for _ in range(3)]
    fast = [timed(pipeline, by) for _ in range(20)]
    assert {rung for rung, _ in slow + fast} == {"light"}
    assert min(seconds for _, seconds in slow) >= 0.06
    assert np.median([seconds for _, seconds in fast]) < 0.03
    assert world.scorer.calls == 3
    assert by.describe()["scorer"] == {"open": 1, "opened": 1, "hung": 3}
    assert "left out" in pipeline.run([0], by).fallen["full"]
    world.scorer.gate.set()


def test_a_hung_source_is_skipped_and_the_full_rung_still_answers(world: World) -> None:
    world.other.gate.clear()
    pipeline, by = world.pipeline(), guard()
    outcomes = [pipeline.run([0], by) for _ in range(5)]
    assert {r.rung for r in outcomes} == {"full"}
    assert [r.sources["other"].outcome for r in outcomes] == ["timeout"] * 3 + ["skipped"] * 2
    world.other.gate.set()


def test_what_recovers_is_found_by_one_probe_and_used_again(world: World) -> None:
    world.scorer.gate.clear()
    pipeline, by = world.pipeline(), guard(seconds=0.2)
    for _ in range(3):
        pipeline.run([0], by)
    world.scorer.gate.set()
    assert pipeline.run([0], by).rung == "light"
    time.sleep(0.25)
    assert pipeline.run([0], by).rung == "full"
    assert by.describe()["scorer"] == {"open": 0, "opened": 1, "hung": 0}


def test_a_stage_that_raises_is_not_left_out(world: World) -> None:
    world.scorer.broken = True
    pipeline, by = world.pipeline(), guard()
    assert {pipeline.run([0], by).rung for _ in range(6)} == {"light"}
    assert world.scorer.calls == 6
    world.scorer.broken = False
    assert pipeline.run([0], by).rung == "full"


def test_many_hanging_requests_never_hold_more_than_the_crew_and_all_are_answered(world: World) -> None:
    world.scorer.gate.clear()
    world.source.gate.clear()
    crew = Crew(6)
    pipeline, by = world.pipeline(), guard(crew, trips=1000, window=1000)
    with ThreadPoolExecutor(12) as clients:
        rungs = list(clients.map(lambda _: timed(pipeline, by), range(24)))
    assert {rung for rung, _ in rungs} == {"last"}
    assert max(seconds for _, seconds in rungs) < 2
    assert crew._threads == 6
    world.source.gate.set()
    world.scorer.gate.set()


def test_all_rungs_above_the_last_share_one_budget(world: World) -> None:
    world.scorer.gate.clear()
    best, light, last = world.pipeline().rungs
    again = [replace(best, name=name) for name in ("second", "third")]
    pipeline = Pipeline((best, *again, light, last), 10_000.0)
    result = pipeline.run([0], guard())
    assert result.rung == "last"
    assert result.fallen["second"].startswith("scorer overran")
    assert "no time was left" in result.fallen["third"]
    assert timed(pipeline, guard())[1] < 1.0
    world.popular.gate.clear()
    with pytest.raises(PipelineFailed, match="overran"):
        pipeline.run([0], guard(), Effort.LEAST)
    world.scorer.gate.set()
    world.popular.gate.set()


def test_less_effort_starts_lower_and_says_why(world: World) -> None:
    pipeline = world.pipeline()
    assert pipeline.run([0], guard(), Effort.LIGHT).rung == "light"
    least = pipeline.run([0], None, Effort.LEAST, "shed: a long queue")
    assert least.rung == "last"
    assert least.fallen == {"full": "shed: a long queue", "light": "shed: a long queue"}
    assert world.scorer.calls == 0
    one = Pipeline([Rung("only", (world.source,), (), First())])
    assert one.run([0], None, Effort.LIGHT).rung == "only"


def test_the_answer_is_the_same_with_and_without_a_guard(world: World) -> None:
    pipeline = world.pipeline()
    watched, plain = pipeline.run([0, 1], guard()), pipeline.run([0, 1])
    assert watched.slates == plain.slates
    assert watched.counts == plain.counts
    assert watched.stages_ms.keys() == plain.stages_ms.keys()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_for_a_share_of_overruns_not_for_a_few() -> None:
    clock = Clock()
    breaker = Breaker(BreakerRule(window=10, trips=3), clock)
    for late in (True, False, False, True, False, False, True):
        breaker.late() if late else breaker.ok()
    assert not breaker.open
    breaker.late()
    breaker.late()
    breaker.late()
    assert breaker.open


def test_probes_come_one_at_a_time_at_growing_intervals_and_stop_while_too_many_hang() -> None:
    clock = Clock()
    breaker = Breaker(BreakerRule(trips=1, seconds=5, longest=18, hung=4), clock)
    breaker.late()
    assert not breaker.allow()
    waits = []
    for _ in range(3):
        begin = clock.now
        while not breaker.allow():
            clock.now += 1
        assert not breaker.allow()
        waits.append(clock.now - begin)
        breaker.late()
    assert waits == [5, 10, 18]
    clock.now += 1000
    assert breaker.hung == 4
    assert not breaker.allow()
    breaker.returned()
    assert breaker.allow()
    breaker.ok()
    assert not breaker.open


def test_turns_of_one_process_run_one_at_a_time_and_an_abandoned_one_gives_its_place_away() -> None:
    guard, at_once, most = Guard(Budgets(rung=10_000), crew=Crew(8)), [0], [0]
    hung = threading.Event()

    def work(watch: Watch) -> None:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.01)
        at_once[0] -= 1

    turns = [guard.begin(0, None, work) for _ in range(8)]
    assert all(turn is not None and turn.wait() is None for turn in turns)
    assert most[0] == 1

    def hangs(watch: Watch) -> None:
        watch.enter("slow")
        hung.wait(20)

    stuck, after = guard.begin(0, 50.0, hangs), guard.begin(0, None, work)
    assert stuck is not None
    assert after is not None
    assert (late := stuck.wait()) is not None
    assert late.part == "slow"
    assert after.wait() is None  # while the hung one still hangs
    hung.set()


def test_the_last_rung_waits_for_no_place(world: World) -> None:
    crew = Crew(8)
    held = threading.Event()

    def holds(watch: Watch) -> None:
        held.wait(20)

    holder = Guard(Budgets(rung=20_000), crew=crew).begin(0, None, holds)
    assert holder is not None
    rung, seconds = timed(world.pipeline(), Guard(Budgets(50, 100, 1000), crew=crew))
    assert rung == "last"
    assert seconds < 1
    held.set()
    assert holder.wait() is None
