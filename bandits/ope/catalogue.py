"""Every estimator by name: what it needs of the data, what it assumes, and how its terms come from checked rows.

Names of decisions of one draw: dm, ips, snips, dr, switch_dr, dr_shrunk, mips. Names of whole slates: slate_ips,
slate_snips, independent_ips, reward_interaction_ips, cascade_dr, pseudo_inverse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bandits.ope import single, slates, tuning
from bandits.ope.cascade_model import cascade_fit
from bandits.ope.frame import Logged
from bandits.ope.lists import Lists
from bandits.ope.reward_model import Features, Fitted, Model, Ridge, cross_fit
from bandits.ope.terms import F64, I64, Terms


class Unavailable(Exception):
    """The data lack what an estimator needs; the message says what."""


@dataclass
class Data:
    """n decisions (slots one by one, or slates) with what estimators share; the reward model is fitted once."""

    rows: Logged
    decision: I64  # (rows,) the decision of each row
    listener: I64  # (n,)
    features: Features | None = None
    model: Callable[[], Model] = Ridge
    folds: int = 5
    seed: int = 0
    parameters: dict[str, float] = field(default_factory=dict)  # chosen ones, by estimator
    _fitted: Fitted | None = None
    _terms: dict[str, Terms] = field(default_factory=dict)

    def terms(self, name: str) -> Terms:
        """Of an estimator, computed once.

        Raises:
            Unavailable: the data lack what it needs.
        """
        if name not in self._terms:
            self._terms[name] = ESTIMATORS[name].terms(self)
        return self._terms[name]

    @property
    def fitted(self) -> Fitted:
        """The reward model's predictions, fitted when first asked for."""
        if self._fitted is None:
            features, eligible, target = modelled(self)
            rows = self.rows
            self._fitted = cross_fit(
                features,
                rows.item,
                rows.reward,
                self.listener,
                eligible,
                target,
                self.model,
                self.folds,
                self.seed,
            )
        return self._fitted

    def by_slate(self, values: F64, fill: float) -> F64:
        return slates.padded(Lists(values, self.rows.first), fill)


@dataclass(frozen=True)
class Estimator:
    """One entry: how to estimate, and what has to hold for the estimate to be right."""

    terms: Callable[[Data], Terms]
    assumes: str
    slates: bool = False
    by_items: bool = (
        True  # rests on the ratio of the items' own probabilities: support is checked item by item
    )
    against: tuple[str, ...] = ()  # estimators of fewer assumptions: it is tested against the first there is
    model_error: bool = False  # the model's own error reaches the estimate; only a linear model states it


def modelled(data: Data) -> tuple[Features, Lists, Lists]:
    """What a reward model is fitted from.

    Raises:
        Unavailable: the eligible sets, the target's distributions or features were not given.
    """
    rows = data.rows
    if rows.eligible is None or rows.distribution is None:
        raise Unavailable("needs the eligible items and the target's whole distribution")
    if data.features is None:
        raise Unavailable("needs `features` for a reward model")
    return data.features, rows.eligible, rows.distribution


def _dm(data: Data) -> Terms:
    ratio, q = data.rows.ratio, data.fitted
    return single.dm(ratio, q.q_target).plus(q.correction(np.zeros(len(ratio))))


def _dr(data: Data) -> Terms:
    return single.dr(data.rows.ratio, data.rows.reward, data.fitted.q_logged, data.fitted.q_target)


def _switch(data: Data) -> Terms:
    rows, q = data.rows, data.fitted
    cut = tuning.threshold(rows.ratio, rows.reward, q, data.listener)
    data.parameters["switch_dr"] = cut
    terms = single.switch_dr(rows.ratio, rows.reward, q.q_logged, q.q_target, cut)
    return terms.plus(q.correction(single.switched(rows.ratio, cut)))


def _shrunk(data: Data) -> Terms:
    rows, q = data.rows, data.fitted
    cut = tuning.shrinkage(rows.ratio, rows.reward, q, data.listener)
    data.parameters["dr_shrunk"] = cut
    terms = single.dr_shrunk(rows.ratio, rows.reward, q.q_logged, q.q_target, cut)
    return terms.plus(q.correction(single.shrunk(rows.ratio, cut)))


def _mips(data: Data) -> Terms:
    rows = data.rows
    if rows.likelihood is None or rows.distribution is None or rows.logging is None:
        raise Unavailable("needs both whole distributions and the likelihood of the logged embedding")
    return single.mips(rows.distribution, rows.logging, rows.likelihood, rows.reward)


