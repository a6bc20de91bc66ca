"""A network over plain id sequences: an item table, positions, the blocks, and scores by the same table.

For public data without times, contexts or content; the product's network (network.py) stands on the same blocks.

    network = IdNetwork(items=3416, config=IdConfig()); states = network(ids, Layout.padded(50))
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.sequence.attention import Layout
from models.sequence.blocks import Block, EncoderConfig, rotation, turned
from models.sequence.dropout import dropout
from models.sequence.precision import Precision


class IdConfig(EncoderConfig):
    """Hyperparameters of the network and of its training (idtrain.py). The defaults were chosen on validation data
    of MovieLens-1M: docs/sequence.md has the table."""

    input_dropout: float | None = Field(
        None, ge=0, lt=1, description="of item vectors; `dropout` if not given"
    )
    tied: bool = Field(True, description="one table at input and output")
    item_bias: bool = Field(False, description="a learned score of each item, whatever came before")
    loss: Literal["softmax", "gbce"] = "softmax"
    num_negatives: int = Field(0, ge=0, description="shared by a step; 0: all items, exactly")
    uniform_share: float = Field(0.5, gt=0, le=1, description="of the negatives; the rest by popularity")
    gbce_t: float = Field(0.75, ge=0, le=1, description="calibration of gBCE (Petrov & Macdonald 2023)")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    windows: Literal["last", "all"] = Field("last", description="newest max_length of each sequence, or all")
    rows: Literal["bucketed", "packed"] = "bucketed"
    batch_tokens: int = Field(3_200, ge=1, description="tokens of a step, padding counted")
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="of matrices, not of tables, biases and norms")
    warm_up: float = Field(0.02, ge=0, lt=1, description="share of the steps with a rising rate")
    last_rate: float = Field(0.02, ge=0, le=1, description="of the rate, where its cosine ends")
    average: float = Field(0.0, ge=0, lt=1, description="decay of the weights' moving average; 0: none")
    parts: int = Field(1, ge=1, description="into which a pass over the data is cut, for a finer curve")
    epochs: int = Field(20, ge=1, description="parts of a pass, where it is cut")
    precision: Precision = "auto"
    num_threads: int = Field(1, ge=1)
    seed: int = 0


class IdNetwork(nn.Module):
    """Ids to states; the last of the table's rows stands for padding."""

    cos: Tensor
    sin: Tensor

    def __init__(self, items: int, config: IdConfig) -> None:
        super().__init__()
        d = config.embedding_dim
        self.config, self.size = config, items
        self.table = nn.Embedding(items + 1, d, padding_idx=items)
        nn.init.normal_(self.table.weight, std=INIT)
        self.output = self.table if config.tied else nn.Embedding(items + 1, d, padding_idx=items)
        if not config.tied:
            nn.init.normal_(self.output.weight, std=INIT)
        self.bias = nn.Parameter(torch.zeros(items), requires_grad=config.item_bias)
        if config.positions == "learned":
            self.place = nn.Parameter(torch.randn(config.max_length, d) * INIT)
        cos, sin = rotation(config.max_length, d // config.num_heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(d)

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        """(b, t, d) float32 states of ids (b, t); each has seen what its layout lets it see."""
        config = self.config
        x = self.table(ids) * config.embedding_dim**0.5
        if config.positions == "learned":
            x = x + self.place[layout.position]
        rate = config.dropout if config.input_dropout is None else config.input_dropout
        x = dropout(x, rate, self.training)
        turn = turned((self.cos, self.sin), layout) if config.positions == "rotary" else None
        for block in self.blocks:
            x = block(x, layout, turn)
        states: Tensor = self.norm(x)
        return states

    @property
    def vectors(self) -> Tensor:
        """(items, d) output vectors."""
        return self.output.weight[: self.size]


INIT = 0.02
"""Standard deviation of tables before training."""
