"""The user tower for one request, in numpy: half of torch's time for matrices as small as these.

    user, memory = Inference.of(network.user)(vectors, history)

The same function as `towers.UserTower.forward` (to about 1e-6; a test holds it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from models.two_tower.history import History
from recsys.layers import F32, Affine, affine, gelu, linear, normed, scale_and_shift, values

if TYPE_CHECKING:
    from torch import nn

    from models.two_tower.towers import UserTower


@dataclass(frozen=True)
class Inference:
    """Views of a user tower's weights; right-hand factors and biases."""

    heads: int
    tables: tuple[F32, ...]  # hour, weekday, device, country
    how: Affine
    who: Affine
    judge: Affine
    key: Affine
    ask: Affine
    gain: F32  # (heads, d)
    trust: Affine
    norm: tuple[F32, F32]
    hidden: Affine
    out: Affine

    @classmethod
    def of(cls, tower: UserTower) -> Inference:
        """Of a trained tower; its weights must not change afterwards."""
        norm, hidden, _, out = cast("tuple[nn.LayerNorm, nn.Linear, nn.GELU, nn.Linear]", tuple(tower.deep))
        return cls(
            heads=tower.heads,
            tables=tuple(
                values(table.weight) for table in (tower.hour, tower.weekday, tower.device, tower.country)
            ),
            how=affine(tower.how),
            who=affine(tower.who),
            judge=affine(tower.judge),
            key=affine(tower.key),
            ask=affine(tower.ask),
            gain=values(tower.gain),
            trust=affine(tower.trust),
            norm=scale_and_shift(norm),
            hidden=affine(hidden),
            out=affine(out),
        )

    def __call__(self, vectors: F32, history: History) -> tuple[F32, F32]:
        """Listener vector (1, d) and memory terms (1, L) of one request.

        `vectors` (n, d) of every track.
        """
        context = (history.hour, history.weekday, history.device, history.country)
        rows = [table[number] for table, number in zip(self.tables, context, strict=True)]
        situation = np.concatenate([*rows, history.listener], axis=1)
        judged = linear(
            np.maximum(linear(history.features[0], self.how) + linear(situation, self.who), 0), self.judge
        )
        pad = history.track[0] < 0
        tracks = vectors[np.maximum(history.track[0], 0)]
        asked = linear(situation, self.ask).reshape(self.heads, -1)
        logits = judged[:, 1:].T + asked @ linear(tracks, self.key).T
        pools = _attend(np.where(pad, np.float32(-np.inf), logits)) @ tracks
        trust = np.logaddexp(linear(situation, self.trust), np.float32(0))
        user = (pools * self.gain * trust.T).sum(axis=0, keepdims=True)
        user += self._deep(np.concatenate([pools.reshape(1, -1), situation], axis=1))
        user[:, -1] += 1
        return user, np.where(pad, np.float32(0), judged[:, 0])[None]

    def _deep(self, x: F32) -> F32:
        """The residual layer, (1, ·) to (1, d)."""
        return linear(gelu(linear(normed(x, *self.norm), self.hidden)), self.out)


def _attend(logits: F32) -> F32:
    """(heads, L) weights; what they lack of 1 goes to the zero vector, as in towers._attend."""
    most = np.maximum(logits.max(axis=1, keepdims=True), 0)
    weights: F32 = np.exp(logits - most)
    weights /= weights.sum(axis=1, keepdims=True) + np.exp(-most)
    return weights