def _slate_parts(data: Data) -> tuple[F64, F64]:
    return data.by_slate(data.rows.ratio, 1.0), data.by_slate(data.rows.reward, 0.0)


def _independent(data: Data) -> Terms:
    if data.rows.marginal is None:
        raise Unavailable("needs both policies' marginal probabilities of the item at the slot")
    target, logging = data.rows.marginal
    real = slates.present(Lists(target, data.rows.first))
    return slates.independent_ips(data.by_slate(target / logging, 1.0), _slate_parts(data)[1], real)


def _interaction(data: Data) -> Terms:
    real = slates.present(Lists(data.rows.ratio, data.rows.first))
    return slates.reward_interaction_ips(*_slate_parts(data), real)


def _cascade(data: Data) -> Terms:
    features, eligible, target = modelled(data)
    q_logged, q_target = cascade_fit(data.rows, features, eligible, target, data.model, data.folds, data.seed)
    real = slates.present(Lists(q_logged, data.rows.first))
    return slates.cascade_dr(
        *_slate_parts(data), data.by_slate(q_logged, 0.0), data.by_slate(q_target, 0.0), real
    )


def _pseudo_inverse(data: Data) -> Terms:
    if data.rows.additive is None:
        raise Unavailable("needs the pseudo-inverse weight of each slate (bandits.ope.slate_law)")
    return slates.pseudo_inverse(data.rows.additive[data.rows.first[:-1]], _slate_parts(data)[1])


_SUPPORT = "exact propensities, and support: the logging policy may do all that the target does"
_CASCADE = f"{_SUPPORT}; a slot's reward depends on it and on the slots above"
ESTIMATORS: dict[str, Estimator] = {
    "dm": Estimator(
        _dm,
        "the reward model is right, also where the logging policy hardly looked",
        against=("dr",),
        model_error=True,
    ),
    "ips": Estimator(lambda d: single.ips(d.rows.ratio, d.rows.reward), _SUPPORT),
    "snips": Estimator(lambda d: single.snips(d.rows.ratio, d.rows.reward), f"{_SUPPORT}; many decisions"),
    "dr": Estimator(_dr, f"{_SUPPORT}; or a right reward model"),
    "switch_dr": Estimator(
        _switch,
        f"{_SUPPORT}; a model nearly right where weights are above the threshold",
        against=("dr",),
        model_error=True,
    ),
    "dr_shrunk": Estimator(
        _shrunk,
        f"{_SUPPORT}; a model nearly right where weights are large",
        against=("dr",),
        model_error=True,
    ),
    "mips": Estimator(
        _mips,
        "exact propensities; rewards depend on the item through its embedding alone; the logging policy shows every "
        "embedding that the target shows",
        against=("dr", "snips"),
        by_items=False,
    ),
    "slate_ips": Estimator(lambda d: slates.slate_ips(*_slate_parts(d)), _SUPPORT, slates=True),
    "slate_snips": Estimator(
        lambda d: slates.slate_snips(*_slate_parts(d)), f"{_SUPPORT}; many slates", slates=True
    ),
    "independent_ips": Estimator(
        _independent,
        f"{_SUPPORT}; a slot's reward depends on its own item alone",
        against=("slate_snips",),
        slates=True,
    ),
    "reward_interaction_ips": Estimator(_interaction, _CASCADE, against=("slate_snips",), slates=True),
    "cascade_dr": Estimator(_cascade, _CASCADE, against=("slate_snips",), slates=True),
    "pseudo_inverse": Estimator(
        _pseudo_inverse,
        "exact propensities; the slate's reward is a sum over (slot, item); every item of the target at a slot is "
        "shown there by the logging policy",
        against=("slate_snips",),
        slates=True,
        by_items=False,
    ),
}


def names(whole_slates: bool) -> list[str]:
    return [name for name, e in ESTIMATORS.items() if e.slates == whole_slates]


def by_slot(rows: Logged) -> Data:
    """Every slot a decision, its context including what the logging policy placed before it."""
    return Data(rows, np.arange(len(rows.reward)), rows.listener)


def by_slate(rows: Logged) -> Data:
    """Every request a decision."""
    return Data(
        rows, np.repeat(np.arange(len(rows.first) - 1), np.diff(rows.first)), rows.listener[rows.first[:-1]]
    )
