"""A trained model of plain id sequences: scores of every item after a history, saved and loaded.

model = train_ids(sequences, items, IdConfig()); model.score(histories)  # (b, items)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.sequence.attention import Layout
from models.sequence.idnetwork import IdConfig, IdNetwork
from recsys.errors import ReleaseRefused
from recsys.evaluation.protocol import Scores
from recsys.evaluation.ragged import Ragged

FILE = "id_sequence.pt"
CHUNK = 256
"""Histories scored at once."""


@dataclass(frozen=True)
class IdModel:
    """Next-item scores; a row depends on its own history only (to about 1e-6)."""

    network: IdNetwork

    def score(self, histories: Ragged) -> Scores:
        """(b, items), higher is better, from each history's last `max_length` ids, oldest first."""
        out = np.empty((len(histories), self.network.size), np.float32)
        by_size = np.argsort(histories.counts, kind="stable")
        self.network.eval()
        with torch.inference_mode():
            for at in range(0, len(out), CHUNK):
                rows = by_size[at : at + CHUNK]
                out[rows] = self._score(histories.take(rows))
        return out

    def _score(self, histories: Ragged) -> Scores:
        network = self.network
        size = np.minimum(histories.counts, network.config.max_length)
        width = max(int(size.max(initial=0)), 1)
        slots = np.arange(width)
        source = np.minimum(
            (histories.offsets[1:] - size)[:, None] + slots, max(len(histories.tracks) - 1, 0)
        )
        filled = slots < size[:, None]
        ids = np.where(filled, histories.tracks[source] if len(histories.tracks) else 0, network.size)
        states = network(torch.from_numpy(ids.astype(np.int64)), Layout.padded(width))
        last = states[torch.arange(len(ids)), torch.from_numpy(np.maximum(size - 1, 0))]
        scores: Scores = (last @ network.vectors.T + network.bias).numpy()
        return scores

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        body = {"items": self.network.size, "config": self.network.config.model_dump_json()}
        torch.save({**body, "weights": self.network.state_dict()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> IdModel:
        """Raises ReleaseRefused where the file is missing or damaged."""
        try:
            found = torch.load(folder / FILE, weights_only=True)
            network = IdNetwork(found["items"], IdConfig.model_validate_json(found["config"]))
            network.load_state_dict(found["weights"])
        except Exception as error:
            raise ReleaseRefused(f"cannot read {folder / FILE}: train again ({error})") from error
        return cls(network.eval())
