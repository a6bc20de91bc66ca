"""The network: a pre-norm causal transformer over plays, and item vectors tied between input and output.

Self-attentive sequential recommendation (Kang & McAuley, ICDM 2018) with rotary positions (Su et al., 2021).
A next track scores <h, v_i> + b_i + <f_i, w(h)>: h the state after the last play, v_i the track's vector from
id and content, f_i its direct evidence (evidence.py) and w(h) that evidence's weights in this context.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.sequence.attention import Layout
from models.sequence.blocks import Block, rotation, turned
from models.sequence.config import SequenceConfig
from models.sequence.dropout import dropout
from models.sequence.evidence import FEATURES
from models.sequence.tokens import GAPS, HOURS, KNOWN_SURFACES, NO_OUTCOME, Tokens
from recsys.items import Items
from recsys.types import DEVICES

RULE_START = {"near": 0.2, "near_heard": 0.2, "next": 0.7}
"""Evidence weights before training: sequential rules with a preference for the very next play."""


@dataclass(frozen=True)
class TokenTensors:
    """Tokens as int64 tensors (b, max_length + 1)."""

    track: Tensor
    outcome: Tensor
    surface: Tensor
    gap: Tensor
    hour: Tensor
    device: Tensor

    @classmethod
    def of(cls, tokens: Tokens, slots: int | None = None) -> TokenTensors:
        """All slots, or the first `slots`."""
        columns = (getattr(tokens, f.name)[:, :slots] for f in fields(cls))
        return cls(*(torch.from_numpy(np.ascontiguousarray(column)) for column in columns))


class ItemEncoder(nn.Module):
    """Vector and bias of a track from its id and content; a track unseen in training has content alone."""

    content: Tensor
    audio: Tensor

    def __init__(self, items: Items, log_popularity: np.ndarray, config: SequenceConfig) -> None:
        super().__init__()
        d = config.embedding_dim
        columns: list[NDArray[np.integer]] = [items.artist, items.album, items.genre, items.parent]
        sizes = [int(c.max(initial=0)) + 2 for c in columns]  # one more for unknown
        shifts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        content = np.stack(
            [np.where(c < 0, s - 1, c) + at for c, s, at in zip(columns, sizes, shifts, strict=True)], axis=1
        )
        self.shifts, self.sizes = shifts, np.array(sizes)
        unknown = (shifts + self.sizes - 1)[None].repeat(2, axis=0)
        self.register_buffer("content", torch.from_numpy(np.vstack([content, unknown]).astype(np.int64)))
        audio = np.vstack([items.audio, np.zeros((2, items.audio.shape[1]), np.float32)])
        self.register_buffer("audio", torch.from_numpy(audio.astype(np.float32)))
        self.track = nn.Embedding(len(items) + 2, d)
        self.group = nn.Embedding(sum(sizes), d)
        self.sound = nn.Linear(audio.shape[1], d, bias=False)
        self.bias = nn.Embedding(len(items) + 2, 1)
        nn.init.zeros_(self.track.weight)  # so that an id never trained adds nothing
        nn.init.normal_(self.group.weight, std=0.1)
        nn.init.normal_(self.sound.weight, std=0.02)
        with torch.no_grad():
            self.track.weight[-2:].normal_(std=0.1)
            self.bias.weight.copy_(torch.from_numpy(np.append(log_popularity, [0.0, 0.0]))[:, None])
        self.id_dropout = config.id_dropout

    def revised(self, items: Items, rows: NDArray[np.integer]) -> ItemEncoder:
        """The same weights over a catalog that has moved on; new tracks are content alone, as popular as the least.

        `rows` are the tracks whose content differs; `items` begins with this encoder's tracks.
        """
        n, size = len(self.content) - 2, len(items)
        columns = np.stack([c[rows] for c in (items.artist, items.album, items.genre, items.parent)], axis=1)
        known = (columns >= 0) & (columns < self.sizes - 1)
        live = copy.copy(self)
        live._modules, live._buffers = dict(self._modules), dict(self._buffers)
        content = torch.from_numpy(self.shifts + np.where(known, columns, self.sizes - 1))
        live.content = inserted(self.content, size - n, content, rows)
        live.audio = inserted(self.audio, size - n, torch.from_numpy(items.audio[rows]), rows)
        with torch.no_grad():
            floor, new = self.bias.weight[:n].min(), np.arange(n, size)
            live.track = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
                inserted(self.track.weight, size - n, torch.zeros(size - n, self.track.embedding_dim), new)
            )
            live.bias = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
                inserted(self.bias.weight, size - n, floor.repeat(size - n, 1), new)
            )
        return live

    def forward(self, tracks: Tensor) -> Tensor:
        """(...,) track numbers to (..., d) vectors."""
        ids = self.track(tracks)
        if self.training and self.id_dropout:
            ids = ids * (torch.rand((*tracks.shape, 1)) >= self.id_dropout)
        vectors: Tensor = ids + self.group(self.content[tracks]).sum(-2) + self.sound(self.audio[tracks])
        return vectors


def inserted(table: Tensor, more: int, values: Tensor, rows: NDArray[np.integer]) -> Tensor:
    """A copy with `more` rows before the last two (unknown track, no play), and some rows set."""
    out = torch.cat([table[:-2], table.new_zeros((more, *table.shape[1:])), table[-2:]])
    out[torch.from_numpy(np.asarray(rows, np.int64))] = values.to(out.dtype)
    return out


class EvidenceWeights(nn.Module):
    """w(h): a small perceptron, so that evidence is weighed by context beyond what h says of the tracks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, len(FEATURES))
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.zero_()
            for name, weight in RULE_START.items():
                self.out.bias[FEATURES.index(name)] = weight

    def forward(self, states: Tensor) -> Tensor:
        """(..., d) to (..., len(FEATURES))."""
        weights: Tensor = self.out(functional.gelu(self.hidden(states)))
        return weights


