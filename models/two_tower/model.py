"""The trained two-tower model: vectors of tracks and listeners, scores, candidates, and its files.

model = TwoTower.load(folder, items)
ids, scores = model.candidates(batch, k=500, allowed=mask, index=index)
"""

from __future__ import annotations

import copy
import dataclasses
import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.two_tower import files
from models.two_tower.config import TwoTowerConfig
from models.two_tower.content import Content, Vocabulary
from models.two_tower.history import F32, History, Queries, gather, kin, trace
from models.two_tower.inference import Inference
from models.two_tower.towers import ItemTower, Network
from recsys.catalog_delta import patched
from recsys.errors import BadInput
from recsys.index import Index
from recsys.items import Items
from recsys.plays import I64
from recsys.retrieval.bitmaps import Bitmaps
from recsys.retrieval.plans import Plan
from recsys.topk import members
from recsys.types import QueryBatch

_CHUNK = 65_536


@dataclasses.dataclass(frozen=True)
class Ancestor:
    """A model from whose weights another was trained on."""

    release: str  # version in the registry, "" where it never was in one
    until_ms: int  # it saw plays before


class TwoTower:
    """score(listener, track) = <encode(listener), item_vectors[track]> + memory term (see towers.py)."""

    name = "two_tower"

    def __init__(
        self,
        network: Network,
        vocabulary: Vocabulary,
        config: TwoTowerConfig,
        items: Items,
        until_ms: int,
        lineage: tuple[Ancestor, ...] = (),
    ) -> None:
        """Track ages are as of until_ms, UTC; `lineage`: whose weights it started from, oldest first."""
        self.network, self.vocabulary, self.config = network, vocabulary, config
        self.items, self.until_ms, self.lineage = items, until_ms, lineage
        self.item_vectors: F32 = self.encode_items(items)
        self._kinship = kin(items)
        self._vectors = torch.from_numpy(self.item_vectors)
        self._inference = Inference.of(network.user)

    @cached_property
    def unit_vectors(self) -> F32:
        """(n, d - 1) track vectors of length 1 without the popularity coordinate: likeness between tracks."""
        return _unit(self.item_vectors)

    def encode_items(self, items: Items) -> F32:
        """(m, d) vectors of any catalog's tracks; those without training plays from their content alone."""
        return self.encode_content(Content.of(items, self.vocabulary))

    def encode_content(self, content: Content) -> F32:
        """(m, d) vectors of tracks as the tables are to see them."""
        return encode_tracks(self.network.item, content, self.until_ms)

    def encode_alone(self, items: Items) -> F32:
        """(m, d) like encode_items, one track at a time: the very same vector in whatever company a track comes.

        To the last bit, which takes memory of its own for each row: a product's rounding depends on alignment.
        """
        content = Content.of(items, self.vocabulary)
        age = torch.from_numpy(content.age_bucket(np.arange(len(items)), self.until_ms))
        rows, audio = torch.from_numpy(content.rows), torch.from_numpy(content.audio)
        out = np.empty((len(items), self.config.embedding_dim), np.float32)
        with torch.inference_mode():
            for i in range(len(items)):
                one = slice(i, i + 1)
                out[one] = self.network.item(rows[one], audio[one].clone(), age[one]).numpy()
        return out

    def revised(self, items: Items, rows: I64, vectors: F32) -> TwoTower:
        """The same network over a catalog that has moved on: `vectors` (m, d) of the tracks in `rows`.

        `items` begins with the tracks of this model's; rows beyond them must all be given.
        """
        live = copy.copy(self)
        live.items, live._kinship = items, kin(items)
        live.item_vectors = patched(self.item_vectors, rows, vectors, len(items))
        live._vectors = torch.from_numpy(live.item_vectors)
        vars(live)["unit_vectors"] = patched(self.unit_vectors, rows, _unit(vectors), len(items))
        return live

    def encode(self, batch: QueryBatch) -> F32:
        """(b, d) listener vectors; a listener's does not depend on the others in the batch (to 1e-6)."""
        return self._encode(batch)[0]

    def score(self, batch: QueryBatch) -> F32:
        """(b, n) scores of every track."""
        user, memory, history = self._encode(batch)
        scores: F32 = user @ self.item_vectors.T
        row, place = np.nonzero(history.track >= 0)
        scores[row, history.track[row, place]] += memory[row, place]
        return scores

    def score_candidates(self, batch: QueryBatch, ids: NDArray[np.integer], offsets: I64) -> F32:
        """(m,) scores of some tracks, row j's ids[offsets[j]:offsets[j + 1]]; those of `score`."""
        user, memory, history = self._encode(batch)
        row = np.repeat(np.arange(len(batch)), np.diff(offsets))
        scores: F32 = np.einsum("md,md->m", user[row], self.item_vectors[ids])
        n = len(self.items) + 1
        heard = (np.arange(len(batch))[:, None] * n + history.track + 1).ravel()
        order = np.argsort(heard)
        wanted = row * n + np.asarray(ids, np.int64) + 1
        place = np.minimum(np.searchsorted(heard, wanted, sorter=order), len(heard) - 1)
        found = heard[order[place]] == wanted
        return (scores + np.where(found, memory.ravel()[order[place]], 0)).astype(np.float32)

    def candidates(
        self,
        batch: QueryBatch,
        k: int,
        allowed: NDArray[np.bool_] | Bitmaps | None = None,
        index: Index | None = None,
        plans: list[Plan] | None = None,
    ) -> tuple[I64, F32]:
        """The k best tracks of each request, best first: ids (b, k) and scores (b, k); -1 and -inf pad.

        `allowed` is a mask (n,) or (b, n). With an index over item_vectors, it finds the best inner products,
        the listener's own tracks are scored one by one, and the two lists are merged: as exact as the index.
        An index also takes bitmaps, and then says in `plans` how each request was searched.

        Raises:
            BadInput: bitmaps without an index.
        """
        if index is None:
            if isinstance(allowed, Bitmaps):
                raise BadInput("bitmaps need the index they were packed for; give a mask")
            return _top(self.score(batch), k, allowed)
        user, memory, history = self._encode(batch)
        # A track whose memory term is negative can fall out of the list: ask for as many more.
        extra = int((memory < 0).sum(axis=1).max(initial=0))
        scores, ids = index.search(user, min(k + extra, len(self.items)), allowed, plans)
        own = self._own_scores(user, memory, history, allowed)
        return merge(ids, scores, history.track, own, k)

    def save(self, folder: Path) -> None:
        """Plain files: weights.npz, vocabulary.json, settings.json, and a manifest of their digests."""
        state = {name: value.numpy() for name, value in self.network.state_dict().items()}
        settings = {
            "config": self.config.model_dump(),
            "until_ms": self.until_ms,
            "countries": len(self.items.countries),
            "lineage": [dataclasses.asdict(ancestor) for ancestor in self.lineage],
        }
        files.write(folder, state, json.dumps(dataclasses.asdict(self.vocabulary)), json.dumps(settings))

    @classmethod
    def load(cls, folder: Path, items: Items) -> TwoTower:
        """The model for a catalog: that of the training, or a later one.

        Raises:
            ReleaseRefused: files missing, truncated, swapped or of another version.
        """
        state, names, settings = files.read(folder)
        vocabulary = Vocabulary(**names)
        config = TwoTowerConfig(**settings["config"])
        network = Network(vocabulary.sizes, settings["countries"], config)
        files.fill(network, state, folder)
        lineage = tuple(Ancestor(**ancestor) for ancestor in settings.get("lineage", []))
        return cls(network.eval(), vocabulary, config, items, settings["until_ms"], lineage)

    def _encode(self, batch: QueryBatch) -> tuple[F32, F32, History]:
        """Listener vectors (b, d), memory terms (b, L) and the histories; computed once a batch."""
        key = f"two_tower/{id(self)}"
        if key not in batch.memo:
            batch.memo[key] = self._forward(batch)
        encoded: tuple[F32, F32, History] = batch.memo[key]
        return encoded

    def _forward(self, batch: QueryBatch) -> tuple[F32, F32, History]:
        plays = batch.histories
        history = gather(plays, trace(plays), Queries.of(batch), self._kinship, self.config.max_length)
        if len(batch) == 1:
            return *self._inference(self.item_vectors, history), history
        pad = torch.from_numpy(history.track < 0)
        distinct, played = np.unique(np.maximum(history.track, 0), return_inverse=True)
        vectors = self._vectors[torch.from_numpy(distinct)]
        with torch.inference_mode():
            user, _, memory = self.network.user(
                vectors, torch.from_numpy(played), pad, *history_tensors(history)
            )
        return user.numpy(), memory.numpy(), history

    def _own_scores(
        self, user: F32, memory: F32, history: History, allowed: NDArray[np.bool_] | Bitmaps | None
    ) -> F32:
        """(b, L) scores of the tracks in each history; -inf where padded or not allowed."""
        tracks = np.maximum(history.track, 0)
        scores = np.einsum("bd,bld->bl", user, self.item_vectors[tracks]) + memory
        usable = history.track >= 0
        if isinstance(allowed, Bitmaps):
            usable &= allowed.has(tracks)
        elif allowed is not None:
            usable &= np.take_along_axis(np.broadcast_to(allowed, (len(user), len(self.items))), tracks, 1)
        return np.where(usable, scores, -np.inf).astype(np.float32)


