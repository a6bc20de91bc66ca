"""Settings of learned policies: how the home feed draws from what was learned, and how learning goes on beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bandits.bounded import BoundedSlots
from bandits.rules import Greedy, InverseGap, Optimistic, Rule, Thompson
from recsys.rewards import WINDOW_MS
from recsys.slate import SlotPolicy

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
HOUR_MS = 3_600_000


class LearnedSettings(BaseModel):
    """How slots are drawn from learned values; ε is the surface's own `epsilon`. What an experiment's arm can set.

    Attributes:
        rule: see docs/exploration.md; `off` is the champion without anything learned.
        scale: Thompson's posterior width, or UCB's α, in units of the reward's noise. samples: posterior draws.
        gamma: of `inverse_gap` (SquareCB).
        slate_loss: the most that exploring may lose of a slate's expected reward, in the model's estimate; None: no
            bound.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["off", "greedy", "thompson", "ucb", "inverse_gap"] = "off"
    scale: Positive = 0.3
    samples: Annotated[int, Field(ge=256)] = 256
    gamma: Positive = 100_000.0
    slate_loss: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @property
    def on(self) -> bool:
        return self.rule != "off"

    def chosen(self, epsilon: float) -> Rule:
        """The rule over learned values; `epsilon` of every slot is uniform over what is allowed."""
        if self.rule == "thompson":
            return Thompson(self.samples, self.scale, epsilon)
        if self.rule == "ucb":
            return Optimistic(self.scale, epsilon)
        return InverseGap(self.gamma, epsilon) if self.rule == "inverse_gap" else Greedy(epsilon)

    def bounded(self, policy: SlotPolicy, slots: int) -> SlotPolicy:
        """The policy under the bound on a slate of `slots`."""
        return policy if self.slate_loss is None else BoundedSlots(policy, self.slate_loss, slots)

    def name(self, epsilon: float) -> str:
        """What answers say of it."""
        bound = "" if self.slate_loss is None else f"_slate_loss_{self.slate_loss:g}"
        return f"learned_{self.chosen(epsilon).name}{bound}"


class LearningSettings(BaseModel):
    """How the model of one home learns; all arms share what it has learned.

    Attributes:
        l2: prior precision of each weight; how much data it takes to move away from the ranker's order.
        half_life_days: after which an observation counts half; 0 never forgets.
        patience_hours: how late events are waited for after the attribution window (recsys/rewards.py).
        window_hours: of attribution.
        share: of requests that are learned from, by a hash of their id: decisions wait in memory for their rewards.
        memory_days: of the log that a new release's scores are learned over when it is promoted; 0: start anew.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    l2: Positive = 300.0
    half_life_days: Annotated[float, Field(ge=0)] = 0.0
    window_hours: Positive = WINDOW_MS / HOUR_MS
    patience_hours: Annotated[float, Field(ge=0)] = 1.0
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    memory_days: Annotated[float, Field(ge=0)] = 7.0
