"""How many units a question needs, and how long that takes: the normal approximation for two arms of one look.

needed(question, Baseline(mean=1.2, sd=3.0), treated=0.5).units

Source: two-sample z-test of means, e.g. Chow, Shao, Wang & Lokhnygina, Sample Size Calculations in Clinical Research,
3rd ed., 3.2 (equality) and 3.2.2 (non-inferiority), with unequal shares of units.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from experiments.experiment import Experiment
from experiments.question import Baseline, Question
from recsys.errors import BadInput


@dataclass(frozen=True)
class Need:
    """Units that a question needs.

    Attributes:
        effect: the difference in means that is to be found, as it is.
        units: in control and the smallest treatment arm together.
        whole: in all arms.
    """

    effect: float
    units: int
    whole: int


def needed(question: Question, baseline: Baseline, shares: tuple[float, float], arms: float = 1.0) -> Need:
    """Units that find the smallest effect worth finding, at the question's risks, with one look.

    Args:
        shares: of the experiment's units in control and in the smallest treatment arm.
        arms: comparisons with control; the risk is divided among them (Bonferroni: never too few units).

    Raises:
        BadInput: an effect relative to a mean of zero.
    """
    unit = abs(baseline.mean) if question.scale == "relative" else 1.0
    size = question.margin if question.margin is not None else question.mde
    if unit == 0:
        raise BadInput("an effect relative to a mean of zero: give mde with `scale: absolute`")
    sides = 1 if question.margin is not None else 2
    normal = NormalDist()
    z = normal.inv_cdf(1 - question.alpha / arms / sides) + normal.inv_cdf(question.power)
    control, treated = (share / sum(shares) for share in shares)
    effect = size * unit
    units = (z * baseline.sd / effect) ** 2 * (1 / control + 1 / treated)
    return Need(effect, -int(-units // 1), -int(-units / sum(shares) // 1))


def plan(experiment: Experiment, baseline: Baseline) -> Need:
    """What an experiment's question needs, its arms as they are.

    Raises:
        BadInput: a flag; or a treatment arm without units.
    """
    if experiment.question is None:
        raise BadInput(f"{experiment.name} is a flag: it asks nothing")
    weights = {arm.name: arm.weight for arm in experiment.arms}
    control = weights.pop(experiment.control)
    if not control or not min(weights.values()):
        raise BadInput(f"{experiment.name} has an arm of weight 0: nothing can be compared with it")
    return needed(experiment.question, baseline, (control, min(weights.values())), len(weights))
