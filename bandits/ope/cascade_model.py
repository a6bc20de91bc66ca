"""The reward model of cascade-DR: the value of an item at a slot and of all that the target would place below it.

Backwards from the last slot: the regression at slot k learns its reward and the model's mean, under the target policy,
at slot k + 1 (Kiyohara et al. 2022; fitted Q evaluation). One model a slot, cross-fitted by listener.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bandits.ope.frame import Logged
from bandits.ope.lists import Lists
from bandits.ope.reward_model import Features, Model, folds_of
from bandits.ope.terms import F64


def cascade_fit(
    rows: Logged,
    features: Features,
    eligible: Lists,
    target: Lists,
    model: Callable[[], Model],
    folds: int,
    seed: int,
) -> tuple[F64, F64]:
    """Out-of-fold (q_logged, q_target), each (rows,).

    Args:
        features: of (row, item) pairs; a row is a slot of a request, so they may tell of the slots above.
    """
    fold = folds_of(rows.listener, folds, seed)
    place = np.arange(len(rows.reward)) - np.repeat(rows.first[:-1], np.diff(rows.first))
    q_logged, q_target = np.zeros((2, len(rows.reward)))
    for k in range(folds):
        to_come = np.zeros(len(rows.reward) + 1)  # of the row: the model's mean at the next slot of its slate
        for slot in reversed(range(rows.slots)):
            at = np.flatnonzero(place == slot)
            rest = at[fold[at] != k]
            fitted = model()
            fitted.fit(features(rest, rows.item[rest]), rows.reward[rest] + to_come[rest])
            offered, probability = eligible.take(at), target.take(at)
            pairs = fitted.predict(features(at[offered.owner], offered.values))
            mean = probability.times(Lists(pairs, offered.offsets)).sums()
            held = fold[at] == k
            q_target[at[held]] = mean[held]
            q_logged[at[held]] = fitted.predict(features(at[held], rows.item[at[held]]))
            above = at[place[at] > 0] - 1
            to_come[above] = mean[place[at] > 0]
    return q_logged, q_target
