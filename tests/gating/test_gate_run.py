"""Runs of the gate on a tiny home: every stage, a kill in the middle, what is rolled back and what is promoted."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from experiments.report.build import build
from recsys.engines import open_log
from recsys.errors import BadInput, UnknownId
from recsys.home import Home
from recsys.ingest import move
from recsys.lake import Lake
from recsys.release import read_manifest
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import LiveSettings, LiveWorld, days
from serving import gate, shadow
from serving.experiment_report import config_of
from serving.gating.record import State
from serving.gating.report import html, text, verdict
from serving.gating.settings import GateSettings
from serving.gating.trial import Plan, experiment_file
from serving.gating.units import units_of
from serving.loop.place import made, profile_of, start_day
from serving.loop.policies import SETTINGS
from serving.loop.service_policy import ServicePolicy
from serving.registry import CHAMPION, Registry, derived
from serving.service import Service

DAY = 86_400_000
QUICK: dict[str, Any] = {
    "smoke": {"queries": 4, "slower": 1000},
    "offline": {"queries": 60, "least": 20},
    "off_policy": None,
    "shadow": None,
}
LIVE: dict[str, Any] = {
    "smoke": None,
    "offline": None,
    "off_policy": None,
    "shadow": None,
    "canary": {"share": 0.5, "wide_share": 0.5, "days": 1, "most_days": 8, "least_units": 40},
}


def released(home: Home, change: Callable[[Path], None] = lambda _: None) -> str:
    """Registers the champion again, with its files changed."""
    return derived(home, Registry(home).get(CHAMPION), change).version


def flipped(folder: Path) -> None:
    """Ranks the worst first; and says nothing of how its scores used to be, as a retrained release does."""
    path = folder / "ranking" / "ranker.json"
    record = json.loads(path.read_text())
    record["config"]["weights"] = {name: -w for name, w in record["config"]["weights"].items()}
    path.write_text(json.dumps(record))
    path = folder / "reference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "scores": {}}))


def morning(home: Home) -> int:
    return read_manifest(Registry(home).get(CHAMPION).folder).until + 5 * DAY


@pytest.fixture
def home(untouched_root: Path, tmp_path: Path) -> Home:
    return Home.of(shutil.copytree(untouched_root, tmp_path / "home"))


def begun(home: Home, version: str, **settings: Any) -> State:
    return gate.begin(home, version, GateSettings.model_validate({**QUICK, **settings}), morning(home))


def test_a_damaged_release_does_not_pass_the_smoke_stage(home: Home) -> None:
    version = released(home)
    begun(home, version)
    with (Registry(home).folder(version) / "light" / "light.json").open("a") as file:
        file.write(" ")
    state = gate.step(home, f"release-{version}", morning(home))
    assert (state.status, state.rule) == ("stopped", "smoke.loads")
    assert "digest" in state.sentence
    assert Registry(home).get(CHAMPION).version == state.champion


@pytest.mark.slow
def test_a_ranker_turned_round_is_stopped_by_held_out_sessions_and_the_report_says_so(home: Home) -> None:
    version = released(home, flipped)
    state = begun(home, version)
    found = gate.step(home, state.name, morning(home))
    assert (found.status, found.rule) == ("stopped", "offline.ndcg")
    numbers = found.stages[-1].checks[0].numbers
    assert numbers["high"] < 0
    assert numbers["challenger"] < 0.5 * numbers["champion"]
    assert "offline.ndcg" in verdict(found)
    assert "offline.ndcg" in text(found)
    assert "offline.ndcg" in html(found)
    assert gate.step(home, state.name, morning(home) + DAY) == found  # it has ended, and stays as it is


def test_the_champion_s_twin_goes_on_to_the_canary_after_a_kill_and_is_rolled_back_by_hand(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = released(home)
    state = begun(home, version)
    real = gate.trial.write

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate.trial, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        gate.step(home, state.name, morning(home))
    kept = gate.read(home, state.name)
    assert (kept.stage, kept.status) == ("canary", "running")
    assert [s.name for s in kept.stages] == ["smoke", "offline"]
    monkeypatch.setattr(gate.trial, "write", real)
    found = gate.step(home, state.name, morning(home) + 60_000)
    assert found.stages[:2] == kept.stages  # nothing is done twice
    assert found.plan["start"] == kept.plan["start"] == morning(home)
    plan = Plan(**found.plan)
    assert experiment_file(home, plan).exists()
    with pytest.raises(BadInput, match="under way"):
        gate.begin(home, version, GateSettings(), morning(home), "another")
    ended = gate.stop(home, state.name, morning(home) + DAY)
    assert ended.status == "stopped"
    assert config_of(home).experiments[0].stopped is not None
    assert Registry(home).get(CHAMPION).version != version


def test_a_kill_between_verdict_and_deed_is_made_good(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    version = released(home)
    state = begun(home, version, smoke=None, offline=None)
    gate.step(home, state.name, morning(home))
    real = gate._settle
    monkeypatch.setattr(gate, "_settle", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        gate.stop(home, state.name, morning(home) + DAY)
    assert config_of(home).experiments[0].stopped is None
    assert "not yet carried out" in verdict(gate.read(home, state.name))
    with pytest.raises(BadInput, match="under way"):
        begun(home, version, smoke=None, offline=None)
    monkeypatch.setattr(gate, "_settle", real)
    assert gate.stop(home, state.name, morning(home) + DAY).ended is not None
    assert config_of(home).experiments[0].stopped is not None


def test_another_champion_under_way_ends_the_comparison(home: Home) -> None:
    version, other = released(home), released(home)
    state = begun(home, version, smoke=None, offline=None)
    gate.step(home, state.name, morning(home))
    Registry(home).promote(other)
    found = gate.step(home, state.name, morning(home) + DAY)
    assert (found.status, found.rule) == ("stopped", "gate.champion_moved")


def test_what_cannot_be_begun_says_why(home: Home) -> None:
    with pytest.raises(BadInput, match="champion already"):
        gate.begin(home, CHAMPION, GateSettings(), 0)
    with pytest.raises(UnknownId, match="release list"):
        gate.begin(home, "17", GateSettings(), 0)
    with pytest.raises(UnknownId, match="there is none"):
        gate.step(home, "nothing", 0)
    version = released(home)
    for name in ("shadow.json", "x" * 60, "../up", ""):
        with pytest.raises(BadInput, match="a run's name"):
            gate.begin(home, version, GateSettings(), 0, name or " ")


def test_a_stop_by_hand_waits_for_the_step_under_way_and_stands(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = released(home)
    state = begun(home, version, smoke=None, offline=None)
    gate.step(home, state.name, morning(home))
    real, by_hand = (
        gate._look,
        threading.Thread(target=gate.stop, args=(home, state.name, morning(home) + DAY)),
    )

    def looks(*args: Any) -> Any:
        by_hand.start()
        by_hand.join(0.5)  # it would have ended by now if it did not wait
        return real(*args)

    monkeypatch.setattr(gate, "_look", looks)
    gate.step(home, state.name, morning(home) + DAY)
    by_hand.join()
    assert gate.read(home, state.name).status == "stopped"
    assert config_of(home).experiments[0].stopped is not None


def test_the_command_starts_steps_tells_and_stops(home: Home, tmp_path: Path) -> None:
    from serving.cli.app import app

    version, now = released(home), str(morning(home))
    file = tmp_path / "gate.yaml"
    file.write_text("smoke: null\noffline: null\noff_policy: null\nshadow: {answers: 5}\n")

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["release", "gate", *words, "--home", str(home.root)])
        assert done.exit_code == 0, done.output
        return done.output

    assert "shadow" in said("start", version, "--settings", str(file), "--now", now)
    assert orjson.loads(shadow.target_file(home).read_bytes()) == {"release": version, "share": 0.1}
    assert "0 of 5 shadow answers" in said("step", "--now", now)
    assert orjson.loads(said("status", "--json"))["stage"] == "shadow"
    assert "report.html" in said("report")
    assert "stopped by a person" in said("stop", "--now", now)
    assert not shadow.target_file(home).exists()
    file.write_text("canry: {}")
    bad = CliRunner().invoke(
        app, ["release", "gate", "start", version, "--settings", str(file), "--home", str(home.root)]
    )
    assert isinstance(bad.exception, BadInput) or "canry" in bad.output


def live(
    source: Home, at: Path, change: Callable[[Path], None], settings: dict[str, Any], most: int
) -> State:
    """Lives a canary on reacting listeners, one step a morning, until it has ended."""
    profile = profile_of(source)
    day = start_day(source, profile)
    world = LiveWorld.at(profile, Catalog.load(source.world / "catalog.npz"), day)
    home = made(source, at, day, profile)
    version = released(home, change)
    now = world.epoch_ms + day * DAY
    state = gate.begin(home, version, GateSettings.model_validate(settings), now)
    gate.step(home, state.name, now, SETTINGS)
    for number in range(1, most + 1):
        with Service.open(home, SETTINGS, background=False) as service:
            list(days(world, ServicePolicy(service, world.track_ids), LiveSettings(measured=0), 1))
        shutil.rmtree(home.log)
        state = gate.step(home, state.name, now + number * DAY, SETTINGS)
        if state.status != "running":
            break
    return state


@pytest.mark.slow
def test_a_canary_that_harms_is_rolled_back_without_a_person(untouched_root: Path, tmp_path: Path) -> None:
    state = live(Home.of(untouched_root), tmp_path / "home", flipped, LIVE, 6)
    home = Home.of(tmp_path / "home")
    assert (state.status, state.rule) == ("stopped", "canary.guard.reward")
    assert Registry(home).get(CHAMPION).version == state.champion
    assert config_of(home).experiments[0].stopped is not None
    assert "<img" in html(state)


@pytest.mark.slow
def test_a_twin_is_promoted_where_not_worse_is_the_goal_and_its_numbers_are_those_of_the_report(
    untouched_root: Path, tmp_path: Path
) -> None:
    chosen = {**LIVE, "goal": "not_worse", "margin": 0.9}
    chosen["shadow"] = {"share": 1.0, "answers": 30, "slower": 100}
    state = live(Home.of(untouched_root), tmp_path / "home", lambda _: None, chosen, 9)
    home = Home.of(tmp_path / "home")
    assert state.status == "promoted", text(state)
    assert Registry(home).get(CHAMPION).version == state.challenger
    overlap = next(c for s in state.stages for c in s.checks if c.rule == "shadow.overlap")
    assert (
        overlap.numbers["overlap"] > 0.95
    )  # a twin answers the same, but where draws meet other arms' settings
    log = open_log(home)
    move(log, Lake(home.lake))
    log.close()
    plan = Plan(**state.plan)
    events, ended = Lake(home.lake).scan("events"), state.ended or 0
    report = build(config_of(home), plan.experiment, events, plan_end(plan, ended))
    told = next(row.effect for row in report.metrics if row.metric == "gate_reward")
    own = state.stages[-1].checks[-1].numbers
    assert own["difference"] == pytest.approx(told.effect, rel=1e-9)
    frame, _ = units_of(events, plan, ended, GateSettings.model_validate(chosen).canary)
    assert frame["unit"].n_unique() == own["units"]


def plan_end(plan: Plan, ended: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ended // DAY * DAY / 1000, UTC)
