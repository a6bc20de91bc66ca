"""The served home under other slot policies: propensities, the bound on a slot's loss, replay."""

import numpy as np
import pytest

from bandits.choice import ExplorationSettings, label, slot_policy
from recsys.items import MS_PER_DAY
from recsys.schemas import Surface
from recsys.slate import break_ties, fill, propensities
from recsys.types import Context, Query
from serving.recommender import Recommender
from serving.replay import compare
from serving.service import Service
from serving.settings import HomeSettings, ServiceSettings
from serving.surfaces import home

CHOICES = [
    ExplorationSettings(rule="softmax", temperature=0.05),
    ExplorationSettings(rule="inverse_gap", gamma=300.0),
    ExplorationSettings(rule="inverse_gap", gamma=20.0, slot_loss=0.01),
    ExplorationSettings(slot_loss=0.002),
]


@pytest.mark.parametrize("chosen", CHOICES, ids=lambda c: label(c, 0.2))
def test_home_states_exact_propensities_keeps_the_bound_and_replays(
    tiny_service: Service, chosen: ExplorationSettings
) -> None:
    release = tiny_service._fleet._by_version["1"].release
    settings = HomeSettings(epsilon=0.2, exploration=chosen)
    rec = Recommender(release, ServiceSettings(home=settings))
    policy = slot_policy(chosen, 0.2)
    select = home.selector(release, settings, "utility", "full")
    state = tiny_service.state(tiny_service.listeners(20)[0]["user_id"])
    for seed in range(3):
        query = Query(
            f"x{seed}", Surface.HOME, release.manifest.until + MS_PER_DAY, seed, 10, state, Context("SE")
        )
        batch, result = rec.run([query])
        slate = result.slates[0]
        assert label(chosen, 0.2) in slate.policy
        own = select.problem(batch, 0, result.candidates.of(0))
        slots = fill(own, policy, seed)
        assert [s.propensity for s in slots] == [item.propensity for item in slate.items]
        stated = propensities(own, policy, seed, [s.row for s in slots])
        assert [float(p[s.row]) for p, s in zip(stated, slots, strict=True)] == [s.propensity for s in slots]
        assert any(s.propensity < 1 for s in slots)
        if chosen.slot_loss is not None:
            first = break_ties(own.utility, own.ids, seed)
            allowed = own.shelves[0].member
            assert first[allowed].max() - stated[0] @ first <= chosen.slot_loss + 1e-9
        assert compare(rec, rec.answer(query))["same"]


def test_the_default_is_plain_epsilon_greedy() -> None:
    assert slot_policy(ExplorationSettings(), 0.05).name == "epsilon_greedy_0.05"
    assert label(ExplorationSettings(), 0.05) == "eps0.05"
    p = slot_policy(CHOICES[3], 0.5).distribution(np.array([1.0, 0.9]), np.ones(2, bool))
    assert p.tolist() == pytest.approx([0.98, 0.02])
