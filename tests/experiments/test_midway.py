"""Mid-experiment power of a rule as it stands: by simulation, and against the closed form of one look left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.sequential.group_rule import GroupSequential
from experiments.sequential.looks import Look
from experiments.sequential.midway import chances, conditional, projected
from experiments.sequential.rule import trail
from recsys.errors import BadInput

RULE = GroupSequential(calendar=True, spending="pocock")
SE = {0.25: 0.2, 0.5: 0.15, 0.75: 0.13, 1.0: 0.12}


def _looks(effects: list[float]) -> list[Look]:
    return [Look(9000, e, se, time=t) for e, (t, se) in zip(effects, SE.items(), strict=False)]


def test_chances_are_those_of_simulated_continuations() -> None:
    """Half-way through four looks: 20,000 ways on with a true effect of .3, against the rule's own bounds."""
    history, ahead = _looks([0.1, 0.25]), _looks([0, 0, 0, 0])[2:]
    found = chances(RULE, history, ahead, effect=0.3)
    high = np.array([v.bound for v in trail(RULE, _looks([0, 0, 0, 0]))][2:], float)
    information = np.array([se**-2 for se in SE.values()])
    steps, rng = np.diff(information)[1:], np.random.default_rng(1)
    moves = 0.3 * steps + rng.normal(size=(20_000, 2)) * np.sqrt(steps)
    z = (0.25 * information[1] + np.cumsum(moves, axis=1)) / np.sqrt(information[2:])
    assert found.planned == pytest.approx((np.abs(z) >= high).any(axis=1).mean(), abs=0.012)


def test_with_one_look_left_it_is_lan_and_wittes_at_the_last_bound() -> None:
    history = _looks([0.1, 0.2, 0.22])
    ahead = _looks([0, 0, 0, 0.0])[3:]
    found = chances(RULE, history, ahead)
    fraction = (0.12 / 0.13) ** 2
    bound = RULE.look([*history, replace(ahead[0], final=True)]).bound
    assert bound is not None
    assert found.trend == pytest.approx(conditional(0.22 / 0.13, fraction, upper=[bound]), abs=1e-9)
    assert found.planned is None
    assert 0 < found.predictive < 1


def test_a_one_sided_rule_looks_in_its_own_direction() -> None:
    less = GroupSequential(calendar=True, alternative="less", null=0.05)
    down, up = (chances(less, _looks([s * 0.2, s * 0.25]), _looks([0, 0, 0, 0])[2:]) for s in (-1, 1))
    assert down.trend > 0.9
    assert up.trend < 0.01


def test_standard_errors_to_come_follow_those_so_far() -> None:
    """Variance a + b / days with a = .01, b = .02 comes back; from one look alone days are independent."""
    times = np.array([0.25, 0.5, 0.75, 1.0])
    history = [Look(9000, 0.1, float(np.sqrt(0.01 + 0.02 / t)), time=float(t)) for t in times]
    ahead = projected(history[:2], [0.75, 1.0])
    assert [k.se for k in ahead] == pytest.approx([k.se for k in history[2:]], rel=1e-9)
    alone = projected(history[:1], [1.0])
    assert alone[0].se == pytest.approx(history[0].se / 2)
    rising = projected([Look(9000, 0.1, 0.1, time=0.25), Look(9000, 0.1, 0.12, time=0.5)], [1.0])
    assert rising[0].se == pytest.approx(0.12)


def test_a_test_that_has_stopped_or_gets_nothing_new_has_no_chances() -> None:
    with pytest.raises(BadInput, match="has stopped"):
        chances(RULE, _looks([0.1, 0.9]), _looks([0, 0, 0])[2:])
    with pytest.raises(BadInput, match="new information"):
        chances(RULE, _looks([0.1, 0.2]), [])
