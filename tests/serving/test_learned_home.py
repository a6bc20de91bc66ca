"""The learned home policy: begins at the champion's order, exact propensities, replays, learns from the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tests_events import event, play

from bandits.linear import LinearModel
from experiments.parameters import overlay
from recsys.errors import BadInput
from recsys.home import Home
from recsys.ingest import move
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.pipeline import Candidates, Column
from recsys.schemas import Surface
from recsys.simulation.live import LiveSettings
from recsys.types import Context, Decision, Query
from serving.decisions import batch_of, query_of
from serving.learning import learner as learning
from serving.learning.features import DIM, FORM, NAMES, features, untaught
from serving.learning.learner import Learner, slots_of
from serving.learning.settings import HOUR_MS, LearningSettings
from serving.learning.spent import spent
from serving.learning.states import States, Taught, basis
from serving.loaded import LoadedRelease
from serving.loop import run as loop_run
from serving.loop.policies import POLICIES, SETTINGS, Served
from serving.loop.run import LoopSettings, run
from serving.off_policy import Change, reconsider
from serving.parts.selectors import ShelfSelector
from serving.recommender import Recommender
from serving.replay import compare, replay
from serving.service import Service
from serving.settings import ServiceSettings
from tests.serving.http_crash import copied

RULES = ["greedy", "thompson", "ucb", "inverse_gap"]
DAY_LATER = 26 * HOUR_MS


def taught(release: LoadedRelease, observations: int = 400) -> LinearModel:
    """A model that has seen something: rewards that follow the share of finished plays."""
    rng = np.random.default_rng(5)
    x = rng.normal(0.2, 0.3, (observations, DIM))
    model = LinearModel(untaught(basis(release), 3.0, 0.0))
    return model.partial_fit(x, np.zeros(observations, int), 0.5 * x[:, NAMES.index("p_finish")])


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
    result = rec.run(asked)[1]
    for j, query in enumerate(asked):
        alone = rec.answer(query)
        assert alone.rung == "full"
        assert compare(rec, alone)["same"]
        together = result.slates[j].items
        assert [(i.track, i.shelf) for i in together] == [(s["track"], s["shelf"]) for s in alone.slots]
        stated = [s["propensity"] for s in alone.slots]
        np.testing.assert_allclose(
            [i.propensity for i in together], stated, rtol=1e-4
        )  # the towers sum in float32
        assert all(0 < s["propensity"] <= 1 for s in alone.slots)


@pytest.mark.parametrize("rule", ["thompson", "inverse_gap"])
def test_a_slates_expected_loss_stays_within_its_bound(
    tiny_service: Service, release: LoadedRelease, rule: str
) -> None:
    model = taught(release, 40)
    most = []
    for bound in (None, 0.2):
        rec = recommender(release, model, rule=rule, gamma=5.0, scale=2.0, slate_loss=bound)
        selector = rec.pipeline(queries(tiny_service, release, 1)[0]).rungs[0].selector
        asked = queries(tiny_service, release, 4)
        losses = [spent(cast(ShelfSelector, selector), rec.answer(query)) for query in asked]
        most.append(max(map(sum, losses)))
    assert most[1] <= 0.2 + 1e-9 < most[0]


def reactions(decision: Decision) -> list[dict[str, Any]]:
    """The first six slots are seen; every other one is played to its end."""
    out = []
    about = {"request_id": decision.request_id, "surface": decision.surface}
    for i, slot in enumerate(decision.slots[:6]):
        seen = {"position": slot["position"], **about}
        out.append(event("impression", decision.user_id, slot["track_id"], decision.now, **seen))
        if i % 2:
            end = decision.now + 200_000
            out.append(play(decision.user_id, slot["track_id"], end, 190_000, "trackdone", **about))
    return out


def lived(service: Service, now: int, pages: int) -> list[Decision]:
    """Listeners ask, and react."""
    decided = []
    for i, row in enumerate(service.listeners(pages)):
        page = service.home(row["user_id"], 2, Context(country="SE"), now + 1000 * i)
        decided.append(service.decision_record(page["request_id"]))
        assert not service.ingest(reactions(decided[-1]))["refused"]
    return decided


@pytest.fixture(scope="module")
def home(untouched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return copied(Home.of(untouched_root), tmp_path_factory.mktemp("learned"))


@pytest.fixture
def service(home: Home) -> Iterator[Service]:
    given = Served({"home.epsilon": 0.1, "home.learned.rule": "thompson"}).experiments
    with Service.open(home, SETTINGS, given, background=False) as service:
        yield service


def test_a_service_learns_from_its_log_and_every_answer_keeps_its_state(
    service: Service, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, now = service.release(), service.release().manifest.until + MS_PER_DAY
    first = lived(service, now, 3)
    assert all("bandit" not in d.versions for d in first)  # nothing was learned: the champion's own policy
    learner = Learner(home, release)
    service.learned.follow()
    before = lived(service, now + HOUR_MS, 3)
    assert {d.versions["bandit"] for d in before} == {learner.states.current()}
    assert learner.follow(service.log, now + 2 * HOUR_MS).slots == 0  # rewards may still come
    found = learner.follow(service.log, now + HOUR_MS + DAY_LATER)
    assert found.slots == 36  # six seen slots of six pages; the rest says nothing
    service.learned.follow()
    after = lived(service, now + 2 * HOUR_MS, 3)
    assert {d.versions["bandit"] for d in after} == {found.version} != {before[0].versions["bandit"]}
    move(service.log, Lake(home.lake))
    for decision in (first[0], before[0], after[0]):
        assert replay(home, decision.request_id)["same"]
    same = reconsider(home, Change("itself"), since=now, settings=SETTINGS, until=now + 2 * DAY_LATER)
    assert "not rebuilt exactly" not in same.left_out
    np.testing.assert_allclose(np.array(same.target.probability), same.frame["propensity"], rtol=1e-12)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    # A crash before the file is replaced, and one between it and the publication.
    whole = Learner(home, release).follow(service.log, now + 2 * HOUR_MS + DAY_LATER)
    states = States(home)
    for place in ("save", "publish"):
        restored = learner.model.arrays()["weight"]
        again = Learner(home, release)
        assert again.model.arrays()["weight"] >= restored
        with monkeypatch.context() as patch:
            patch.setattr(*((learning, "save") if place == "save" else (States, "publish")), crash)
            with pytest.raises(KeyboardInterrupt):
                again.follow(service.log, now + 2 * HOUR_MS + DAY_LATER)
        assert (
            Learner(home, release).follow(service.log, now + 2 * HOUR_MS + DAY_LATER).version == whole.version
        )
    assert states.current() == whole.version


def test_a_state_that_cannot_be_used_is_refused_in_words_and_the_champion_explores(
    service: Service, home: Home
) -> None:
    states, release = States(home), service.release()
    other = LinearModel(untaught("another release", 30.0, 0.0))
    for break_it, said in (
        (lambda path: None, "another release"),
        (lambda path: path.write_bytes(b"x"), "cannot be read"),
    ):
        version = states.publish(other)
        break_it(states.path(version))
        service.learned._version = ""
        service.learned.follow()
        [decision] = lived(service, release.manifest.until + 20 * MS_PER_DAY, 1)
        assert decision.rung == "full"
        assert "bandit" not in decision.versions
        assert "eps0.1" in decision.policy
        assert said in service.learned.status()["refused"]["1"]
    states.path(version).unlink()
    with pytest.raises(BadInput, match="no bandit state"):
        states.load(version, basis(release))


def test_another_release_learns_the_last_days_of_the_lake_anew(service: Service, home: Home) -> None:
    release = service.release()
    lived(service, release.manifest.until + 40 * MS_PER_DAY, 3)
    lived(service, release.manifest.until + 42 * MS_PER_DAY, 3)
    move(service.log, Lake(home.lake))
    (States(home).folder / "learner.npz").unlink(missing_ok=True)
    learner = Learner(home, release, LearningSettings(memory_days=5))
    found = learner.follow(service.log, release.manifest.until + 42 * MS_PER_DAY + HOUR_MS)
    assert found.slots == 18  # the newest pages still wait for their rewards
    assert learner.states.load(found.version, basis(release)).model.settings.basis.endswith(f"/{FORM}")


def test_tracks_that_came_after_the_release_was_built_are_passed_over(service: Service, home: Home) -> None:
    release = service.release()
    [decision] = lived(service, release.manifest.until + 50 * MS_PER_DAY, 1)
    learner, beyond = Learner(home, release), len(release.items) + 3
    own, batch = slots_of(decision), batch_of(decision, query_of(decision))
    plays = replace(batch.histories, track=batch.histories.track + np.int32(beyond))
    more = Candidates(np.append(own.ids, beyond), np.array([0, len(own) + 1]), _longer(own))
    kept, narrowed = learner._numbered(more, replace(batch, histories=plays))
    assert kept.ids.tolist() == own.ids.tolist()
    assert (narrowed.histories.track == -1).all()
    assert np.isfinite(features(narrowed, kept, release)).all()
    assert learner._numbered(own, batch)[0] is own


def _longer(own: Candidates) -> dict[str, Column]:
    return {name: np.concatenate([column, column[-1:]]) for name, column in own.columns.items()}


@pytest.mark.slow
def test_a_killed_loop_that_learns_goes_on_and_ends_as_if_nothing_had_been(
    tiny_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = LoopSettings(days=3, listeners=60, profile="tiny", live=LiveSettings(measured=20))
    whole = run(tiny_home, "learned", few, tmp_path / "whole")
    real, done = loop_run.live_day, []

    def dies(*args: object) -> object:
        done.append(real(*args))  # type: ignore[arg-type]
        if len(done) == 3:
            raise KeyboardInterrupt  # the day has been served, heard and learned, and nothing of it is kept
        return done[-1]

    monkeypatch.setattr(loop_run, "live_day", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_home, "learned", few, tmp_path / "cut")
    monkeypatch.undo()
    again = run(tiny_home, "learned", few, tmp_path / "cut")
    assert again["days"] == whole["days"]
    assert again["explored"] == whole["explored"]
    assert (
        States(Home.of(tmp_path / "cut/home")).current() == States(Home.of(tmp_path / "whole/home")).current()
    )
    assert all(day["exceeded"] == 0 and day["pages"] for day in whole["explored"])
    assert POLICIES["learned"].parameters["home.learned.slate_loss"] == whole["explored"][0]["bound"]  # type: ignore[union-attr]