def _unit(vectors: F32) -> F32:
    tastes = vectors[:, :-1]
    unit: F32 = tastes / np.maximum(np.linalg.norm(tastes, axis=1, keepdims=True), np.float32(1e-9))
    return unit


def encode_tracks(tower: ItemTower, content: Content, now_ms: int) -> F32:
    """(n, d) vectors of every track, ages as of now_ms."""
    out = np.empty((len(content.rows), tower.dim), np.float32)
    with torch.inference_mode():
        for begin in range(0, len(out), _CHUNK):
            tracks = np.arange(begin, min(begin + _CHUNK, len(out)))
            age = torch.from_numpy(content.age_bucket(tracks, now_ms))
            rows, audio = torch.from_numpy(content.rows[tracks]), torch.from_numpy(content.audio[tracks])
            out[tracks] = tower(rows, audio, age).numpy()
    return out


def history_tensors(history: History) -> tuple[Tensor, Tensor, Tensor]:
    """Features (b, L, f), listener features (b, g) and context (b, 4) as the user tower takes them."""
    context = np.stack([history.hour, history.weekday, history.device, history.country], axis=1)
    return (
        torch.from_numpy(history.features),
        torch.from_numpy(history.listener),
        torch.from_numpy(context),
    )


def merge(ids: I64, scores: F32, own: I64, own_scores: F32, k: int) -> tuple[I64, F32]:
    """The k best of two lists a row; where a track is in both, `own_scores` holds."""
    doubled = [members(found, heard) for found, heard in zip(ids, own, strict=True)]
    if doubled:
        scores = np.where(np.stack(doubled), np.float32(-np.inf), scores)
    ids = np.concatenate([ids, own], axis=1)
    scores = np.concatenate([scores, own_scores], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, 1)
    return np.where(np.isfinite(best), np.take_along_axis(ids, order, 1), -1), best


def _top(scores: F32, k: int, allowed: NDArray[np.bool_] | None) -> tuple[I64, F32]:
    if allowed is not None:
        scores = np.where(allowed, scores, np.float32(-np.inf))
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)
    best = np.take_along_axis(scores, ids, 1)
    return np.where(np.isfinite(best), ids, -1), best
