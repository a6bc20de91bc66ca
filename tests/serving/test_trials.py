"""Experiments on the request path: files are followed, parameters take effect and replay, exposures are logged."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from experiments.config import parse
from experiments.exposure import exposures
from experiments.source import Source, Sources
from recsys.errors import BadInput
from recsys.events import to_frame
from recsys.home import Home
from recsys.lake import Lake
from recsys.release import MANIFEST, seal, verify
from recsys.types import Context, Decision
from serving.decisions import to_event
from serving.loaded import LoadedRelease
from serving.registry import Registry
from serving.replay import as_of, compare
from serving.service import Service
from serving.trials import folder
from tests.patient import patient

TWO = """
layers:
  - {name: home}
experiments:
  - name: wide
    salt: wide-1
    layer: {name: home}
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, parameters: {home.epsilon: 0.5, home.ranked: 60}}
  - name: calm
    salt: calm-1
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, parameters: {radio.skip_weight: 0.9}}
overrides:
  - {unit: tester0000000000000000, experiment: wide, arm: treatment}
"""


@pytest.fixture
def home(tiny_home: Home, tmp_path: Path) -> Home:
    copy = Home.of(Path(shutil.copytree(tiny_home.root, tmp_path / "home")))
    shutil.rmtree(folder(copy), ignore_errors=True)  # versions that other tests kept
    return copy


@pytest.fixture
def service(home: Home) -> Iterator[Service]:
    (home.root / "experiments").mkdir(exist_ok=True)
    (home.root / "experiments" / "two.yaml").write_text(TWO)
    with Service.open(home, patient(), background=False) as service:
        yield service


def by_arm(service: Service) -> dict[str, str]:
    """One request id of each arm of `wide`."""
    found: dict[str, str] = {}
    for row in service.listeners(40):
        answer = service.home(row["user_id"], 3, Context())
        found[service.decision(answer["request_id"])["arms"]["wide"]] = answer["request_id"]
    return found


def test_parameters_take_effect_are_logged_and_replay_exactly(service: Service, home: Home) -> None:
    ids = by_arm(service)
    assert set(ids) == {"control", "treatment"}
    champion = next(home.releases.glob("v*"))
    for arm, request_id in ids.items():
        decision = service.decision_record(request_id)
        assert decision.parameters == ({"home.epsilon": 0.5, "home.ranked": 60} if arm == "treatment" else {})
        assert ("eps0.5" in decision.policy) == (arm == "treatment")
        again = as_of(home, LoadedRelease.load(champion), decision)
        assert compare(again, decision)["same"]
        if arm == "treatment":
            assert min(s["propensity"] for s in decision.slots) < 0.6


def test_only_what_can_show_on_a_surface_counts_as_exposed(service: Service) -> None:
    user = service.listeners(1)[0]["user_id"]
    asked = [
        service.home(user, 3, Context()),
        service.radio(f"track:{track(service)}", None, user, 3, Context()),
    ]
    decisions = [service.decision_record(answer["request_id"]) for answer in asked]
    assert [decision.exposed for decision in decisions] == [["wide"], ["calm"]]
    assert all(set(decision.arms) == {"wide", "calm"} for decision in decisions)
    rows = as_rows(decisions)
    assert rows["experiment"].to_list() == ["wide", "calm"]
    assert rows["unit"].to_list() == [user, user]
    assert rows["version"].to_list() == [service.status()["experiments"]["version"]] * 2
    assert not rows["overridden"].any()


def test_the_lake_says_cheaply_who_was_exposed_what_targeting_saw_and_how_long_it_took(
    service: Service, home: Home
) -> None:
    user = service.listeners(1)[0]["user_id"]
    (home.root / "experiments" / "two.yaml").write_text(
        f"{TWO}cohorts:\n  - {{name: staff, units: [{user}]}}\n"
    )
    service.refresh()
    service.refresh()
    situation = Context("SE", device="car", tier="premium")
    seen, unseen = (service.home(unit, 3, situation)["request_id"] for unit in (user, None))
    arms = service.decision(seen)["arms"]
    service.close()
    events = Lake(home.lake).scan("events").filter(pl.col("request_id").is_in([seen, unseen]))
    took = dict(events.select("request_id", "took_ms").collect().iter_rows())
    assert 0 < took[seen] < 60_000
    assert 0 < took[unseen] < 60_000
    (row,) = exposures(events).collect().to_dicts()
    assert (row["experiment"], row["arm"], row["unit"]) == ("wide", arms["wide"], user)
    assert (row["country"], row["tier"], row["platform"]) == ("SE", "premium", "car")
    assert row["cohort"] == ["known", "staff"]


def as_rows(decisions: list[Decision]) -> pl.DataFrame:
    return exposures(to_frame([to_event(decision) for decision in decisions]).lazy()).collect()


def track(service: Service) -> str:
    return str(service.release().items.track_id(0))


def test_an_override_is_marked_in_the_decision(service: Service) -> None:
    answer = service.home("tester0000000000000000", 3, Context())
    decision = service.decision_record(answer["request_id"])
    assert decision.arms["wide"] == "treatment"
    assert decision.overridden == ["wide"]
    (row,) = as_rows([decision]).to_dicts()
    assert row["overridden"]


def test_a_bad_file_leaves_the_old_version_running_and_says_why(service: Service, home: Home) -> None:
    path = home.root / "experiments" / "two.yaml"
    before = service.status()["experiments"]
    path.write_text(TWO.replace("home.ranked: 60", "home.rankd: 60"))
    service.refresh()
    service.refresh()
    after = service.status()["experiments"]
    assert after["version"] == before["version"]
    assert "two.yaml line 10" in after["error"]
    assert "home.rankd" in after["error"]
    path.write_text(TWO.replace("home.ranked: 60", "home.ranked: 70"))
    service.refresh()
    service.refresh()
    later = service.status()["experiments"]
    assert later["error"] is None
    assert later["version"] != before["version"]


def test_a_setting_that_no_surface_reads_is_refused(home: Home) -> None:
    (home.root / "experiments").mkdir(exist_ok=True)
    (home.root / "experiments" / "e.yaml").write_text(TWO.replace("radio.skip_weight", "shedding.queue"))
    with pytest.raises(BadInput, match=r"e\.yaml line 15: no arm can set shedding\.queue"):
        Service.open(home, background=False)


def test_a_given_config_with_a_setting_that_no_arm_can_set_is_refused(home: Home) -> None:
    given = parse(Sources((Source.parse(TWO.replace("home.ranked", "home.rankd"), Path("given")),)))
    with pytest.raises(BadInput, match=r"home\.rankd: no such setting"):
        Service.open(home, experiments=given, background=False)


def test_without_experiments_a_request_is_in_none(tiny_home: Home, home: Home) -> None:
    with Service.open(
        home, experiments=parse(Sources((Source.parse("", Path("none")),))), background=False
    ) as service:
        answer = service.home(None, 3, Context())
        decision = service.decision_record(answer["request_id"])
    assert (decision.arms, decision.exposed, decision.parameters) == ({}, [], {})


def test_who_has_no_lasting_id_gets_arms_and_counts_in_no_experiment(service: Service) -> None:
    user = service.listeners(1)[0]["user_id"]
    for answer in (service.home(None, 3, Context()), service.home(user, 3, Context(incognito=True))):
        decision = service.decision_record(answer["request_id"])
        assert set(decision.arms) == {"wide", "calm"}
        assert decision.exposed == []


SESSIONS = """
layers:
  - {name: visits, unit: session}
