"""The two towers. Track: id + content -> vector. Listener: pooled vectors of tracks played + context -> vector.

score(listener, track) = <u, v> + m. The memory term m is non-zero only for tracks of the listener's own history:
the wide part of a wide & deep model (Cheng et al. 2016), here a function of how the track was played (decayed
counts after Anderson & Schooler 1991), because repeats are most of listening and no vector of 64 numbers can
tell a hundred tracks apart. It is an inner product too: of sparse one-hot blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.two_tower.config import TwoTowerConfig
from models.two_tower.content import AGE_BUCKETS
from models.two_tower.history import LISTENER_FEATURES, TRACK_FEATURES
from recsys.schemas import AUDIO
from recsys.types import DEVICES

_FEATURE_HIDDEN = 32
_KEY_DIM = 8
_REPEAT = 4.5
"""Memory term to begin with: half of the plays are of a hundredth of the catalog."""


class ItemTower(nn.Module):
    """Sum of embeddings, a residual layer, and a popularity coordinate of its own."""

    def __init__(self, sizes: tuple[int, ...], config: TwoTowerConfig) -> None:
        super().__init__()
        self.dim = config.embedding_dim
        dim = self.dim - 1
        self.tables = nn.ModuleList([_table(size, dim) for size in sizes])
        self.audio = nn.Linear(len(AUDIO) + 1, dim)
        self.age = _table(AGE_BUCKETS, dim)
        self.deep = _mlp(dim, config.hidden_dim, dim)
        self.popularity = nn.Linear(dim, 1)
        self.track_popularity = nn.Embedding(sizes[0], 1)
        nn.init.normal_(self.audio.weight, std=0.02)  # the default would drown the embeddings in noise
        for start_at_zero in (self.audio.bias, self.popularity.weight, self.track_popularity.weight):
            nn.init.zeros_(start_at_zero)

    def table(self, column: int) -> Tensor:
        """Weights of one of the five tables, in the order of Content.rows."""
        weight: Tensor = self.tables[column].weight  # type: ignore[assignment]
        return weight

    def forward(self, rows: Tensor, audio: Tensor, age: Tensor) -> Tensor:
        """rows (m, 5), audio (m, f), age (m,) -> (m, embedding_dim)."""
        x = self.audio(audio) + self.age(age)
        for column, table in enumerate(self.tables):
            x = x + table(rows[:, column])
        popularity = self.popularity(x) + self.track_popularity(rows[:, 0])
        return torch.cat([x + self.deep(x), popularity], dim=1)


class UserTower(nn.Module):
    """Attention pooling by how and when each track was played, then a residual layer with the context."""

    def __init__(self, countries: int, config: TwoTowerConfig) -> None:
        super().__init__()
        dim, self.heads = config.embedding_dim, config.num_heads
        self.hour, self.weekday = _table(24, 16), _table(7, 4)
        self.device, self.country = _table(len(DEVICES) + 1, 8), _table(countries + 1, 8)
        situation = 16 + 4 + 8 + 8 + LISTENER_FEATURES
        self.how = nn.Linear(TRACK_FEATURES, _FEATURE_HIDDEN)
        self.who = nn.Linear(situation, _FEATURE_HIDDEN)
        self.judge = nn.Linear(_FEATURE_HIDDEN, self.heads + 1)
        nn.init.zeros_(self.judge.weight)
        nn.init.constant_(self.judge.bias[:1], _REPEAT)
        self.key = nn.Linear(dim, _KEY_DIM)
        self.ask = nn.Linear(situation, self.heads * _KEY_DIM)
        self.gain = nn.Parameter(torch.full((self.heads, dim), 1.0 / self.heads))
        self.trust = nn.Linear(situation, self.heads)
        self.deep = _mlp(self.heads * dim + situation, config.hidden_dim, dim)

    def forward(
        self,
        vectors: Tensor,  # (m, embedding_dim) of tracks
        played: Tensor,  # (b, L) which of them were played
        pad: Tensor,  # (b, L) bool
        features: Tensor,  # (b, L, TRACK_FEATURES)
        listener: Tensor,  # (b, LISTENER_FEATURES)
        context: Tensor,  # (b, 4) hour, weekday, device, country
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Listener vectors (b, embedding_dim); scores of the tracks played (b, L); memory terms in them (b, L)."""
        times = self.hour(context[:, 0]), self.weekday(context[:, 1])
        places = self.device(context[:, 2]), self.country(context[:, 3])
        situation = torch.cat([*times, *places, listener], dim=1)
        judged = self.judge(nn.functional.relu(self.how(features) + self.who(situation)[:, None]))
        tracks = nn.functional.embedding(played, vectors)  # (b, L, d)
        keys = nn.functional.embedding(played, self.key(vectors))  # (b, L, _KEY_DIM)
        asked = self.ask(situation).unflatten(1, (self.heads, _KEY_DIM))
        pools = _attend(judged[..., 1:].transpose(1, 2) + asked @ keys.transpose(1, 2), pad) @ tracks
        trust = torch.nn.functional.softplus(self.trust(situation))[..., None]
        user = (pools * self.gain * trust).sum(1) + self.deep(torch.cat([pools.flatten(1), situation], dim=1))
        user = torch.cat([user[:, :-1], user[:, -1:] + 1], dim=1)  # popularity counts once to begin with
        memory = judged[..., 0]
        return user, (user[:, None] @ tracks.transpose(1, 2))[:, 0] + memory, memory.masked_fill(pad, 0.0)


def _attend(logits: Tensor, pad: Tensor) -> Tensor:
    """(b, heads, L) weights; what they lack of 1 goes to the zero vector, all of it for an empty history."""
    logits = logits.masked_fill(pad[:, None], -torch.inf)
    nothing = torch.zeros_like(logits[..., :1])
    return torch.softmax(torch.cat([logits, nothing], dim=2), dim=2)[..., :-1]


class Network(nn.Module):
    """Both towers, as one set of weights."""

    def __init__(self, sizes: tuple[int, ...], countries: int, config: TwoTowerConfig) -> None:
        super().__init__()
        self.item = ItemTower(sizes, config)
        self.user = UserTower(countries, config)


def _table(rows: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(rows, dim)
    nn.init.normal_(table.weight, std=0.05)
    return table


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Starts near zero, so that the residual path is what an untrained model does."""
    last = nn.Linear(hidden, outputs)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), last)
