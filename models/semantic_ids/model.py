"""The trained model: codes of a catalog's tracks, and a decoder that writes the codes of what a listener plays next.

model = SemanticIds.load(folder, items)
ids, scores = model.candidates(batch, k=100, allowed=mask)
model.codes                          # (n, levels + 1) semantic ids, coarse to fine
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from models.semantic_ids.codes import Codebooks
from models.semantic_ids.config import SemanticConfig
from models.semantic_ids.decoder import Decoder
from models.semantic_ids.examples import request_windows
from models.semantic_ids.ids import Ids, expected_plays
from models.semantic_ids.network import Network
from models.semantic_ids.trie import Bools, Trie
from models.semantic_ids.vectors import F32, Space
from recsys.catalog_delta import patched
from recsys.items import Items
from recsys.plays import I32, I64
from recsys.types import QueryBatch


class SemanticIds:
    """log P(track | listener) from the track's codes; as a Source, what beam search over the allowed tracks finds.

    A score depends on the request and the track alone (to about 1e-6 of its size); which tracks are found, on the
    width of the beam and on the mask as well.
    """

    name: ClassVar[str] = "semantic"

    def __init__(
        self, network: Network, space: Space, books: Codebooks, ids: Ids, config: SemanticConfig, items: Items
    ) -> None:
        """Tracks of `items` without a code get one."""
        self.network, self.space, self.books, self.config = network.eval(), space, books, config
        self.ids = ids.extended(items, space, books, config.siblings)
        self._over(items, space.vectors(items))

    def _over(self, items: Items, vectors: F32) -> None:
        rows = self.ids.rows(items)
        self.items, self.vectors, self.codes = items, vectors, self.ids.codes[rows]
        self.trie = Trie.of(self.codes, self.books.sizes)
        plays = expected_plays(items, self.ids.plays[rows], self.config.popularity_power)
        self.decoder = Decoder.of(self.network, self.trie, vectors, plays)
        self._codes, self._vectors = torch.from_numpy(self.codes), torch.from_numpy(vectors)

    def encode(self, batch: QueryBatch) -> F32:
        """(b, embedding_dim) state of each listener at its request."""
        key = f"{self.name}/{id(self)}"
        if key not in batch.memo:
            windows, moments = request_windows(batch, self.config.max_length)
            longest = int((windows.track >= 0).sum(axis=1).max(initial=0))
            windows = windows.shortened(longest)
            slot = torch.from_numpy((windows.track >= 0).sum(axis=1))
            with torch.inference_mode():
                states = self.network.states(windows, self._codes, self._vectors)
                states = states[torch.arange(len(batch)), slot]
                batch.memo[key] = self.network.listen(states, moments).numpy()
        found: F32 = batch.memo[key]
        return found

    def score(self, batch: QueryBatch) -> F32:
        """(b, n_tracks) scores of every track, by walking the whole tree."""
        return self.decoder.every(self.encode(batch))

    def score_candidates(self, batch: QueryBatch, ids: I32 | I64, offsets: I64) -> F32:
        """(m,) scores of some tracks; request j owns ids[offsets[j]:offsets[j + 1]]."""
        row = np.repeat(np.arange(len(batch)), np.diff(offsets))
        return self.decoder.some(self.encode(batch), row, np.asarray(ids, np.int64))

    def candidates(
        self, batch: QueryBatch, k: int, allowed: Bools | None = None, beam: int | None = None
    ) -> tuple[I64, F32]:
        """The k likeliest tracks that the beam finds: ids (b, k), -1 where there are fewer, and scores (b, k).

        Args:
            allowed: (n_tracks,) or (b, n_tracks) mask; a track that is not allowed is never generated.
            beam: prefixes kept at each level, in place of the config's.
        """
        return self.decoder.best(self.encode(batch), k, allowed, beam or self.config.beam)

    def revised(self, items: Items, rows: I64) -> SemanticIds:
        """The same weights over a catalog that has moved on: `items` begins with this model's tracks, and those in
        `rows` are new or have other content.

        New tracks get codes by their content, in their order; a track that has a code keeps it.
        """
        live = copy.copy(self)
        live.ids = self.ids.extended(items, self.space, self.books, self.config.siblings)
        live._over(items, patched(self.vectors, rows, self.space.alone(items.take(rows)), len(items)))
        return live

    def save(self, folder: Path) -> None:
        """Writes the files of `models.semantic_ids.files`."""
        from models.semantic_ids.files import save

        save(self, folder)

    @classmethod
    def load(cls, folder: Path, items: Items) -> SemanticIds:
        """The model for a catalog: that of the training, or a later one.

        Raises:
            ReleaseRefused: files missing, truncated, swapped or of another version.
        """
        from models.semantic_ids.files import load

        return load(folder, items)