holdouts:
  - {name: kept-out, salt: kept-out-1, share: 0.5}
experiments:
  - name: visit
    salt: visit-1
    unit: session
    layer: {name: visits}
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, parameters: {home.epsilon: 0.5}}
"""


def test_a_session_keeps_its_arm_over_listeners_and_counts_without_one(service: Service, home: Home) -> None:
    (home.root / "experiments" / "two.yaml").write_text(SESSIONS)
    service.refresh()
    service.refresh()
    users = [row["user_id"] for row in service.listeners(3)]
    decisions: dict[str, list[Decision]] = {}
    for session in [f"session-{i}" for i in range(8)]:
        answers = [service.home(user, 3, Context(session_id=session)) for user in [*users, None]]
        decisions[session] = [service.decision_record(answer["request_id"]) for answer in answers]
    arms = {session: {d.arms["visit"] for d in each} for session, each in decisions.items()}
    assert all(len(found) == 1 for found in arms.values())
    assert {arm for found in arms.values() for arm in found} == {"control", "treatment"}
    rows = as_rows([d for each in decisions.values() for d in each])
    visits = rows.filter(pl.col("experiment") == "visit")
    assert visits.group_by("unit", "unit_kind", "arm").len().sort("unit").rows() == [
        (session, "session", next(iter(found)), 4) for session, found in sorted(arms.items())
    ]
    held = rows.filter(pl.col("experiment") == "kept-out")
    assert set(held["unit"]) == set(users), "who has no lasting id is no unit of a holdout"
    assert set(held["unit_kind"]) == {"listener"}


def test_without_a_session_nobody_is_in_an_experiment_by_session(service: Service, home: Home) -> None:
    (home.root / "experiments" / "two.yaml").write_text(SESSIONS)
    service.refresh()
    service.refresh()
    user = service.listeners(1)[0]["user_id"]
    plain = service.decision_record(service.home(user, 3, Context())["request_id"])
    assert set(plain.arms) == {"kept-out"}
    hidden = Context(session_id="s", incognito=True)
    secret = service.decision_record(service.home(user, 3, hidden)["request_id"])
    assert (secret.exposed, secret.session_id, to_event(secret).session_id) == ([], None, None)


def test_settings_of_an_arm_over_a_release_that_is_gone_leave_memory(service: Service) -> None:
    by_arm(service)
    variants = service._trials._variants
    (kept,) = [weakref.ref(variant) for _, variant in variants._kept.values()]
    service._trials.keep(service._fleet.loaded())
    assert kept() is not None
    service._trials.keep([])
    gc.collect()
    assert kept() is None


def test_a_release_that_an_arm_names_by_version_is_loaded_and_answers(home: Home) -> None:
    twin = Path(shutil.copytree(home.releases / "v1", home.releases / "v2"))
    (twin / MANIFEST).unlink()
    seal(twin, "2", {}, verify(home.releases / "v1").until, {}, {})
    Registry(home).register(twin, None, {})
    place = folder(home)
    place.mkdir()
    arms = "arms: [{name: a, weight: 0.5}, {name: b, weight: 0.5, release: '2'}]"
    running: dict[str, int] = {}

    def load(path: Path) -> LoadedRelease:
        running[path.name] = len(service.status()["experiments"]["running"]) if path.name == "v2" else 0
        return LoadedRelease.load(path)

    with Service.open(home, patient(), background=False, load=load) as service:
        (place / "e.yaml").write_text(f"experiments:\n  - {{name: two, salt: s, {arms}}}\n")
        service.refresh()
        service.refresh()
        assert running == {"v1": 0, "v2": 0}, "the release is there before anybody is sent to it"
        assert service.status()["experiments"]["running"] == ["two"]
        found = set()
        for row in service.listeners(20):
            decision = service.decision_record(service.home(row["user_id"], 3, Context())["request_id"])
            found.add((decision.arms["two"], decision.release.version))
    assert found == {("a", "1"), ("b", "2")}
