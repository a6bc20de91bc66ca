"""A release as the catalog has changed it: the same parts over items with a delta applied.

view = View.of(release)                           # nothing differs yet
view = view.moved(changes, closed_by)             # the release's parts again, with the delta
view.release.items, view.release.index, ...

Always made from the release and the whole delta, so a view is a function of the release and the catalog's revision,
whatever steps led to it: replay makes it again. What is expensive (vectors) is kept from view to view.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.semantic_ids import SemanticIds
from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from music.catalog.service import Changes
from recsys.catalog_delta import CONTENT, Delta, revise, with_rights
from recsys.index import Index
from recsys.index_live import LiveIndex
from recsys.items import Items
from recsys.plays import I64
from recsys.retrieval.eligibility import Eligibility
from serving.loaded import LoadedRelease

F32 = NDArray[np.float32]
Vectors = dict[tuple[str, int], tuple[F32, F32]]
"""(track id, hash of its content) -> its vector in each model."""


@dataclass(frozen=True)
class View:
    """One release at one revision of the catalog."""

    base: LoadedRelease  # as it was built
    release: LoadedRelease  # as it is served
    known: Changes  # the tracks that differ, as the catalog has them
    delta: Delta
    index: Index  # the release's, or one merged since
    merged: I64 = field(default_factory=lambda: np.zeros(0, np.int64))  # rows in which that one may differ
    vectors: Vectors = field(default_factory=dict)

    @classmethod
    def of(cls, base: LoadedRelease, catalog: Changes, closed_by: int) -> View:
        """A release against the whole catalog."""
        nothing = Delta.of(base.items, catalog.tracks[:0], catalog.availability[:0], closed_by)
        start = Changes(catalog.revision, catalog.tracks[:0], catalog.availability[:0])
        return cls(base, base, start, nothing, base.index).moved(catalog, closed_by)

    @property
    def segment(self) -> int:
        """Tracks that are searched one by one, beside the index."""
        index = self.release.index
        return len(index.segment) if isinstance(index, LiveIndex) else 0

    def moved(self, changes: Changes, closed_by: int) -> View:
        """With some tracks as the catalog has them by now; see Delta.of for `closed_by`."""
        known = _joined(self.known, changes)
        delta = Delta.of(self.base.items, known.tracks, known.availability, closed_by)
        kept = pl.col("track_id").is_in(delta.frame["track_id"].implode())
        known = replace(known, tracks=known.tracks.filter(kept), availability=known.availability.filter(kept))
        if same(delta, self.delta):
            release = replace(self.release, revision=known.revision)
            return replace(self, release=_with_caches(release, self.release), known=known)
        return self._made(known, delta)

    def _made(self, known: Changes, delta: Delta) -> View:
        if _same_names(delta, self.delta):
            items = with_rights(self.release.items, self.base.items, delta)
        else:
            items = revise(self.base.items, delta)
        if _same_content(delta, self.delta):
            release = replace(self.release, items=items, revision=known.revision)
            view = replace(self, release=_with_caches(release, self.release), known=known, delta=delta)
        else:
            two_tower, sequence, vectors = _models(self.base, items, delta, self.vectors)
            stats = (
                self.base.stats if len(items) == len(self.base.items) else self.base.stats.padded(len(items))
            )
            release = replace(
                self.base,
                items=items,
                stats=stats,
                two_tower=two_tower,
                sequence=sequence,
                semantic=_semantic(self.base, items, delta),
                index=self._indexed(self.index, self.merged, two_tower, delta),
                revision=known.revision,
            )
            view = replace(self, release=release, known=known, delta=delta, vectors=vectors)
        _share_eligibility(self, view)
        return view

    def with_index(self, index: Index, merged: I64) -> View:
        """The same view over an index that was built again; `merged`: the delta's rows by then."""
        found = self._indexed(index, merged, self.release.two_tower, self.delta)
        release = _with_caches(replace(self.release, index=found), self.release)
        before, after = self.release.index.layout, found.layout
        if before is not None and after is not None:
            Eligibility.shared(release.items, before).relaid(after).share()
        return replace(self, release=release, index=index, merged=merged)

    def _indexed(self, index: Index, merged: I64, two_tower: TwoTower, delta: Delta) -> Index:
        rows = np.union1d(delta.row[delta.content], merged)
        rows = rows[rows < len(index)]
        moved = rows[(index._vectors[rows] != two_tower.item_vectors[rows]).any(axis=1)]
        if not len(moved) and len(index) == len(two_tower.item_vectors):
            return index
        return LiveIndex.of(index, two_tower.item_vectors, moved)


