"""The workers of one training run: each computes its own listeners' share of a step, and sums join the shares.

SOLO is a run in this process alone. `ProcessTeam()` sums over the processes of torch.distributed (gloo on CPUs, NCCL on
GPUs) that whoever started them has joined: Ray Train does, see serving/ray_training.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.plays import I64


class Team(Protocol):
    """Every worker calls the same methods in the same order."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def sum(self, values: Tensor) -> Tensor:
        """The sum over workers of a tensor that has one shape and type in all of them; the same in each."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value, by rank; pickled, so for what is small or rare."""
        ...


class Solo:
    """One worker: nothing to join."""

    rank, size = 0, 1

    def sum(self, values: Tensor) -> Tensor:
        return values

    def gather(self, value: Any) -> list[Any]:
        return [value]


SOLO = Solo()


class ProcessTeam:
    """The processes of torch.distributed's default group."""

    def __init__(self) -> None:
        self.rank, self.size = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def sum(self, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    def gather(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, value)
        return found


def sum_counts(team: Team, counts: NDArray[np.integer]) -> I64:
    """Counts of the whole log from those of each worker's part; the same shape."""
    if team.size == 1:
        return counts.astype(np.int64)
    total: I64 = team.sum(torch.from_numpy(counts.astype(np.int64))).numpy()
    return total


def sum_gradients(team: Team, parameters: Sequence[nn.Parameter]) -> bool:
    """Every parameter's gradient becomes its sum over workers, in one message; whether any worker has one.

    A worker without a gradient adds zeros; a parameter that no worker moves stays without.
    """
    given = [parameter.grad is not None for parameter in parameters]
    if team.size == 1:
        return any(given)
    many = team.sum(torch.tensor(given, dtype=torch.float32)).tolist()
    moved = [parameter for parameter, workers in zip(parameters, many, strict=True) if workers]
    own = [p.grad if p.grad is not None else torch.zeros_like(p) for p in moved]
    if not own:
        return False
    total = team.sum(torch.cat([gradient.flatten() for gradient in own]))
    for parameter, part in zip(moved, torch.split(total, [g.numel() for g in own]), strict=True):
        parameter.grad = part.view_as(parameter)
    return True


def same_start(team: Team, network: nn.Module) -> None:
    """Every worker takes the first one's weights and buffers."""
    if team.size == 1:
        return
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(team.sum(value if team.rank == 0 else torch.zeros_like(value)))


def quantile(team: Team, values: I64, share: float) -> float:
    """np.quantile of all workers' values (linear between neighbours), none of which leaves its worker.

    The two order statistics it needs are found by bisection over counts: 64 sums of one number each at most.

    Raises:
        ValueError: no worker has a value.
    """
    if team.size == 1:
        return float(np.quantile(values, share))
    ordered = np.sort(values)
    total = int(sum_counts(team, np.array([len(values)]))[0])
    if not total:
        raise ValueError("no values, so no quantile")
    place = share * (total - 1)
    below = int(np.floor(place))
    lower = _order_statistic(team, ordered, below)
    upper = _order_statistic(team, ordered, min(below + 1, total - 1))
    return lower + (place - below) * (upper - lower)


def _order_statistic(team: Team, ordered: I64, number: int) -> int:
    """The value with `number` others before it in sorted order: the least v with more than `number` values <= v."""
    low, high = -(2**62), 2**62
    while low < high:
        middle = (low + high) // 2
        within = int(sum_counts(team, np.array([np.searchsorted(ordered, middle, side="right")]))[0])
        low, high = (low, middle) if within > number else (middle + 1, high)
    return low
