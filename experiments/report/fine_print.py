"""The fine print of a metric: every number that a statistician asks for, with its name."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.report.numbers import amount, chance, count, p_value
from experiments.report.wording import Json, change, ends, lift_ends, loss, plain, spread


def facts(raw: Json) -> Iterable[tuple[str, str]]:
    """Every number that a statistician asks for, with its name."""
    effect, bayes, other = raw["effect"], raw["effect"]["bayes"], raw["effect"]["non_inferiority"]
    yield "method", effect["method"]
    yield "units", f"{count(effect['n_control'])} control, {count(effect['n_treatment'])} {effect['arm']}"
    yield "standard error", plain(spread(effect, effect["se"]))
    yield "df", "normal" if effect["df"] is None else f"{effect['df']:,.1f}"
    yield "one look at the end: difference", ends(effect, effect["interval"])
    yield "the same, adjusted for the family", ends(effect, effect["interval_adjusted"])
    yield "the same, of the lift", plain(lift_ends(effect["lift_interval"]))
    yield (
        "p, one look",
        f"{plain(p_value(effect['p_value']))}; adjusted {plain(p_value(effect['p_adjusted']))}",
    )
    yield (
        "posterior",
        f"mean {plain(change(effect, bayes['mean']))}, sd {plain(spread(effect, bayes['sd']))}, "
        f"credible {ends(effect, bayes['interval'])}",
    )
    yield (
        "expected loss",
        f"{plain(loss(effect, bayes['loss_treatment']))} if {effect['arm']} is chosen, "
        f"{plain(loss(effect, bayes['loss_control']))} if {effect['control']} is kept",
    )
    yield "chance to beat the control", plain(chance(bayes["chance_to_beat"]))
    if other is not None:
        passed = "passed" if other["passed"] else "not passed"
        yield (
            "non-inferiority, one look",
            f"margin {plain(amount(other['margin'], effect['se']))}, "
            f"bound {plain(change(effect, other['bound']))}, p {plain(p_value(other['p_value']))}, {passed}",
        )
    if raw["breach_p"] is not None:
        yield "p of “worse than the margin”, at all looks together", plain(p_value(raw["breach_p"]))
