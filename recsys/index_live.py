"""An index whose catalog has moved on: its own vectors, less those that changed, and an exact segment of the others.

live = LiveIndex.of(index, vectors, moved)        # vectors (N, d), the index's own tracks first
fresh = merged(index, vectors)                    # one index again; for a background thread
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recsys.index import F32, Index
from recsys.plays import I64
from recsys.retrieval.bitmaps import WORD, Bitmaps, Layout, slots_of
from recsys.retrieval.engine import Engine, Retriever, nearest
from recsys.retrieval.lists import load_faiss
from recsys.retrieval.plans import Plan


class LiveIndex(Index):
    """Answers as one index over all vectors would: the release's part is planned as before, the segment is exact.

    In its layout the segment's tracks lie behind the index's words; the slot that a changed track had is empty, so a
    filter in this layout never finds the old vector.
    """

    def __init__(self, base: Index, vectors: F32, segment: I64) -> None:
        super().__init__(base._handle, vectors, base.report, base._retriever)
        self.base, self.segment = base, segment  # segment: (m,) tracks, ascending
        self._layout = None if base.layout is None else extended(base.layout, segment, len(vectors))
        self._rows = np.ascontiguousarray(vectors[segment])

    @classmethod
    def of(cls, base: Index, vectors: F32, moved: I64) -> LiveIndex:
        """`moved`: the base's tracks whose vectors are others now; every track beyond the base is in the segment."""
        new = np.arange(len(base), len(vectors))
        return cls(base, vectors, np.concatenate([np.unique(moved[moved < len(base)]), new]))

    @property
    def layout(self) -> Layout | None:
        return self._layout

    def search(
        self,
        queries: F32,
        k: int,
        allowed: NDArray[np.bool_] | Bitmaps | None = None,
        plans: list[Plan] | None = None,
    ) -> tuple[F32, I64]:
        """As Index.search; the plans are those of the release's part."""
        queries = np.ascontiguousarray(queries, np.float32)
        self._check(queries, allowed)
        mask = np.ones(len(self), bool) if allowed is None else allowed
        scores, ids = self.base.search(queries, k, self._of_base(mask), plans)
        for row, query in enumerate(queries):
            open_ = self._of_segment(mask, row)
            values = np.concatenate([scores[row], np.einsum("md,d->m", self._rows[open_], query)])
            tracks = np.concatenate([ids[row], self.segment[open_]])
            scores[row], ids[row] = nearest(np.where(tracks < 0, -np.inf, values), tracks, k)
        return scores, ids

    def _of_base(self, allowed: NDArray[np.bool_] | Bitmaps) -> NDArray[np.bool_] | Bitmaps:
        if isinstance(allowed, Bitmaps):
            assert self.base.layout is not None
            words = self.base.layout.words
            return Bitmaps(self.base.layout, tuple(row[:words] for row in allowed.rows))
        mask = allowed[..., : len(self.base)].copy()
        mask[..., self.segment[self.segment < len(self.base)]] = False
        return mask

    def _of_segment(self, allowed: NDArray[np.bool_] | Bitmaps, row: int) -> I64:
        """Places in the segment of what request `row` may be answered with."""
        if isinstance(allowed, Bitmaps):
            assert self.base.layout is not None
            return slots_of(allowed.rows[row][self.base.layout.words :])
        mask = allowed if allowed.ndim == 1 else allowed[row]
        return np.flatnonzero(mask[self.segment])


def extended(layout: Layout, segment: I64, size: int) -> Layout:
    """The layout with a list more, at the end, that holds the tracks of a segment in order."""
    slot = np.full(size, -1, np.int64)
    slot[: len(layout)] = layout.slot
    slot[segment] = layout.words * WORD + np.arange(len(segment))
    words = -(-len(segment) // WORD)
    return Layout(slot, np.append(layout.starts, layout.words + words) if words else layout.starts)


def merged(index: Index, vectors: F32, seed: int = 0) -> Index:
    """One index over all vectors, with new lists and the cost table that the release measured.

    The table holds as long as the catalog is of about the size and shape it was measured on; the next release
    measures again. Takes seconds at 100,000 tracks.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    handle = load_faiss().IndexFlatIP(vectors.shape[1])
    handle.add(vectors)
    report = replace(
        index.report, chosen=replace(index.report.chosen, kind="flat", parameters={}), vectors=len(vectors)
    )
    if index._retriever is None:
        return Index(handle, vectors, report)
    engine = Engine.build(vectors, index._retriever.engine.lists is not None, seed)
    table = index._retriever.table.model_copy(update={"vectors": len(vectors)})
    return Index(handle, vectors, report, Retriever(engine, table))
