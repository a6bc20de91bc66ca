"""The candidate pipeline: stage protocols and the runner. It knows nothing of music.

    Source* -> union -> (Hydrator | Filter | Scorer | Truncate)* -> Selector -> slates

Candidates are columns; a stage returns only its own product, so no stage can drop or reorder another's work.
The failure rule stands here and nowhere else: a Source that fails or overruns its budget is skipped and
counted; any other stage that fails makes the whole request fall to the next rung.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.errors import RecsysError
from recsys.plays import I64
from recsys.types import Slate

Column: TypeAlias = NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_]
Q = TypeVar("Q", bound=Sized)
Q_contra = TypeVar("Q_contra", contravariant=True)

logger = logging.getLogger(__name__)


class PipelineFailed(RecsysError):
    """No rung could answer."""


@dataclass(frozen=True)
class Candidates:
    """m candidates of b requests; request j owns rows offsets[j]:offsets[j+1], ids ascending within it."""

    ids: I64  # (m,)
    offsets: I64  # (b+1,)
    columns: dict[str, Column] = field(default_factory=dict)  # each (m,) or (m, f)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def owner(self) -> I64:
        """(m,) request number of each candidate."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def counts(self) -> I64:
        """(b,) candidates of each request."""
        return np.diff(self.offsets)

    def where(self, mask: NDArray[np.bool_]) -> Candidates:
        counts = np.bincount(self.owner[mask], minlength=len(self.offsets) - 1)
        return Candidates(
            self.ids[mask],
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            {name: column[mask] for name, column in self.columns.items()},
        )

    def of(self, request: int) -> Candidates:
        """The candidates of one request, as a batch of one."""
        rows = slice(int(self.offsets[request]), int(self.offsets[request + 1]))
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Candidates(self.ids[rows], np.array([0, rows.stop - rows.start], np.int64), columns)


@dataclass(frozen=True)
class Proposal:
    """What one source proposes for b requests."""

    ids: I64  # (m,)
    offsets: I64  # (b+1,)
    score: NDArray[np.float32]  # (m,) the source's own score, higher is better


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


@dataclass(frozen=True)
class Truncate:
    """Keeps each request's `k` best by one column (ties by id, non-finite scores last).

    `floors` names columns with a number m: the m best among the candidates where that column is finite are
    kept beside the k, so that a small source is not drowned before it can be ranked.
    """

    column: str
    k: int
    floors: dict[str, int] = field(default_factory=dict)
    name: str = "truncate"


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

    outcome: str  # ok, failed, timeout
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


