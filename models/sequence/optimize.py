"""The optimiser's side of a training run: AdamW, the rate's course, the weights' moving average.

groups = parameter_groups(network, decay=0.01); optimizer = adamw(groups, rate=1e-3)
update(optimizer, network, loss, rate, clip=1.0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.sequence.team import SOLO, Team, sum_gradients


def adamw(groups: Sequence[dict[str, Any]], rate: float, decay: float = 0.0) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, ICLR 2019) in one fused pass; a group's "factor" multiplies the rate of a step."""
    return torch.optim.AdamW(
        [{"factor": 1.0, **group} for group in groups], rate, weight_decay=decay, fused=True
    )


def parameter_groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Matrices of linear layers decay; tables, biases, norms and positions do not."""
    matrices = {id(layer.weight) for layer in network.modules() if isinstance(layer, nn.Linear)}
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) in matrices], "weight_decay": decay},
        {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
    ]


def cosine(done: float, warm_up: float, last: float) -> float:
    """Factor of the rate after a share `done` of the run: rises over `warm_up`, then falls to `last` by a cosine."""
    rising = min(1.0, (done + 1e-4) / warm_up) if warm_up else 1.0
    return rising * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def update(
    optimizer: torch.optim.Optimizer,
    network: nn.Module,
    loss: Tensor | None,
    rate: float,
    clip: float = 0.0,
    team: Team = SOLO,
) -> None:
    """One step down the gradient of the workers' losses together, clipped to norm `clip` (0: not).

    A worker without a loss of its own takes part; a step in which nobody has one leaves all as it was.
    """
    optimizer.zero_grad(set_to_none=True)
    if loss is not None:
        loss.backward()  # type: ignore[no-untyped-call]
    parameters = list(network.parameters())
    if not sum_gradients(team, parameters):
        return
    if clip:
        torch.nn.utils.clip_grad_norm_(parameters, clip)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    optimizer.step()


@dataclass
class Average:
    """Exponential moving average of a network's weights (Polyak & Juditsky 1992); early steps count less."""

    decay: float
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, network: nn.Module, decay: float) -> Average:
        return cls(decay, {name: value.clone() for name, value in network.state_dict().items()})

    def add(self, network: nn.Module, step: int) -> None:
        """The weights after `step` steps, from 1."""
        share = 1 - min(self.decay, step / (step + 9))
        torch._foreach_lerp_(list(self.weights.values()), list(network.state_dict().values()), share)
