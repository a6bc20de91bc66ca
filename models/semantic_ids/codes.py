"""Semantic ids: a few numbers for each track, coarse to fine, so that like tracks begin alike; no two are the same.

books = Codebooks.fit(vectors, (64, 64, 64), seed=0)
codes = place(books, vectors, siblings=8)            # (n, levels + 1); the last number tells neighbours apart
more = place(books, new_vectors, 8, taken=codes)     # tracks that come later; nothing that has a code moves

Residual quantisation by k-means (Chen, Guan & Wang 2010; for recommendation Rajput et al., NeurIPS 2023): each level
codes what the levels before it leave over. Prices even out the use of the codes (as in balanced k-means: a centroid
in demand grows dearer), and stay with the codebooks, so that a track's codes are a function of its vector alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.semantic_ids.vectors import F32
from recsys.errors import BadInput
from recsys.plays import I64

_LLOYD = 25
_FULL = "no code is free: more tracks than levels and siblings have room for; raise either and train again"


@dataclass(frozen=True)
class Codebooks:
    """One codebook a level."""

    centroids: tuple[F32, ...]  # (size, dim) each
    prices: tuple[F32, ...]  # (size,) each, added to squared distances

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(book) for book in self.centroids)

    @classmethod
    def fit(cls, vectors: F32, sizes: tuple[int, ...], seed: int = 0, balance_rounds: int = 30) -> Codebooks:
        """k-means on the residuals of (n, dim), level by level."""
        rng = np.random.default_rng(seed)
        centroids, prices, left = list[F32](), list[F32](), vectors.astype(np.float32)
        for size in sizes:
            book, price = _kmeans(left, size, rng, balance_rounds)
            left = left - book[np.argmin(_costs(left, book, price), axis=1)]
            centroids.append(book)
            prices.append(price)
        return cls(tuple(centroids), tuple(prices))

    def encode(self, vectors: F32) -> I64:
        """(n, levels) the cheapest code at each level.

        One track at a time: matrix products round by the number of rows, and between two codes that cost the same a
        track must not be decided by its company.
        """
        found = np.empty((len(vectors), len(self.centroids)), np.int64)
        for row, vector in enumerate(vectors):
            found[row] = next(self.cells(vector))
        return found

    def decode(self, codes: I64) -> F32:
        """(n, dim) the sum of the centroids of codes (n, levels or more)."""
        total = np.zeros((len(codes), self.centroids[0].shape[1]), np.float32)
        for level, book in enumerate(self.centroids):
            total += book[codes[:, level]]
        return total

    def cells(self, vector: F32, level: int = 0) -> Iterator[tuple[int, ...]]:
        """All codes from this level on, the cheapest first at each level."""
        if level == len(self.centroids):
            yield ()
            return
        book, price = self.centroids[level], self.prices[level]
        for code in np.argsort(_costs(vector[None], book, price)[0], kind="stable").tolist():
            for rest in self.cells(vector - book[code], level + 1):
                yield (code, *rest)


def place(books: Codebooks, vectors: F32, siblings: int, taken: I64 | None = None) -> I64:
    """(n, levels + 1) codes of tracks in their order, none of which is in `taken` (m, levels + 1).

    A track goes to its cheapest cell, or to the next one in which fewer than `siblings` stand; its last number is the
    lowest free one there.

    Raises:
        BadInput: every cell is full.
    """
    there = {tuple(code) for code in taken.tolist()} if taken is not None else set[tuple[int, ...]]()
    rooms = int(np.prod([float(size) for size in books.sizes])) * siblings
    if len(there) + len(vectors) > rooms:
        raise BadInput(_FULL)
    out = np.empty((len(vectors), len(books.sizes) + 1), np.int64)
    for i, first in enumerate(books.encode(vectors).tolist() if len(vectors) else []):
        code = _free(tuple(first), siblings, there)
        if code is None:
            others = (_free(cell, siblings, there) for cell in books.cells(vectors[i]))
            code = next(found for found in others if found is not None)
        there.add(code)
        out[i] = code
    return out


def _free(cell: tuple[int, ...], siblings: int, there: set[tuple[int, ...]]) -> tuple[int, ...] | None:
    return next((c for last in range(siblings) if (c := (*cell, last)) not in there), None)


def _kmeans(x: F32, size: int, rng: np.random.Generator, balance_rounds: int) -> tuple[F32, F32]:
    """Centroids (size, dim) and prices (size,): Lloyd's rounds from random rows, prices in between."""
    start = rng.choice(len(x), size, replace=len(x) < size)
    book, price = x[start].copy(), np.zeros(size, np.float32)
    for _ in range(_LLOYD):
        distance = _costs(x, book, np.zeros(size, np.float32))
        price = _prices(distance, price, balance_rounds)
        code = np.argmin(distance + price, axis=1)
        count = np.bincount(code, minlength=size)
        book = np.where(count[:, None] > 0, _sums(x, code, size) / np.maximum(count, 1)[:, None], book)
        empty = np.flatnonzero(count == 0)
        if len(empty):  # a centroid that nobody wants starts again at the track worst served
            worst = np.argsort(-distance[np.arange(len(x)), code], kind="stable")
            book[empty] = x[worst[np.arange(len(empty)) % len(x)]]
        book = book.astype(np.float32)
    return book, _prices(_costs(x, book, np.zeros(size, np.float32)), price, balance_rounds)


def _prices(distance: F32, price: F32, rounds: int) -> F32:
    """Prices under which the codes are used more evenly: up where demand is above the mean, down where below; the
    most even of all rounds."""
    n, size = distance.shape
    nearest = np.partition(distance, min(1, size - 1), axis=1)
    step = np.float32(np.median(nearest[:, min(1, size - 1)] - nearest[:, 0]))  # what moves half the tracks
    best, least = price, np.inf
    for round_ in range(rounds if n > size else 0):
        demand = np.bincount(np.argmin(distance + price, axis=1), minlength=size)
        if (uneven := float((demand**2).sum())) < least:
            best, least = price, uneven
        slower = step / np.float32(np.sqrt(round_ + 1))
        price = (price + slower * np.clip(demand * size / n - 1, -1, 1)).astype(np.float32)
        price -= price.mean()
    return best


def _costs(x: F32, book: F32, price: F32) -> F32:
    """(n, size) squared distances, less what is the same for all codes, plus prices."""
    costs: NDArray[np.float32] = x @ (-2 * book.T)
    costs += np.einsum("kd,kd->k", book, book) + price
    return costs


def _sums(x: F32, code: I64, size: int) -> F32:
    from scipy import sparse

    shape = (size, len(code))
    ones = np.ones(len(code), np.float32)
    return np.asarray(sparse.csr_matrix((ones, (code, np.arange(len(code)))), shape=shape) @ x, np.float32)