class Pipeline(Generic[Q]):
    """A ladder of rungs over one batch type.

    Args:
        rungs: best first; a rung's stages read top to bottom.
        budget_ms: time that each source gets; None runs sources inline without a limit (offline, replay).
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
        self._pool = ThreadPoolExecutor(8, "source") if budget_ms is not None else None

    def run(self, batch: Q) -> Result:
        """Answers every request of the batch from the first rung that can.

        Raises:
            PipelineFailed: no rung could answer; the message says why each fell.
        """
        proposals: dict[str, Proposed] = {}
        fallen: dict[str, str] = {}
        for rung in self.rungs:
            try:
                result = self._climb(rung, batch, proposals)
            except Exception as error:  # the failure rule: whatever it is, the next rung answers
                logger.warning("rung %s fell: %s: %s", rung.name, type(error).__name__, error)
                fallen[rung.name] = f"{type(error).__name__}: {error}"
                continue
            result = replace(result, fallen=fallen)
            self._observe(batch, result)
            return result
        raise PipelineFailed(f"no rung could answer: {fallen}")

    def _climb(self, rung: Rung[Q], batch: Q, proposals: dict[str, Proposed]) -> Result:
        ms: dict[str, float] = {}
        proposals |= self._propose([s for s in rung.sources if s.name not in proposals], batch)
        outcomes = {s.name: proposals[s.name][1] for s in rung.sources}
        begin = self.clock()
        candidates = union({s.name: proposals[s.name][0] for s in rung.sources}, len(batch))
        ms["union"] = self._since(begin)
        counts = {"union": len(candidates)}
        for stage in rung.stages:
            begin = self.clock()
            candidates = apply(stage, batch, candidates)
            ms[stage.name] = self._since(begin)
            counts[stage.name] = len(candidates)
        if len(batch) and not candidates.counts().all():
            raise PipelineFailed("no candidates left for a request")
        begin = self.clock()
        slates = rung.selector.select(batch, candidates)
        ms["select"] = self._since(begin)
        ms |= {f"source:{name}": o.ms for name, o in outcomes.items()}
        return Result(slates, rung.name, candidates, outcomes, counts, ms, {})

    def adopt(self, other: Pipeline[Q]) -> None:
        self._pool = other._pool  # threads of the pipeline that this one replaces

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

    def _propose(self, sources: Sequence[Source[Q]], batch: Q) -> dict[str, Proposed]:
        """What each source proposes; one that fails, or overruns the budget, is skipped and counted."""
        found: dict[str, Proposed] = {}
        while len(found) < len(sources):
            turn = _Turn(sources[len(found) :], batch, self.clock)
            if self._pool is None or self.budget_ms is None:
                turn.run()
            else:
                self._pool.submit(turn.run)
                turn.wait(self.budget_ms / 1000)
            found |= turn.found
        return found

    def _since(self, begin: float) -> float:
        return (self.clock() - begin) * 1000

    def _observe(self, batch: Q, result: Result) -> None:
        for effect in self.effects:
            try:
                effect.observe(batch, result)
            except Exception:  # the slate is fixed already; an effect cannot take it back
                logger.exception("side effect %s failed", type(effect).__name__)


class _Turn(Generic[Q]):
    """Runs sources one after another, in a thread of the pool where they have a budget.

    One handover a turn, not one a source: a thread that waits for the interpreter lock costs more than most
    sources do.
    """

    def __init__(self, sources: Sequence[Source[Q]], batch: Q, clock: Callable[[], float]) -> None:
        self.found: dict[str, Proposed] = {}
        self._sources, self._batch, self._clock = sources, batch, clock
        self._began = time.monotonic()  # the source that is running now
        self._lock = threading.Lock()
        self._abandoned = False
        self._done = threading.Event()

    def run(self) -> None:
        for source in self._sources:
            begin = self._clock()
            self._began = time.monotonic()
            proposal, outcome = None, "failed"
            try:
                proposal, outcome = source.propose(self._batch), "ok"
            except Exception as error:  # a source may be skipped; it is counted and said
                logger.warning("source %s failed: %s: %s", source.name, type(error).__name__, error)
            count = 0 if proposal is None else len(proposal.ids)
            with self._lock:
                if self._abandoned:
                    return
                self.found[source.name] = (
                    proposal,
                    SourceOutcome(outcome, count, (self._clock() - begin) * 1000),
                )
        self._done.set()

    def wait(self, budget: float) -> None:
        """Waits for all sources, or until one has run longer than `budget` seconds and is left behind."""
        left = budget
        while not self._done.wait(left):
            with self._lock:
                left = max(self._began + budget - time.monotonic(), 0.0)
                if not left and len(self.found) < len(self._sources):
                    self._abandoned = True
                    late = self._sources[len(self.found)].name
                    self.found[late] = None, SourceOutcome("timeout", 0, budget * 1000)
                    return


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


def sink(scores: NDArray[Any]) -> NDArray[Any]:
    """Scores with non-finite values replaced by the lowest float32, so that they sort last."""
    return np.where(np.isfinite(scores), scores, np.float32(np.finfo(np.float32).min))


def union(proposals: dict[str, Proposal | None], requests: int) -> Candidates:
    """Each request's distinct candidates, ids ascending; column `source:NAME`: that source's score or NaN."""
    alive = {name: p for name, p in proposals.items() if p is not None}
    owners = {name: np.repeat(np.arange(requests), np.diff(p.offsets)) for name, p in alive.items()}
    keys = [(owners[name] << 32) | p.ids for name, p in alive.items()]
    merged = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
    counts = np.bincount(merged >> 32, minlength=requests)
    columns: dict[str, Column] = {}
    for (name, proposal), key in zip(alive.items(), keys, strict=True):
        column = np.full(len(merged), np.nan, np.float32)
        column[np.searchsorted(merged, key)] = proposal.score
        columns[f"source:{name}"] = column
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Candidates(merged & 0xFFFFFFFF, offsets, columns)


def truncate(candidates: Candidates, stage: Truncate) -> Candidates:
    """What `stage` keeps of each request's candidates; they stay in id order."""
    score = sink(candidates.columns[stage.column])
    keep = _rank(candidates, score) < stage.k
    for column, m in stage.floors.items():
        if column in candidates.columns:
            inside = np.isfinite(candidates.columns[column])
            keep |= inside & (_rank(candidates, np.where(inside, score, -np.inf)) < m)
    return candidates.where(keep)


def _rank(candidates: Candidates, score: NDArray[Any]) -> I64:
    """(m,) place of each candidate within its request by descending score, ties by id."""
    owner = candidates.owner
    order = np.lexsort((candidates.ids, -score, owner))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - candidates.offsets[owner[order]]
    return rank