class Network(nn.Module):
    """Tokens to states, states to evidence weights, tracks to vectors."""

    cos: Tensor
    sin: Tensor

    def __init__(self, items: Items, log_popularity: np.ndarray, config: SequenceConfig) -> None:
        super().__init__()
        d = config.embedding_dim
        cos, sin = rotation(config.max_length + 1, d // config.num_heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.items = ItemEncoder(items, log_popularity, config)
        self.outcome = nn.Embedding(NO_OUTCOME + 1, d)
        self.heard = nn.Embedding(NO_OUTCOME + 1, d)
        self.surface = nn.Embedding(KNOWN_SURFACES + 1, d)
        self.gap = nn.Embedding(GAPS, d)
        self.hour = nn.Embedding(HOURS, d)
        self.device = nn.Embedding(len(DEVICES) + 1, d)
        for table in (self.outcome, self.surface, self.gap, self.hour, self.device):
            nn.init.normal_(table.weight, std=0.1)
        nn.init.ones_(self.heard.weight)
        self.blocks = nn.ModuleList(Block(config.encoder()) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(d)
        self.run = nn.Linear(2, d, bias=False)
        self.weigh = EvidenceWeights(d)
        self.dropout = config.dropout

    def forward(self, tokens: TokenTensors, layout: Layout | None = None) -> Tensor:
        """(b, t, d) float32 state after each slot; slot k has seen plays up to k only. Without a layout a row holds
        one listener."""
        layout = Layout.padded(tokens.track.shape[1]) if layout is None else layout
        x = dropout(self._embed(tokens, self.items(tokens.track), layout), self.dropout, self.training)
        turn = turned((self.cos, self.sin), layout)
        for block in self.blocks:
            x = block(x, layout, turn)
        states: Tensor = self.norm(x)
        return states

    def revised(self, items: Items, rows: NDArray[np.integer]) -> Network:
        """The same weights with another catalog's tracks (see ItemEncoder.revised)."""
        live = copy.copy(self)
        live._modules = dict(self._modules)
        live.items = self.items.revised(items, rows)
        return live

    def _embed(self, tokens: TokenTensors, tracks: Tensor, layout: Layout) -> Tensor:
        x: Tensor = tracks * self.heard(tokens.outcome)  # a skipped track pulls another way
        x = x + self.outcome(tokens.outcome) + self.surface(tokens.surface)
        x = x + self.gap(tokens.gap) + self.hour(tokens.hour) + self.device(tokens.device)
        runs: Tensor = self.run(self._runs(tokens.track, layout.position))
        return x + runs

    def _runs(self, tracks: Tensor, position: Tensor) -> Tensor:
        """(b, t, 2) whether each play has the artist, the album of the play before it."""
        groups = self.items.content[tracks][..., :2]
        same = torch.zeros(groups.shape)
        same[:, 1:] = (groups[:, 1:] == groups[:, :-1]).float()
        return same * (position > 0)[..., None]
