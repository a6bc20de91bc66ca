"""Logged answers of a real home, judged under other slot policies and other utilities."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result
from tests_events import event, play
from typer.testing import CliRunner

from bandits.epsilon_greedy import EpsilonGreedy
from bandits.ope.diagnostics import Limits
from bandits.ope.evaluate import evaluate
from recsys.errors import BadInput, NotReady
from recsys.home import Home
from recsys.ingest import move
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.types import Context, Decision
from serving.cli.app import app
from serving.off_policy import Change, Reconsidered, reconsider, under
from serving.service import Service
from serving.settings import HomeSettings, ServiceSettings
from tests.serving.http_crash import copied

SERVED = ServiceSettings(home=HomeSettings(epsilon=0.4))
ANYTHING = Limits(min_effective=0, min_listeners=0)
LISTENERS = 40


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
    """Some listeners asked and reacted; one was shown nothing, one asked after the reward window's begin."""
    return asked(copied(Home.of(untouched_root), tmp_path_factory.mktemp("off_policy")), SERVED)


def asked(home: Home, settings: ServiceSettings) -> Served:
    rng = np.random.default_rng(3)
    with Service.open(home, settings, background=False) as service:
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


def test_settings_of_exploration_make_the_policy_that_the_surface_would_have(served: Served) -> None:
    by_name = served.reconsider(under({"home.epsilon": 0.1}))
    by_hand = served.reconsider(Change("eps0.1", EpsilonGreedy(0.1)))
    assert list(by_name.target.probability) == list(by_hand.target.probability)
    softer = served.reconsider(
        under({"home.exploration.rule": "softmax", "home.exploration.temperature": 9.0})
    )
    chances = np.asarray(softer.target.probability)
    assert ((chances > 0) & (chances < 0.2)).mean() > 0.9, "a hot softmax is nearly uniform"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "settings of one surface"),
        ({"home.epsilon": 0.1, "radio.epsilon": 0.1}, "settings of one surface"),
        ({"home.ranked": 300}, "was not recorded"),
        ({"discovery.epsilon": 0.1}, "settings of one surface"),
        ({"home.epsilon": 2}, "home.epsilon"),
        ({"home.exploration.rulez": "softmax"}, "no such setting"),
    ],
)
def test_settings_that_the_record_cannot_answer_for_are_refused(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        under(parameters)


def test_a_reward_model_sees_the_scores_that_were_logged(served: Served) -> None:
    known = served.reconsider(under({"home.epsilon": 0.2}), columns=["utility", "p_skip"])
    features, frame = known.features(), known.frame
    for row in range(0, len(frame), 97):
        eligible, logged = frame["eligible"][row].to_list(), frame["item"][row]
        discount = 1 / np.log2(2 + frame["slot"][row])
        scores = [frame[name][row].to_list()[eligible.index(logged)] for name in ("x:utility", "x:p_skip")]
        wanted = [*scores, discount, *(discount * score for score in scores)]
        assert features(np.array([row]), np.array([logged]))[0] == pytest.approx(wanted)
    report = evaluate(frame, known.target, level="slot", features=features, limits=ANYTHING)
    assert report.of("dr").refused is None
    assert np.isfinite(report.of("dr").value)
    with pytest.raises(BadInput, match="columns="):
        served.reconsider(Change("itself")).features()
    with pytest.raises(BadInput, match="no column p_dance"):
        served.reconsider(Change("itself"), columns=["p_dance"])


@pytest.fixture(scope="module")
def plain(untouched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose service ran with the usual settings."""
    return asked(copied(Home.of(untouched_root), tmp_path_factory.mktemp("plain")), ServiceSettings()).home


def command(home: Home, *words: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["off-policy", *words, "--home", str(home.root)])


def test_the_command_prints_estimates_that_fit_a_narrow_terminal_and_draws_them(
    plain: Home, tmp_path: Path
) -> None:
    words = ["--set", "home.epsilon=0.06", "--column", "utility", "--plots", str(tmp_path / "new")]
    done = command(plain, *words)
    assert done.exit_code == 0, done.output
    assert "home.epsilon=0.06" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"forest.png", "overlap.png"}
    told = json.loads(command(plain, *words, "--json").stdout)
    values = {each["estimator"]: each["value"] for each in told["estimates"]}
    known = reconsider(plain, under({"home.epsilon": 0.06}), columns=["utility"])
    report = evaluate(known.frame, known.target, level="slot", features=known.features())
    assert values["dr"] == pytest.approx(report.of("dr").value)
    assert told["left_out"]["never shown"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what would change"),
        (["--set", "home.epsilon"], "--set looks like"),
        (["--utility", "utility -"], "cannot be read"),
        (["--utility", "utility - p_dance"], "there are"),
        (["--set", "home.epsilon=0.1", "--surface", "discovery"], "no logged answer of discovery"),
    ],
)
def test_the_command_says_in_words_what_it_cannot_answer(plain: Home, words: list[str], message: str) -> None:
    done = command(plain, *words)
    assert done.exit_code
    assert message in str(done.exception)


def test_another_utility_is_an_expression_of_logged_columns(plain: Home) -> None:
    same = json.loads(command(plain, "--utility", "utility * 2 + 1", "--json").stdout)
    assert {e["estimator"]: e["lift"] for e in same["estimates"]}["ips"] == pytest.approx(0, abs=1e-12)
    far = json.loads(command(plain, "--utility", "0 - utility", "--json").stdout)
    assert all(e["refused"] for e in far["estimates"]), "worst first is too far from what was logged"
