"""Going on from an earlier model's weights: new names get rows, the rest starts where it was.

network = grown(start, vocabulary, config, countries)   # train.train(..., start=model) does all of it
A name that is new starts as the unknown one, so a track that is new to the tables begins where its content placed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from models.two_tower.config import TwoTowerConfig
from models.two_tower.content import Vocabulary
from models.two_tower.model import TwoTower
from models.two_tower.towers import Network
from recsys.errors import BadInput

Moments: TypeAlias = dict[str, dict[str, Tensor]]
"""AdamW's state by name of parameter: step, exp_avg, exp_avg_sq."""
_SHAPE = ("embedding_dim", "hidden_dim", "num_heads")


def joined(old: Vocabulary, new: Vocabulary) -> Vocabulary:
    """The old names in their old rows, then those that are new."""
    tables = (
        (old.tracks, new.tracks),
        (old.artists, new.artists),
        (old.albums, new.albums),
        (old.genres, new.genres),
        (old.parents, new.parents),
    )
    return Vocabulary(*(list(dict.fromkeys([*before, *now])) for before, now in tables))


def grown(start: TwoTower, vocabulary: Vocabulary, config: TwoTowerConfig, countries: int) -> Network:
    """A network with the weights of `start`, for a vocabulary that begins with its own and a number of territories.

    Raises:
        BadInput: the settings or the catalog's territories ask for a network of another shape.
    """
    for name in _SHAPE:
        if getattr(start.config, name) != getattr(config, name):
            raise BadInput(f"the model to start from has another {name}: train from scratch, without `start`")
    if start.network.user.country.num_embeddings != countries + 1:
        raise BadInput("the catalog's territories have changed since that model: train from scratch")
    network = Network(vocabulary.sizes, countries, config)
    old = start.network.state_dict()
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            weight.copy_(_padded(old[name], len(weight), old[name][:1]))
    return network


def moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> Moments:
    """A copy of the optimizer's state."""
    state = optimizer.state
    return {
        name: {key: value.clone() for key, value in state[parameter].items()}
        for name, parameter in network.named_parameters()
        if parameter in state
    }


def restore(
    network: nn.Module, optimizer: torch.optim.Optimizer, kept: Mapping[str, dict[str, Tensor]]
) -> None:
    """Puts kept state back; rows that are new to a table have none yet."""
    for name, parameter in network.named_parameters():
        if name in kept:
            values = kept[name].items()
            optimizer.state[parameter] = {
                key: value.clone() if value.ndim == 0 else _padded(value, len(parameter), value[:1] * 0)
                for key, value in values
            }


def _padded(old: Tensor, rows: int, fill: Tensor) -> Tensor:
    """(rows, ...) the old rows, then copies of `fill` (1, ...)."""
    return torch.cat([old, fill.expand(rows - len(old), *old.shape[1:])])
