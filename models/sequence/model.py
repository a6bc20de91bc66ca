"""The trained sequence model: encodes histories, scores every track or some candidates, saves and loads.

model = SequenceModel.load(folder, items); scores = model.score(batch)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.sequence.config import SequenceConfig
from models.sequence.cooccurrence import count_successors
from models.sequence.evidence import F32, EvidenceModel
from models.sequence.inference import Inference
from models.sequence.network import Network, TokenTensors, inserted
from models.sequence.tokens import request_tokens
from recsys.items import Items
from recsys.plays import I32, I64, Plays
from recsys.topk import largest_rows
from recsys.types import QueryBatch

CHUNK = 64
"""Requests scored at once: bounds memory at CHUNK * n_tracks floats."""


class SequenceModel:
    """Next-track scores from what was played; as a Source, the highest of them.

    A score depends on the request and the track alone (to about 1e-6: sums run in another order in a batch).
    """

    name: ClassVar[str] = "sequence"

    def __init__(
        self, config: SequenceConfig, items: Items, network: Network, evidence: EvidenceModel
    ) -> None:
        self.config, self.items, self.network, self.evidence = config, items, network.eval(), evidence
        self._inference = Inference.of(network)
        with torch.inference_mode():
            every = torch.arange(len(items) + 2)
            self._vectors = network.items(every)
            self.item_vectors: F32 = np.ascontiguousarray(self._vectors[: len(items)].numpy())
            self.item_bias: F32 = network.items.bias(every[: len(items)])[:, 0].numpy().copy()

    def encode(self, batch: QueryBatch) -> F32:
        """(b, embedding_dim) state of each listener at its request."""
        return self._encode(batch)[0]

    def score(self, batch: QueryBatch) -> F32:
        """(b, n_tracks); higher is better. A small batch remembers them for its later stages."""
        if len(batch) > CHUNK:
            return np.concatenate([self._score(part) for part in _chunks(batch)])
        return self._scores(batch).copy()

    def _scores(self, batch: QueryBatch) -> F32:
        """(b, n_tracks) of a small batch, remembered; to be read only."""
        key = f"{self.name}.scores.{id(self)}"
        if key not in batch.memo:
            batch.memo[key] = self._score(batch)
        scores: F32 = batch.memo[key]
        return scores

    def score_candidates(self, batch: QueryBatch, ids: I32 | I64, offsets: I64) -> F32:
        """(m,) scores of some tracks; request j owns ids[offsets[j]:offsets[j + 1]]."""
        parts, at = [np.zeros(0, np.float32)], 0
        for part in _chunks(batch):
            own = offsets[at : at + len(part) + 1]
            owner = np.repeat(np.arange(len(part)), np.diff(own))
            parts.append(self._scores(part)[owner, ids[own[0] : own[-1]]])
            at += len(part)
        return np.concatenate(parts)

    def recounted(self, plays: Plays) -> SequenceModel:
        """The same network with co-occurrence counted over `plays`: newer days at the cost of seconds."""
        config, items = self.config, self.items
        successors = count_successors(plays, len(items), config.rule_window, config.rule_keep)
        evidence = EvidenceModel.of(successors, items, config.rule_window, config.rule_decay)
        return SequenceModel(config, items, self.network, evidence)

    def revised(self, items: Items, rows: I64) -> SequenceModel:
        """The same weights over a catalog that has moved on: tracks in `rows` (all new ones among them) are read by
        their content, and still carry the old vectors; see `placed`."""
        live = copy.copy(self)
        live.items, live.network = items, self.network.revised(items, rows)
        successors = self.evidence.successors
        if len(items) > len(self.items):
            successors = successors.padded(len(items))
        live.evidence = EvidenceModel.of(successors, items, self.evidence.window, self.evidence.decay)
        with torch.inference_mode():
            live.item_bias = live.network.items.bias.weight[: len(items), 0].numpy().copy()
        return live

    def encode_alone(self, tracks: I64) -> F32:
        """(m, d) vectors of some tracks, one at a time: the very same in whatever company a track comes."""
        out = np.empty((len(tracks), self.item_vectors.shape[1]), np.float32)
        with torch.inference_mode():
            for i, track in enumerate(tracks):
                out[i] = self.network.items(torch.tensor([int(track)]))[0].numpy()
        return out

    def placed(self, rows: I64, vectors: F32) -> SequenceModel:
        """With the vectors (m, d) of some tracks in place."""
        live = copy.copy(self)
        more = len(self.items) - len(self.item_vectors)
        live._vectors = inserted(self._vectors, more, torch.from_numpy(vectors), rows)
        live.item_vectors = live._vectors[: len(self.items)].numpy()
        return live

    def _score(self, batch: QueryBatch) -> F32:
        states, weights = self._encode(batch)
        scores = self.evidence.scores(batch.histories, batch.now, weights)
        scores += states @ self.item_vectors.T
        scores += self.item_bias
        return scores

    def candidates(
        self, batch: QueryBatch, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[I64, F32]:
        """The k best tracks of each request: ids (b, k), -1 where fewer are allowed, and scores (b, k).

        Args:
            allowed: (n_tracks,) or (b, n_tracks) mask.
        """
        scores = self._scores(batch) if len(batch) <= CHUNK else self.score(batch)
        if allowed is not None:
            scores = np.where(allowed, scores, np.float32(-np.inf))
        top = largest_rows(scores, min(k, scores.shape[1]))
        value = np.take_along_axis(scores, top, axis=1)
        order = np.lexsort((top, -value), axis=1)
        top, value = np.take_along_axis(top, order, axis=1), np.take_along_axis(value, order, axis=1)
        return np.where(np.isfinite(value), top, -1), value

    def _encode(self, batch: QueryBatch) -> tuple[F32, F32]:
        """States (b, d) and evidence weights (b, features)."""
        tokens = request_tokens(batch, self.config.max_length, len(self.items))
        longest = int(tokens.length.max(initial=0)) + 1
        with torch.inference_mode():
            if len(batch) == 1:
                groups = self.network.items.content[:, :2].numpy()
                return self._inference(tokens, self._vectors.numpy(), groups)
            states = self.network(TokenTensors.of(tokens, longest))
            states = states[torch.arange(len(batch)), torch.from_numpy(tokens.length)]
            return states.numpy(), self.network.weigh(states).numpy()

    def save(self, folder: Path) -> None:
        """Writes the files of `models.sequence.store`."""
        from models.sequence.store import save

        save(self, folder)

    @classmethod
    def load(cls, folder: Path, items: Items) -> SequenceModel:
        """Raises ReleaseRefused where files are missing, damaged or of other items."""
        from models.sequence.store import load

        return load(folder, items)


def _chunks(batch: QueryBatch) -> Iterator[QueryBatch]:
    """At most CHUNK requests at a time; a small batch itself."""
    if len(batch) <= CHUNK:
        yield batch
        return
    for at in range(0, len(batch), CHUNK):
        yield batch.take(np.arange(at, min(at + CHUNK, len(batch)), dtype=np.int64))
