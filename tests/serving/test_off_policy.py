"""Logged answers of a real home, judged under other slot policies and other utilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests_events import event, play

from bandits.epsilon_greedy import EpsilonGreedy
from bandits.ope.diagnostics import Limits
from bandits.ope.evaluate import evaluate
from recsys.errors import NotReady
from recsys.home import Home
from recsys.ingest import move
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.types import Context, Decision
from serving.off_policy import Change, Reconsidered, reconsider
from serving.service import Service
from serving.settings import HomeSettings, ServiceSettings
from tests.serving.http_crash import copied

SERVED = ServiceSettings(home=HomeSettings(epsilon=0.4))
ANYTHING = Limits(min_effective=0, min_listeners=0)
LISTENERS = 30


@dataclass(frozen=True)
class Served:
    """A home with logs, and the period they are of."""

    home: Home
    since: int
    until: int

    def reconsider(
        self, change: Change, settings: ServiceSettings | None = SERVED, **more: Any
    ) -> Reconsidered:
        return reconsider(self.home, change, since=self.since, until=self.until, settings=settings, **more)


def reactions(decision: Decision, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The first four slots are seen; half of them are played to their end."""
    out = []
    for slot in decision.slots[:4]:
        about = {"request_id": decision.request_id, "surface": decision.surface}
        at = {"position": slot["position"], **about}
        out.append(event("impression", decision.user_id, slot["track_id"], decision.now, **at))
        if rng.random() < 0.5:
            end = decision.now + 200_000
            out.append(play(decision.user_id, slot["track_id"], end, 190_000, "trackdone", **about))
    return out


@pytest.fixture(scope="module")
def served(untouched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """30 listeners asked and reacted; one was shown nothing, one asked after the reward window's begin."""
    home = copied(Home.of(untouched_root), tmp_path_factory.mktemp("off_policy"))
    rng = np.random.default_rng(3)
    with Service.open(home, SERVED, background=False) as service:
        now = service._fleet._by_version["1"].release.manifest.until + MS_PER_DAY
        users = [row["user_id"] for row in service.listeners(LISTENERS)]
        for i, user in enumerate(users):
            page = service.home(user, 2, Context(), now + i * 1000)
            decision = service.decision_record(page["request_id"])
            if i:
                assert not service.ingest(reactions(decision, rng))["refused"]
        late = service.home(users[1], 2, Context(), now + 3 * MS_PER_DAY)
        service.ingest(reactions(service.decision_record(late["request_id"]), rng))
        move(service.log, Lake(home.lake))
    return Served(home, now, now + 3 * MS_PER_DAY + 3_600_000)


@pytest.fixture(scope="module")
def itself(served: Served) -> Reconsidered:
    return served.reconsider(Change("itself"), distributions=True)


def test_the_logging_policy_judged_by_its_own_logs_has_weights_of_exactly_one(itself: Reconsidered) -> None:
    frame = itself.frame
    assert frame["request_id"].n_unique() == LISTENERS - 1
    assert itself.left_out["never shown"] == 1
    assert itself.left_out["reward window still open"] == 1
    assert "not rebuilt exactly" not in itself.left_out
    assert (pl.Series(itself.target.probability) / frame["propensity"]).to_list() == [1.0] * len(frame)
    for level in ("slot", "slate"):
        report = evaluate(frame, itself.target, level=level, limits=ANYTHING)
        by_request = frame.group_by("request_id").agg(pl.col("reward").sum())["reward"]
        mean = frame["reward"].mean() if level == "slot" else by_request.mean()
        assert report.logging == pytest.approx(mean)
        for name in ("ips", "snips") if level == "slot" else ("slate_ips", "reward_interaction_ips"):
            found = report.of(name)
            assert found.value == pytest.approx(mean, abs=1e-12)
            assert found.lift_interval == pytest.approx((0, 0), abs=1e-12)


def test_rewards_are_those_of_the_one_module(itself: Reconsidered) -> None:
    seen = itself.frame.filter(pl.col("slot") < 4)
    assert set(seen["reward"].unique()) == {0.0, 1.0}
    assert itself.frame.filter(pl.col("slot") >= 4)["reward"].sum() == 0


def test_another_policy_gets_the_probabilities_that_it_would_have_had_along_the_slate(served: Served) -> None:
    greedier = served.reconsider(Change("eps0.1", EpsilonGreedy(0.1)), distributions=True)
    frame = greedier.frame.with_columns(
        target=pl.Series(greedier.target.probability), distribution=greedier.target.distribution
    )
    sizes, best = frame["eligible"].list.len().to_numpy(), (frame["propensity"] > 0.5).to_numpy()
    assert best.any()
    assert (~best).any()
    wanted = np.where(best, 0.9 + 0.1 / sizes, 0.1 / sizes)
    assert frame["target"].to_numpy() == pytest.approx(wanted, abs=1e-12)
    assert frame["distribution"].list.sum().to_numpy() == pytest.approx(np.ones(len(frame)), abs=1e-9)
    assert frame["logging"].list.sum().to_numpy() == pytest.approx(np.ones(len(frame)), abs=1e-9)
    report = evaluate(greedier.frame, greedier.target, ["ips", "snips"], level="slot", limits=ANYTHING)
    assert report.of("ips").overlap is not None
    assert 0.5 < report.of("ips").overlap.mean < 1.5


def test_another_utility_is_judged_through_the_same_selector(served: Served, itself: Reconsidered) -> None:
    turned = served.reconsider(Change("worst first", utility=lambda own, name: -own.columns[name]))
    own, other = itself.frame["propensity"].to_numpy(), np.asarray(turned.target.probability)
    sizes = itself.frame["eligible"].list.len().to_numpy()
    first = (itself.frame["slot"].to_numpy() == 0) & (sizes > 2)
    assert (other[first & (own > 0.5)] < 0.5).all()
    assert len(other) == len(own)


def test_settings_that_do_not_rebuild_the_logged_propensities_are_noticed(served: Served) -> None:
    with pytest.raises(NotReady, match="not rebuilt exactly"):
        served.reconsider(Change("itself"), settings=None)  # the service ran with another epsilon


def test_a_surface_without_logs_says_so(served: Served) -> None:
    with pytest.raises(NotReady, match="no logged answer of discovery"):
        served.reconsider(Change("itself"), surface="discovery")
