"""An inverted file for inner product whose lists are chosen by the filter: only those that hold something eligible.

lists = Lists.build(vectors, seed)
order = lists.order(query, per_list)        # lists, most promising first, and where the filter lies
slots = lists.search(query, chosen, r, words)

Vectors are kept as one 4-bit code per dimension of the residual and scanned by FAISS' fast scan (Andre et al. 2015,
https://doi.org/10.14778/2856318.2856324; Johnson et al. 2021, https://doi.org/10.1109/TBDATA.2019.2921572): the
answer is a list of promising slots, to be scored exactly by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I64
from recsys.retrieval.bitmaps import Layout, Words
from recsys.retrieval.plans import Place

F32: TypeAlias = NDArray[np.float32]

_NEAR_SHARE = 1 / 16
"""Where a filter lies is told by the nearest lists with this share of the tracks: their share of what is eligible."""
_EVEN = (0.7, 1.4)


@dataclass(frozen=True)
class Order:
    """Lists that hold something eligible, most promising first."""

    lists: I64  # (m,)
    scores: F32  # (m,) inner product of the query with each list's center
    eligible: I64  # (m,) eligible tracks up to and with each list
    place: Place


@dataclass(frozen=True)
class Lists:
    """The FAISS index over slots, and its centers (lists, d)."""

    handle: Any
    centers: F32
    layout: Layout

    @classmethod
    def build(cls, vectors: F32, seed: int = 0) -> Lists:
        """k-means into about 2 sqrt(n) lists, on at most 64 vectors a list; a list left empty is dropped."""
        faiss = load_faiss()
        dim, wanted = vectors.shape[1], int(2 ** np.round(np.log2(2 * np.sqrt(len(vectors)))))
        means = faiss.Kmeans(
            dim, wanted, niter=8, seed=seed + 1, max_points_per_centroid=64, min_points_per_centroid=1
        )
        means.train(vectors)
        first = _nearest(means.centroids, vectors)
        centers = np.ascontiguousarray(means.centroids[np.unique(first)])
        layout = Layout.of(np.unique(first, return_inverse=True)[1].astype(np.int64), len(centers))
        quantizer = faiss.IndexFlatL2(dim)
        quantizer.add(centers)
        handle = faiss.IndexIVFPQFastScan(quantizer, dim, len(centers), dim, 4, faiss.METRIC_INNER_PRODUCT)
        handle.by_residual = True
        handle.train(vectors[:: max(len(vectors) // 100_000, 1)])
        handle.add_with_ids(vectors, layout.slot)
        return cls(handle, centers, layout)

    def order(self, query: F32, words: Words) -> Order:
        """The lists worth opening for a query (d,) under a filter."""
        eligible, sizes = self.layout.per_list(words), self.layout.sizes
        scores = self.centers @ query
        lists = np.argsort(-scores, kind="stable")
        here = eligible[lists]
        near = int(np.searchsorted(np.cumsum(sizes[lists]), _NEAR_SHARE * len(self.layout))) + 1
        share = here[:near].sum() / max(int(eligible.sum()), 1)
        lift = share / (sizes[lists[:near]].sum() / len(self.layout))
        place: Place = "far" if lift < _EVEN[0] else "near" if lift > _EVEN[1] else "even"
        lists, here = lists[here > 0], here[here > 0]
        return Order(lists, scores[lists], np.cumsum(here), place)

    def search(self, query: F32, lists: I64, scores: F32, r: int, words: Words | None) -> I64:
        """At most r promising slots from some lists; under a filter, eligible ones only."""
        faiss = load_faiss()
        faiss.omp_set_num_threads(1)
        selector = None if words is None else faiss.IDSelectorBitmap(words.view(np.uint8))
        settings = faiss.SearchParametersIVF(nprobe=len(lists), sel=selector)
        found, value = np.full((1, r), -1, np.int64), np.empty((1, r), np.float32)
        lists, scores = np.ascontiguousarray(lists), np.ascontiguousarray(scores, np.float32)
        query = np.ascontiguousarray(query[None], np.float32)
        # The typed wrapper takes no parameters, so the call goes to the function below it.
        pointers = [faiss.swig_ptr(x) for x in (query, lists, scores, value, found)]
        self.handle.search_preassigned_c(1, pointers[0], r, *pointers[1:], False, settings)
        slots: I64 = found[0][found[0] >= 0]
        return slots

    def save(self, folder: Path) -> None:
        load_faiss().write_index(self.handle, str(folder / "lists.faiss"))
        np.savez(
            folder / "layout.npz", centers=self.centers, slot=self.layout.slot, starts=self.layout.starts
        )

    @classmethod
    def load(cls, folder: Path) -> Lists:
        handle = load_faiss().read_index(str(folder / "lists.faiss"))
        with np.load(folder / "layout.npz", allow_pickle=False) as saved:
            return cls(handle, saved["centers"], Layout(saved["slot"], saved["starts"]))


def _nearest(centers: F32, vectors: F32) -> I64:
    quantizer = load_faiss().IndexFlatL2(centers.shape[1])
    quantizer.add(centers)
    found: I64 = quantizer.search(vectors, 1)[1][:, 0]
    return found


def load_faiss() -> Any:
    """The library, imported when first needed: it takes a while, and its stubs lag behind it."""
    import faiss

    return faiss
