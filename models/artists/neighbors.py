"""The neighbours of every artist: a random walk over who is heard together, smoothed by the artists' vectors.

One step leads from an artist to a listener or session that holds it, and on to another artist there (P3, Cooper et
al., WWW 2014); long lists say less of each pair, so a basket of m artists weighs 1/sqrt(m). Two steps reach artists
whose audiences overlap though nobody heard both. Where few are known to hear an artist, a Dirichlet prior speaks: a
softmax of the cosines of artist vectors, times how many hear the other one.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models.artists.config import ArtistConfig
from recsys.errors import BadInput, ReleaseRefused
from recsys.files import write_whole
from recsys.items import Items
from recsys.plays import I32, Outcome, Plays
from recsys.topk import largest_rows, strongest
from recsys.vectors import normalize

F32: TypeAlias = NDArray[np.float32]
Sparse: TypeAlias = Any  # scipy.sparse.csr_matrix, float32
CELLS = 8_000_000
"""Pairs of artists that are looked at together: bounds the memory of walks and prior."""
STRONGEST = 500
"""Others that a step leads to from each artist: the rest adds little to the second step, and takes most of its time."""
FILE = "neighbors.npz"


@dataclass(frozen=True)
class ArtistNeighbors:
    """Of a artists, by the numbers of `Items.artist_ids`."""

    ids: I32  # (a, k) best first, never the artist itself
    score: F32  # (a, k) how likely the smoothed walk from the one ends at the other, falling

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        body = io.BytesIO()
        np.savez(body, ids=self.ids, score=self.score)
        write_whole(folder / FILE, body.getvalue())

    @classmethod
    def load(cls, folder: Path, items: Items) -> ArtistNeighbors:
        """Raises ReleaseRefused where the file is missing, damaged or of another catalog."""
        try:
            with np.load(folder / FILE, allow_pickle=False) as found:
                near = cls(found["ids"], found["score"])
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise ReleaseRefused(f"{folder / FILE} cannot be read; build the release again") from error
        artists, kept = len(items.artist_ids), near.ids
        fits = kept.shape == near.score.shape and len(kept) == artists
        if not fits or kept.min(initial=0) < 0 or kept.max(initial=-1) >= artists:
            raise ReleaseRefused(f"{folder / FILE} is of another catalog; build the release again")
        if not np.isfinite(near.score).all():
            raise ReleaseRefused(f"{folder / FILE} holds scores that are no numbers; build the release again")
        return near


def artist_vectors(items: Items, unit: F32, plays: NDArray[Any]) -> F32:
    """(a, d) unit means of the artists' track vectors (n, d), by 1 + log(1 + plays (n,))."""
    weight = 1 + np.log1p(np.maximum(plays, 0))
    sums = np.zeros((len(items.artist_ids), unit.shape[1]))
    np.add.at(sums, items.artist, weight[:, None] * unit)
    return normalize(sums)


def train(
    plays: Plays,
    items: Items,
    unit: F32,
    config: ArtistConfig,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> ArtistNeighbors:
    """Neighbours from a log.

    Args:
        unit: (n, d) track vectors of length 1.

    Raises:
        BadInput: a vector is not finite.
    """
    if not np.isfinite(unit).all():
        raise BadInput("similar artists: a track vector is not finite; train the two-tower model again")
    known = (plays.track >= 0) & (plays.outcome != Outcome.SKIP)
    known[known] = items.named[items.artist[plays.track[known]]]
    counts = np.bincount(plays.track[known], minlength=len(items))
    listeners = _baskets(plays, items, plays.owner[known], known, config.basket)
    sessions = np.unique(plays.owner[known] * 2**32 + plays.session[known], return_inverse=True)[1]
    step = _step(listeners, _baskets(plays, items, sessions, known, config.basket))
    heard = np.bincount(listeners.indices, minlength=len(items.artist_ids)).astype(np.float32)
    vectors = artist_vectors(items, unit, counts)
    total = len(heard)
    keep = min(config.keep, max(total - 1, 0))
    ids, score = np.zeros((total, keep), np.int32), np.zeros((total, keep), np.float32)
    chunk = max(CELLS // max(total, 1), 1)
    for at in range(0, total, chunk):
        progress(at, total)
        rows = np.arange(at, min(at + chunk, total))
        chance = _chances(step, rows, heard, vectors, config)
        chance[:, ~items.named] = 0  # many artists, and nobody's neighbours
        chance[np.arange(len(rows)), rows] = -1
        best = largest_rows(chance, keep)
        value = np.take_along_axis(chance, best, 1)
        order = np.lexsort((best, -value), axis=1)
        ids[rows], score[rows] = np.take_along_axis(best, order, 1), np.take_along_axis(value, order, 1)
    progress(total, total)
    return ArtistNeighbors(ids, score)


def _baskets(
    plays: Plays, items: Items, row: NDArray[np.integer], known: NDArray[np.bool_], most: int
) -> Sparse:
    """(rows, a) 1 where a row holds an artist, of its most played ones."""
    from scipy import sparse

    artist = items.artist[plays.track[known]]
    shape = (int(row.max(initial=-1)) + 1, len(items.artist_ids))
    held = sparse.coo_matrix((np.ones(len(row), np.float32), (row, artist)), shape=shape).tocsr()
    held.sum_duplicates()
    size = np.diff(held.indptr)
    if size.max(initial=0) > most:
        owner = np.repeat(np.arange(len(size)), size)
        order = np.lexsort((held.indices, -held.data, owner))
        place = np.empty(len(owner), np.int64)
        place[order] = np.arange(len(owner)) - held.indptr[owner]
        held.data[place >= most] = 0
        held.eliminate_zeros()
    held.data[:] = 1
    return held


def _step(*baskets: Sparse) -> Sparse:
    """(a, a) probabilities of one step to another artist; rows of artists heard with no other are empty."""
    from scipy import sparse

    held = sparse.vstack(baskets).tocsr()
    weight = np.maximum(np.diff(held.indptr), 1) ** -0.5
    together = (held.T @ sparse.diags(weight.astype(np.float32)) @ held).tocsr()
    together.setdiag(0)
    together.eliminate_zeros()
    strongest(together, STRONGEST)
    total = np.maximum(np.asarray(together.sum(axis=1)).ravel(), 1e-9)
    return (sparse.diags((1 / total).astype(np.float32)) @ together).tocsr()


def _chances(step: Sparse, rows: NDArray[np.int64], heard: F32, vectors: F32, config: ArtistConfig) -> F32:
    """(r, a) where the smoothed walk from each row ends, never at the row itself."""
    one, own = step[rows], (np.arange(len(rows)), rows)
    walk = (one + config.second_step * (one @ step)).toarray()
    walk[own] = 0
    walk /= np.maximum(walk.sum(axis=1, keepdims=True), 1e-9)
    prior = np.exp((vectors[rows] @ vectors.T - 1) / config.temperature) * (1 + heard)
    prior[own] = 0
    prior /= np.maximum(prior.sum(axis=1, keepdims=True), 1e-30)
    listeners = np.where(np.diff(step.indptr)[rows] > 0, heard[rows], 0)[:, None]
    out: F32 = (listeners * walk + config.prior * prior) / np.maximum(listeners + config.prior, 1e-9)
    return out
