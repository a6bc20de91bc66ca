"""The candidate pipeline: stage protocols and the runner. It knows nothing of music.

    Source* -> union -> (Hydrator | Filter | Scorer | Truncate)* -> Selector -> slates

Candidates are columns; a stage returns only its own product, so no stage can drop or reorder another's work.
The failure rule stands here and nowhere else: a Source that fails or overruns its budget is skipped and
counted; any other stage that fails or overruns makes the whole request fall to the next rung. How time is kept:
recsys/turns.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.candidates import Candidates as Candidates
from recsys.candidates import Column as Column
from recsys.candidates import Proposal as Proposal
from recsys.candidates import Truncate as Truncate
from recsys.candidates import sink as sink
from recsys.candidates import truncate as truncate
from recsys.candidates import union as union
from recsys.errors import RecsysError
from recsys.turns import Budgets, Guard, Late, LeftOut, Unwatched, Watch
from recsys.types import Slate

Q = TypeVar("Q", bound=Sized)
Q_contra = TypeVar("Q_contra", contravariant=True)

logger = logging.getLogger(__name__)


class PipelineFailed(RecsysError):
    """No rung could answer."""


class Source(Protocol[Q_contra]):
    """Proposes candidates; a track at most once a request."""

    @property
    def name(self) -> str: ...

    def propose(self, batch: Q_contra) -> Proposal: ...


class Hydrator(Protocol[Q_contra]):
    """Adds columns; the only per-candidate I/O."""

    @property
    def name(self) -> str: ...

    def hydrate(self, batch: Q_contra, candidates: Candidates) -> dict[str, Column]: ...


class Filter(Protocol[Q_contra]):
    """A pure mask, True = keep; it cannot fail open: an error drops the rung, never the filter."""

    @property
    def name(self) -> str: ...

    def keep(self, batch: Q_contra, candidates: Candidates) -> NDArray[np.bool_]: ...


class Scorer(Protocol[Q_contra]):
    """Adds one score column, called by its name; the score of one candidate never depends on the others."""

    @property
    def name(self) -> str: ...

    def score(self, batch: Q_contra, candidates: Candidates) -> NDArray[np.floating]: ...


class Selector(Protocol[Q_contra]):
    """Orders and truncates, and states the propensity of every slot."""

    @property
    def name(self) -> str: ...

    def select(self, batch: Q_contra, candidates: Candidates) -> list[Slate]: ...


class SideEffect(Protocol[Q_contra]):
    """Sees the answer after it is fixed; cannot change it."""

    def observe(self, batch: Q_contra, result: Result) -> None: ...


Stage: TypeAlias = Hydrator[Q] | Filter[Q] | Scorer[Q] | Truncate


@dataclass(frozen=True)
class Rung(Generic[Q]):
    """One way to answer, listed in execution order."""

    name: str
    sources: tuple[Source[Q], ...]
    stages: tuple[Stage[Q], ...]
    selector: Selector[Q]


@dataclass(frozen=True)
class SourceOutcome:
    """What became of one source."""

    outcome: str  # ok, failed, timeout, skipped (its breaker is open)
    count: int
    ms: float


Proposed: TypeAlias = tuple[Proposal | None, SourceOutcome]


@dataclass(frozen=True)
class Result:
    """Everything that happened to a batch; each answer explains itself."""

    slates: list[Slate]
    rung: str
    candidates: Candidates  # what reached the selector, with all columns
    sources: dict[str, SourceOutcome]
    counts: dict[str, int]  # candidates left after each stage
    stages_ms: dict[str, float]
    fallen: dict[str, str]  # rung -> why it could not answer


class Effort(IntEnum):
    """How much of a ladder a request may use; less where the server is overloaded."""

    FULL = 0  # from the first rung on
    LIGHT = 1  # without the first rung
    LEAST = 2  # the last rung only


@dataclass
class _Way:
    """How far one request has come down the ladder."""

    at: int = 0  # rung that is tried now
    end: float | None = None  # when that rung must be over, monotonic seconds
    began: float = field(default_factory=time.monotonic)
    proposals: dict[str, Proposed] = field(default_factory=dict)
    fallen: dict[str, str] = field(default_factory=dict)


class Pipeline(Generic[Q]):
    """A ladder of rungs over one batch type.

    Args:
        rungs: best first; a rung's stages read top to bottom.
        budget_ms: time that each source and stage gets in a guarded run; None is without a limit.
        clock: seconds; what stage times are measured with (benchmarks pass the thread's CPU time).
        effects: called with each result, in order; an effect that raises is logged and counted, never served.
    """

    def __init__(
        self,
        rungs: Sequence[Rung[Q]],
        budget_ms: float | None = None,
        effects: Sequence[SideEffect[Q]] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.clock = clock
        self.rungs = tuple(rungs)
        self.budget_ms = budget_ms
        self.effects = tuple(effects)

    def run(
        self, batch: Q, guard: Guard | None = None, effort: Effort = Effort.FULL, why: str = "shed"
    ) -> Result:
        """Answers every request of the batch from the first rung that can.

        Args:
            guard: holds the run to its time; None runs inline without limits (offline, replay).
            effort: rungs that are left out from the start, `why` is their reason in `Result.fallen`.

        Raises:
            PipelineFailed: no rung could answer; the message says why each fell.
        """
        last = len(self.rungs) - 1
        way = _Way(at=last if effort == Effort.LEAST else min(int(effort), last))
        way.fallen |= {rung.name: why for rung in self.rungs[: way.at]}
        result = self._down(batch, way, Unwatched()) if guard is None else self._watched(batch, way, guard)
        self._observe(batch, result)
        return result

    def _watched(self, batch: Q, way: _Way, guard: Guard) -> Result:
        """Down the ladder in turns; a new one where a part has overrun its time."""
        while True:
            work = partial(self._down, batch, way, budgets=guard.budgets)
            turn = guard.begin(way.at, self.budget_ms, work, way.at == len(self.rungs) - 1)
            if turn is None:  # every thread hangs: the last rung, here
                way.fallen |= {rung.name: "no thread was free" for rung in self.rungs[way.at : -1]}
                return self._down(batch, replace(way, at=len(self.rungs) - 1), Unwatched())
            late = turn.wait()
            if late is None:
                return turn.result()
            way = self._after(way, late)

    def _after(self, way: _Way, late: Late) -> _Way:
        """Where to go on after an overrun, with copies: the abandoned turn may still write into its own."""
        at = late.rung  # not way.at: the abandoned turn may have moved it meanwhile
        way = replace(way, at=at, end=late.end, proposals=dict(way.proposals), fallen=dict(way.fallen))
        rung = self.rungs[at]
        kind, _, name = late.part.partition(":")
        logger.warning("rung %s: %s overran its time (%.0f ms)", rung.name, late.part or "a thread", late.ms)
        if kind == "source":
            way.proposals[name] = None, SourceOutcome("timeout", 0, late.ms)
            if time.monotonic() < late.end:
                return way
        way.fallen[rung.name] = f"{late.part or 'a thread'} overran its time ({late.ms:.0f} ms)"
        return replace(way, at=at + 1, end=None)

    def _down(self, batch: Q, way: _Way, watch: Watch, budgets: Budgets | None = None) -> Result:
        while way.at < len(self.rungs):
            rung = self.rungs[way.at]
            try:
                self._limit(way, watch, budgets)
                return replace(self._climb(rung, batch, way.proposals, watch), fallen=dict(way.fallen))
            except Exception as error:  # the failure rule: whatever it is, the next rung answers
                level = (
                    logging.DEBUG if isinstance(error, LeftOut) else logging.WARNING
                )  # said when it opened
                logger.log(level, "rung %s fell: %s: %s", rung.name, type(error).__name__, error)
                way.fallen[rung.name] = f"{type(error).__name__}: {error}"
            way.at, way.end = way.at + 1, None
        raise PipelineFailed(f"no rung could answer: {way.fallen}")

    def _limit(self, way: _Way, watch: Watch, budgets: Budgets | None) -> None:
        """Tells the watch how long the rung may take; the last one may use up all that is left."""
        if budgets is None:
            return
        now, is_last = time.monotonic(), way.at == len(self.rungs) - 1
        if way.end is None:
            all_over = way.began + budgets.ladder / 1000
            if not is_last and now >= all_over:
                raise PipelineFailed("no time was left for this rung")
            way.end = now + budgets.last / 1000 if is_last else min(now + budgets.rung / 1000, all_over)
        watch.limit(way.at, way.end, None if is_last else self.budget_ms)

    def _climb(self, rung: Rung[Q], batch: Q, proposals: dict[str, Proposed], watch: Watch) -> Result:
        ms: dict[str, float] = {}
        for source in rung.sources:
            if source.name not in proposals:
                proposals[source.name] = self._propose(source, batch, watch)
        outcomes = {s.name: proposals[s.name][1] for s in rung.sources}
        watch.enter("union")
        begin = self.clock()
        candidates = union({s.name: proposals[s.name][0] for s in rung.sources}, len(batch))
        ms["union"] = self._since(begin)
        counts = {"union": len(candidates)}
        for stage in rung.stages:
            watch.enter(stage.name)
            begin = self.clock()
            candidates = apply(stage, batch, candidates)
            ms[stage.name] = self._since(begin)
            counts[stage.name] = len(candidates)
        if len(batch) and not candidates.counts().all():
            raise PipelineFailed("no candidates left for a request")
        watch.enter(f"select:{rung.selector.name}")
        begin = self.clock()
        slates = rung.selector.select(batch, candidates)
        ms["select"] = self._since(begin)
        ms |= {f"source:{name}": o.ms for name, o in outcomes.items()}
        return Result(slates, rung.name, candidates, outcomes, counts, ms, {})

    def replay(self, rung: str, batch: Q, candidates: Candidates) -> Result:
        """Scorer -> Selector again from a record: `candidates` are the eligible ones with their source columns.

        Raises:
            PipelineFailed: this pipeline has no such rung.
        """
        for known in self.rungs:
            if known.name == rung:
                for stage in known.stages:
                    if not isinstance(stage, Truncate) and not hasattr(stage, "keep"):
                        candidates = apply(stage, batch, candidates)
                return Result(known.selector.select(batch, candidates), rung, candidates, {}, {}, {}, {})
        raise PipelineFailed(f"no rung {rung!r} in this pipeline: the record comes from another version")

    def _propose(self, source: Source[Q], batch: Q, watch: Watch) -> Proposed:
        """What a source proposes; one that fails, or is left out, is skipped and counted."""
        begin = self.clock()
        proposal, outcome = None, "failed"
        try:
            watch.enter(f"source:{source.name}")
            proposal, outcome = source.propose(batch), "ok"
        except LeftOut:
            outcome = "skipped"
        except Exception as error:  # a source may be skipped; it is counted and said
            logger.warning("source %s failed: %s: %s", source.name, type(error).__name__, error)
        count = 0 if proposal is None else len(proposal.ids)
        return proposal, SourceOutcome(outcome, count, self._since(begin))

    def _since(self, begin: float) -> float:
        return (self.clock() - begin) * 1000

    def _observe(self, batch: Q, result: Result) -> None:
        for effect in self.effects:
            try:
                effect.observe(batch, result)
            except Exception:  # the slate is fixed already; an effect cannot take it back
                logger.exception("side effect %s failed", type(effect).__name__)


def collect(sources: Sequence[Source[Q]], stages: Sequence[Stage[Q]], batch: Q) -> Candidates:
    """Sources and stages alone, inline: what training reads of the same parts that serve."""
    candidates = union({source.name: source.propose(batch) for source in sources}, len(batch))
    for stage in stages:
        candidates = apply(stage, batch, candidates)
    return candidates


def apply(stage: Stage[Q], batch: Q, candidates: Candidates) -> Candidates:
    """One stage after the union; dispatches on what the stage offers."""
    if isinstance(stage, Truncate):
        return truncate(candidates, stage)
    if hasattr(stage, "keep"):
        return candidates.where(stage.keep(batch, candidates))
    if hasattr(stage, "score"):
        new: dict[str, Column] = {stage.name: sink(stage.score(batch, candidates))}
    else:
        new = stage.hydrate(batch, candidates)
    wrong = [name for name, column in new.items() if len(column) != len(candidates)]
    if wrong:
        raise PipelineFailed(f"stage {stage.name} returned columns of the wrong length: {wrong}")
    return replace(candidates, columns=candidates.columns | new)
