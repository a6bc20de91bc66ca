"""Which slot policy a surface draws from, as settings: what an experiment's arm can choose.

policy = slot_policy(ExplorationSettings(rule="inverse_gap", gamma=200, slot_loss=0.02), epsilon=0.01)
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bandits.bounded import BoundedSlots
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.rules import InverseGap
from bandits.slots import RuleSlots
from bandits.softmax import Softmax
from recsys.slate import SlotPolicy

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ExplorationSettings(BaseModel):
    """How slots are drawn from utilities; the units are those of the surface's score.

    Attributes:
        temperature: of `softmax`. gamma: of `inverse_gap`; the larger, the greedier.
        slot_loss: the most that exploring may lose of expected utility in a slot; None: no bound.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["epsilon_greedy", "softmax", "inverse_gap"] = "epsilon_greedy"
    temperature: Positive = 0.1
    gamma: Positive = 100.0
    slot_loss: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


def slot_policy(settings: ExplorationSettings, epsilon: float) -> SlotPolicy:
    """The policy that the settings name; `epsilon` of every slot's probability is uniform over what is allowed."""
    chosen: SlotPolicy = EpsilonGreedy(epsilon)
    if settings.rule == "softmax":
        chosen = Softmax(settings.temperature, epsilon)
    elif settings.rule == "inverse_gap":
        chosen = RuleSlots(InverseGap(settings.gamma, epsilon))
    return chosen if settings.slot_loss is None else BoundedSlots(chosen, settings.slot_loss, slots=1)


def label(settings: ExplorationSettings, epsilon: float) -> str:
    """What answers say of it: `eps0.05` for plain ε-greedy, else the policy's name."""
    plain = settings.rule == "epsilon_greedy" and settings.slot_loss is None
    return f"eps{epsilon:g}" if plain else slot_policy(settings, epsilon).name
