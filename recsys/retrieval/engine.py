"""Search under a filter: carries out a plan, and asks the cost table for one.

engine = Engine.build(vectors)                   # lists=False: exact plans alone, for small catalogs
retriever = Retriever(engine, calibrate(engine, queries))
scores, ids, plan = retriever.search(query, k, words)

Whatever the plan, scores of the best are computed anew, row by row, and ties go to the smaller id: exact plans
give the very same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.errors import ReleaseRefused
from recsys.plays import I64
from recsys.retrieval.bitmaps import WORD, Layout, Words, at_slots, count, slots_of
from recsys.retrieval.lists import F32, Lists, Order
from recsys.retrieval.plans import CostTable, Plan
from recsys.topk import largest

REFINE = 4
"""So many times k are scored exactly after a search of the compressed vectors."""
_SLACK = 1e-5
"""Relative rounding within which a blocked product may differ from the row-by-row one."""


@dataclass(frozen=True)
class Engine:
    """n vectors by slot, padded with zero rows; `lists` is None where the catalog is small."""

    vectors: F32  # (w * 64, d)
    layout: Layout
    lists: Lists | None

    @classmethod
    def build(cls, vectors: F32, lists: bool = True, seed: int = 0) -> Engine:
        return cls.of(vectors, Lists.build(vectors, seed) if lists else None)

    @classmethod
    def of(cls, vectors: F32, lists: Lists | None) -> Engine:
        layout = lists.layout if lists else Layout.of(np.zeros(len(vectors), np.int64), 1)
        if len(layout) != len(vectors):
            raise ReleaseRefused(f"lists of {len(layout)} tracks beside {len(vectors)} vectors: build again")
        rows = np.zeros((layout.words * WORD, vectors.shape[1]), np.float32)
        rows[layout.slot] = vectors
        return cls(rows, layout, lists)

    def order(self, query: F32, words: Words) -> Order | None:
        return self.lists.order(query, words) if self.lists else None

    def run(
        self, plan: Plan, query: F32, k: int, words: Words, order: Order | None = None
    ) -> tuple[F32, I64, Plan]:
        """The k best eligible tracks (fewer where fewer are), best first: scores, ids and the plan carried out.

        `order` saves the lists being ordered again. A plan whose lists come out short of k ends in an exact one.
        """
        if plan.kind == "scan":
            slots = slots_of(words)
            return *self._best(slots, query, k, (self.vectors @ query)[slots]), plan
        if self.lists is None or (plan.kind == "gather" and plan.exact):
            slots = slots_of(words)
            return *self._best(slots, query, k, self.vectors[slots] @ query), plan
        slots = self._slots(plan, query, k, words, order or self.lists.order(query, words))
        if len(slots) < min(k, count(words)):
            return self.run(Plan(kind="gather", effort=0), query, k, words)
        return *self._best(slots, query, k, self.vectors[slots] @ query), plan

    def _slots(self, plan: Plan, query: F32, k: int, words: Words, order: Order) -> I64:
        """Slots to score exactly."""
        assert self.lists is not None
        if plan.kind == "overfetch":
            whole = self.lists.order(query, self.layout.everything)
            opened, eligible = _open(whole, plan.effort), count(words)
            r = int(REFINE * k * len(self.layout) / max(eligible, 1)) + WORD
            found = self.lists.search(query, whole.lists[:opened], whole.scores[:opened], r, None)
            return found[at_slots(words, found)]
        opened = _open(order, plan.effort)
        chosen = order.lists[:opened]
        if plan.kind == "index":
            return self.lists.search(query, chosen, order.scores[:opened], REFINE * k + WORD, words)
        return slots_of(words, self._places(chosen))

    def _places(self, lists: I64) -> I64:
        """Words of some lists, ascending."""
        lists = np.sort(lists)
        begin, size = self.layout.starts[lists], np.diff(self.layout.starts)[lists]
        return np.repeat(begin - np.cumsum(size) + size, size) + np.arange(size.sum())

    def _best(self, slots: I64, query: F32, k: int, scores: F32) -> tuple[F32, I64]:
        """The k best of some slots; their `scores` only narrow them down."""
        if k < len(slots):
            kth = scores[largest(scores, k)].min() if k else np.inf
            slots = slots[scores >= kth - _SLACK * float(np.abs(scores).max())]
        exact = np.einsum("md,d->m", self.vectors[slots], query)
        return nearest(exact, self.layout.track[slots], k)


@dataclass(frozen=True)
class Retriever:
    """An engine with the table that says how to use it."""

    engine: Engine
    table: CostTable

    def search(self, query: F32, k: int, words: Words) -> tuple[F32, I64, Plan]:
        """As Engine.run, with the plan that the table gives for this request."""
        order = self.engine.order(query, words)
        plan = self.table.choose(count(words), k, order.place if order else "even")
        return self.engine.run(plan, query, k, words, order)

    def save(self, folder: Path) -> list[str]:
        """costs.json and, where there are lists, lists.faiss and layout.npz; returns their names."""
        self.table.save(folder / "costs.json")
        if self.engine.lists is None:
            return ["costs.json"]
        self.engine.lists.save(folder)
        return ["costs.json", "lists.faiss", "layout.npz"]

    @classmethod
    def load(cls, folder: Path, vectors: F32) -> Retriever:
        """Raises ReleaseRefused where the table is damaged or belongs to other vectors."""
        table = CostTable.load(folder / "costs.json")
        if table.vectors != len(vectors):
            raise ReleaseRefused(f"cost table of {table.vectors} vectors beside {len(vectors)}: build again")
        lists = Lists.load(folder) if (folder / "lists.faiss").exists() else None
        return cls(Engine.of(vectors, lists), table)


def nearest(scores: F32, ids: I64, k: int) -> tuple[F32, I64]:
    """The k best of some scored tracks, best first, ties by id."""
    first = np.lexsort((ids, -scores))[:k]
    return scores[first], ids[first]


def _open(order: Order, effort: int) -> int:
    """Lists to open until they hold `effort` eligible tracks; 0: all."""
    if effort == 0:
        return len(order.lists)
    return min(int(np.searchsorted(order.eligible, effort)) + 1, len(order.lists))
