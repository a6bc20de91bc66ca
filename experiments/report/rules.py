"""From a question to the stopping rule of each of its metrics.

rule_of(question, "primary", margin=False, tests=1, wanted_se=0.01)
"""

from __future__ import annotations

from scipy.stats import norm

from experiments.question import AlwaysValid, Fixed, GroupSequential, Question
from experiments.report.record import Role
from experiments.sequential.rule import StoppingRule, parse

LEAST_UNITS = 100.0
"""Before so many units nothing is tested: everything here rests on large samples."""


def rule_of(
    question: Question, role: Role, *, margin: bool, tests: int, wanted_se: float, breach: bool = False
) -> StoppingRule:
    """The rule that a metric is judged by.

    Primary metrics and guardrails follow the config's rule; with a margin one-sided at half of alpha, so that
    passing is the two-sided interval lying above it. Secondary metrics, which a stop on another metric would bias,
    and breaches of a guardrail, which are looked for every day, are always valid unless the test is read once.

    Args:
        tests: treatments, or treatments times metrics, that share the error.
        wanted_se: the standard error at which the smallest effect worth finding has the planned power: where an
            always-valid interval is tightest.
    """
    alpha = question.alpha / tests / (2 if margin else 1)
    common = {"alpha": alpha, "alternative": "greater" if margin and not breach else "two-sided"}
    if breach:
        common["alternative"] = "less"
    rule = question.stopping
    if breach or isinstance(rule, AlwaysValid) or (role == "secondary" and isinstance(rule, GroupSequential)):
        if isinstance(rule, AlwaysValid) and rule.method == "msprt" and not breach:
            sd = wanted_se * (norm.isf(question.alpha / 2) + norm.ppf(question.power))
            return parse({"kind": "msprt", "mixing_sd": sd, "min_units": LEAST_UNITS, **common})
        tuned = {"best_se": wanted_se}
        if isinstance(rule, AlwaysValid) and rule.tuned_for is not None:
            tuned = {"best_at": float(rule.tuned_for)}
        return parse({"kind": "always_valid", "min_units": LEAST_UNITS, **tuned, **common})
    if isinstance(rule, Fixed):
        return parse({"kind": "fixed", "calendar": True, **common})
    shape = {"spending": rule.spending} | ({} if rule.rho is None else {"parameter": rule.rho})
    return parse({"kind": "group_sequential", "calendar": True, "min_units": LEAST_UNITS, **shape, **common})
