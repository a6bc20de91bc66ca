"""The learned home policy: it starts at the champion's order, states exact propensities, replays, and learns from the log."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bandits.linear import LinearModel
from bandits.ope.evaluate import evaluate
from experiments.config import Config
from recsys.errors import BadInput
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.pipeline import Candidates
from recsys.schemas import Surface
from recsys.slate import propensities
from recsys.types import Ask, Context, Decision, Query
from serving.decisions import batch_of, query_of, recorded
from serving.learning.features import DIM, NAMES, UTILITY, features, untaught
from serving.learning.settings import HOUR_MS, LearningSettings
from serving.learning.states import States, Taught, basis
from serving.loaded import LoadedRelease
from serving.loop.policies import Served
from serving.recommender import Recommender, new_request_id
from serving.replay import compare, replay
from serving.service import Service
from serving.settings import ServiceSettings
from experiments.parameters import overlay

RULES = ["greedy", "thompson", "ucb", "inverse_gap"]
NOW = 30 * 24 * HOUR_MS


def arm(**own: object) -> Config:
    given = {f"home.learned.{name}": value for name, value in own.items()}
    return Served({"home.epsilon": 0.1, **given}).experiments


def taught(release: LoadedRelease, observations: int = 400) -> LinearModel:
    """A model that has seen something: rewards that follow the share of finished plays."""
    rng = np.random.default_rng(5)
    x = rng.normal(0.2, 0.3, (observations, DIM))
    model = LinearModel(untaught(basis(release), 3.0, 0.0))
    return model.partial_fit(x, np.zeros(observations, int), 0.5 * x[:, NAMES.index("p_finish")])


@pytest.fixture(scope="module")
def home(tiny_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.of(shutil.copytree(tiny_home.root, tmp_path_factory.mktemp("learned") / "home"))


@pytest.fixture(scope="module")
def release(tiny_service: Service) -> LoadedRelease:
    return tiny_service.release()


def recommender(release: LoadedRelease, model: LinearModel | None, **own: object) -> Recommender:
    given = {f"home.learned.{name}": value for name, value in own.items()}
    made = Recommender(release, overlay(ServiceSettings(), {"home.epsilon": 0.1, **given}))
    return made if model is None else made.after(Taught(model, "a" * 12))


def queries(service: Service, release: LoadedRelease, count: int) -> list[Query]:
    at = release.manifest.until + MS_PER_DAY
    rows = service.listeners(count)
    return [
        Query(f"q{i}", Surface.HOME, at, 7 + i, 10, service.state(row["user_id"]), Context("SE"))
        for i, row in enumerate(rows)
    ]


def test_before_anything_is_learned_the_order_is_the_champions(
    tiny_service: Service, release: LoadedRelease
) -> None:
    model = LinearModel(untaught(basis(release), 30.0, 0.0))
    champion = recommender(release, None, rule="greedy")
    learned = recommender(release, model, rule="greedy")
    for query in queries(tiny_service, release, 4):
        a, b = champion.answer(query), learned.answer(query)
        assert "bandit" not in a.versions
        assert b.versions["bandit"] == "a" * 12
        assert [s["track"] for s in a.slots] == [s["track"] for s in b.slots]
        assert a.policy != b.policy


@pytest.mark.parametrize("rule", RULES)
def test_answers_replay_exactly_alone_and_from_a_batch(
    tiny_service: Service, release: LoadedRelease, rule: str
) -> None:
    rec = recommender(release, taught(release), rule=rule, slate_loss=0.6)
    asked = queries(tiny_service, release, 6)
    batch, result = rec.run(asked)
    for j, query in enumerate(asked):
        alone = rec.answer(query)
        assert alone.rung == "full"
        assert compare(rec, alone)["same"]
        together = result.slates[j].items
        assert [(i.track, i.shelf) for i in together] == [(s["track"], s["shelf"]) for s in alone.slots]
        stated = [s["propensity"] for s in alone.slots]
        np.testing.assert_allclose([i.propensity for i in together], stated, rtol=1e-4)  # the towers sum in float32
        assert all(0 < s["propensity"] <= 1 for s in alone.slots)


@pytest.mark.parametrize("rule", ["thompson", "inverse_gap"])
def test_a_slates_expected_loss_stays_within_its_bound(
    tiny_service: Service, release: LoadedRelease, rule: str
) -> None:
    from serving.learning.spent import spent

    model = taught(release, 40)
    most = []
    for bound in (None, 0.2):
        rec = recommender(release, model, rule=rule, gamma=5.0, scale=2.0, slate_loss=bound)
        selector = rec.pipeline(queries(tiny_service, release, 1)[0]).rungs[0].selector
        losses = [spent(selector, rec.answer(q)) for q in queries(tiny_service, release, 4)]  # type: ignore[arg-type]
        most.append(max(map(sum, losses)))
    assert most[1] <= 0.2 + 1e-9 < most[0]