def same(a: Delta, b: Delta) -> bool:
    """Whether two deltas of one release say the same."""
    rights = all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("row", "since", "until"))
    return rights and a.frame.equals(b.frame)


def _same_names(a: Delta, b: Delta) -> bool:
    """Whether two deltas differ in rights alone."""
    rows = np.array_equal(a.row[a.named], b.row[b.named])
    return rows and a.frame.filter(a.named).equals(b.frame.filter(b.named))


def _same_content(a: Delta, b: Delta) -> bool:
    """Whether the models read the same of both."""
    rows = np.array_equal(a.row[a.content], b.row[b.content])
    if not rows:
        return False
    return a.frame.select(CONTENT).filter(a.content).equals(b.frame.select(CONTENT).filter(b.content))


def _joined(old: Changes, new: Changes) -> Changes:
    """The newer state of each track."""
    other = ~pl.col("track_id").is_in(new.tracks["track_id"].implode())
    return Changes(
        new.revision,
        pl.concat([old.tracks.filter(other), new.tracks]),
        pl.concat([old.availability.filter(other), new.availability]),
    )


def _models(
    base: LoadedRelease, items: Items, delta: Delta, known: Vectors
) -> tuple[TwoTower, SequenceModel, Vectors]:
    """Both models with the delta's tracks in place, and the vectors of those."""
    rows = delta.row[delta.content]
    if not len(rows):
        return base.two_tower, base.sequence, {}
    hashes = delta.frame.filter(delta.content).select(CONTENT).hash_rows().to_list()
    keys = list(zip(delta.frame.filter(delta.content)["track_id"].to_list(), hashes, strict=True))
    sequence = base.sequence.revised(items, rows)
    unknown = np.array([i for i, key in enumerate(keys) if key not in known], np.int64)
    fresh = zip(
        base.two_tower.encode_alone(items.take(rows[unknown])),
        sequence.encode_alone(rows[unknown]),
        strict=True,
    )
    found = {keys[i]: pair for i, pair in zip(unknown.tolist(), fresh, strict=True)}
    vectors = {key: found[key] if key in found else known[key] for key in keys}
    two, seq = _stacked(vectors, 0, base.two_tower.item_vectors), _stacked(vectors, 1, sequence.item_vectors)
    return base.two_tower.revised(items, rows, two), sequence.placed(rows, seq), vectors


def _semantic(base: LoadedRelease, items: Items, delta: Delta) -> SemanticIds | None:
    """The semantic ids with codes for what is new, where a release has them."""
    rows = delta.row[delta.content]
    return base.semantic if base.semantic is None or not len(rows) else base.semantic.revised(items, rows)


def _stacked(vectors: Vectors, model: int, like: F32) -> F32:
    rows = [pair[model] for pair in vectors.values()]
    return np.stack(rows) if rows else np.zeros((0, like.shape[1]), np.float32)


def _with_caches(release: LoadedRelease, before: LoadedRelease) -> LoadedRelease:
    """Keeps what had been worked out from parts that both share."""
    if "popularity" in vars(before) and release.stats is before.stats:
        vars(release)["popularity"] = vars(before)["popularity"]
    return release


def _share_eligibility(before: View, after: View) -> None:
    """Hands the bitmaps on, looked at again where the catalog changed, so that no request packs whole masks anew."""
    old, new = before.release, after.release
    if old.index.layout is None or new.index.layout is None:
        return
    rows = np.union1d(before.delta.row, after.delta.row)
    for index in (old.index, new.index):
        if isinstance(index, LiveIndex):
            rows = np.union1d(rows, index.segment)
    kept = Eligibility.shared(old.items, old.index.layout)
    kept.revised(new.items, new.index.layout, rows).share()
