"""The closed loop over the real pipeline: batches answer as single requests do, and a killed run ends the same."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from recsys.errors import BadInput, NotReady, RecsysError
from recsys.home import Home
from recsys.lake import Lake
from recsys.schemas import Surface
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import LiveSettings, LiveWorld, Random, days
from recsys.simulation.live.day import take
from recsys.simulation.live.events import request_ids
from recsys.simulation.live.http import HttpPolicy
from recsys.simulation.live.run import requests_of
from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.loop import run as loop_run
from serving.loop.place import made, profile_of, start_day
from serving.loop.policies import SETTINGS, Served, known, release
from serving.loop.retrain import Retrain, retrain
from serving.loop.run import LoopSettings, run
from serving.loop.service_policy import ServicePolicy, asks
from serving.recipe import RecipeConfig
from serving.registry import CHAMPION, Registry
from serving.replay import replay
from serving.service import Service

FEW = LoopSettings(days=2, listeners=80, profile="tiny", live=LiveSettings(measured=20))


@pytest.fixture(scope="module")
def world(tiny_home: Home) -> LiveWorld:
    profile = profile_of(tiny_home)
    catalog = Catalog.load(tiny_home.world / "catalog.npz")
    return LiveWorld.at(profile, catalog, start_day(tiny_home, profile)).only(80)


@pytest.fixture(scope="module")
def home(tiny_home: Home, tmp_path_factory: pytest.TempPathFactory, world: LiveWorld) -> Home:
    return made(tiny_home, tmp_path_factory.mktemp("loop") / "home", world.day, world.profile)


@pytest.fixture(scope="module")
def service(home: Home) -> Iterator[Service]:
    with Service.open(home, SETTINGS, release(0.3).experiments, background=False) as service:
        yield service


def test_a_batch_of_listeners_gets_the_slates_that_each_gets_alone(
    service: Service, world: LiveWorld
) -> None:
    today = copy.deepcopy(world)
    _, planned = today.wake()
    rows = np.flatnonzero(planned.home)
    requests = requests_of(today, take(planned, rows), np.arange(len(rows)), np.zeros(len(rows), bool))
    ids = request_ids(requests.now, requests.key).tolist()
    everyone = asks(requests, 10)
    assert len(everyone) > 10
    assert len({d.user_id for d in service.many(everyone, ids)}) > 5
    together = service.many(everyone, ids)
    alone = [service.many([ask], [rid])[0] for ask, rid in zip(everyone, ids, strict=True)]
    for a, b in zip(together, alone, strict=True):
        assert (a.rung, a.policy, a.seed, a.user_id) == (b.rung, b.policy, b.seed, b.user_id)
        assert [s["track_id"] for s in a.slots] == [s["track_id"] for s in b.slots]
        np.testing.assert_allclose(
            [s["propensity"] for s in a.slots], [s["propensity"] for s in b.slots], rtol=1e-9
        )
        assert a.counts.keys() == {"eligible"} or a.counts == b.counts
    one = service.recommend(replace(everyone[0], surface=Surface.HOME))
    assert [shelf["id"] for shelf in one["shelves"]] == list(
        dict.fromkeys(s["shelf"] for s in alone[0].slots)
    )


def test_what_live_listeners_do_is_logged_joined_and_replays(
    tiny_home: Home, tmp_path: Path, world: LiveWorld
) -> None:
    home, today = made(tiny_home, tmp_path / "home", world.day, world.profile), copy.deepcopy(world)
    with Service.open(home, SETTINGS, release(0.2).experiments, background=False) as service:
        policy = ServicePolicy(service, today.track_ids)
        [lived] = days(today, policy, LiveSettings(measured=20), 1)
    events = Lake(home.lake).scan("events").collect()
    decided = events.filter(pl.col("kind") == "decision")
    told = events.filter(pl.col("request_id").is_in(decided["event_id"].implode()))
    shown = told.filter(pl.col("kind") == "impression")
    assert len(decided) == lived.figures.pages
    assert len(shown) == lived.figures.seen > 20
    assert (told["received_at"] >= told["ts"]).all()
    assert told.filter(pl.col("kind") == "play_end").height == lived.figures.home_plays
    for request_id in decided["event_id"].head(3):
        assert replay(home, request_id, False)["same"]
    assert lived.values is not None
    assert np.isfinite(lived.values.greedy).all()
    assert np.isfinite(lived.figures.true_value)


def test_listeners_over_http_come_at_the_same_times_and_their_events_are_taken(
    service: Service, world: LiveWorld
) -> None:
    app = create_app(service, access=UNGUARDED, simulated_clock=True)
    one, other = copy.deepcopy(world), copy.deepcopy(world)
    settings = LiveSettings(measured=0, tick_minutes=45)
    transport = httpx.ASGITransport(app)
    with HttpPolicy("http://test", one.track_ids, transport=transport) as policy:
        [http] = days(one, policy, settings, 1)
    [inside] = days(other, Random(other.catalog), settings, 1)
    np.testing.assert_array_equal(http.day.sessions.key, inside.day.sessions.key)
    assert http.figures.pages == inside.figures.pages > 5
    assert http.figures.seen > 10
    asked = [service.decision_record(r) for r in service._recent.ids()]
    assert {d.now for d in asked} >= set((http.day.sessions.start - 5_000)[http.day.shown.session].tolist())


def test_a_server_that_is_not_there_is_one_line(world: LiveWorld) -> None:
    said = pytest.raises(RecsysError, match="recsys serve --simulated-clock")
    with HttpPolicy("http://127.0.0.1:9", world.track_ids) as policy, said:
        policy.hear(pl.DataFrame({"received_at": [1], "kind": ["search"]}), 1)


@pytest.mark.slow
def test_a_killed_loop_goes_on_and_ends_as_if_nothing_had_been(
    tiny_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tiny_home, "explore", FEW, tmp_path / "whole")
    real, lived = loop_run.live_day, []

    def dies(*args: object) -> object:
        lived.append(1)
        done = real(*args)  # type: ignore[arg-type]
        if len(lived) == 2:
            raise KeyboardInterrupt  # the second day has been served and heard, and nothing of it is kept
        return done

    monkeypatch.setattr(loop_run, "live_day", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_home, "explore", FEW, tmp_path / "cut")
    monkeypatch.undo()
    again = run(tiny_home, "explore", FEW, tmp_path / "cut")
    assert again["days"] == whole["days"]
    assert len(whole["days"]) == 2
    a, b = (
        Lake(tmp_path / name / "home" / "lake")
        .scan("events")
        .drop("payload", "took_ms")
        .collect()
        .sort("event_id")
        for name in ("whole", "cut")
    )
    assert a.equals(b)
    assert run(tiny_home, "explore", FEW, tmp_path / "cut")["days"] == whole["days"]


def test_a_folder_holds_one_run_and_other_settings_are_refused(tiny_home: Home, tmp_path: Path) -> None:
    run(tiny_home, "popularity", FEW, tmp_path / "run")
    with pytest.raises(BadInput, match="other settings"):
        run(tiny_home, "popularity", FEW.model_copy(update={"seed": 1}), tmp_path / "run")


@pytest.mark.slow
def test_a_loop_leaves_the_home_it_starts_from_as_it_was(tiny_home: Home, tmp_path: Path) -> None:
    def digest() -> dict[str, tuple[int, int]]:
        kept = [
            p
            for p in tiny_home.root.rglob("*")
            if p.is_file() and "-shm" not in p.name and "-wal" not in p.name
        ]
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in kept}

    before = digest()
    run(tiny_home, "frozen", FEW.model_copy(update={"days": 1}), tmp_path / "run")
    assert digest() == before


def test_a_home_without_a_world_or_with_a_wrong_policy_is_one_line(tmp_path: Path, tiny_home: Home) -> None:
    with pytest.raises(NotReady, match="recsys demo"):
        run(Home.of(tmp_path).make(), "frozen", FEW, tmp_path / "run")
    with pytest.raises(BadInput, match="choose among random, popularity"):
        run(tiny_home, "nonsense", FEW, tmp_path / "run")
    with pytest.raises(BadInput, match="has no settings"):
        run(tiny_home, "random:home.epsilon=1", FEW, tmp_path / "run")
    with pytest.raises(BadInput, match="look like"):
        run(tiny_home, "frozen:home.epsilon", FEW, tmp_path / "run")


def test_a_policy_may_have_other_settings() -> None:
    changed = known("greedy:home.ranked=100,home.rerank.diversity_weight=0.3")
    assert isinstance(changed, Served)
    assert changed.parameters == {
        "home.epsilon": 0.0,
        "home.ranked": 100,
        "home.rerank.diversity_weight": 0.3,
    }


def test_retraining_learns_from_the_loop_s_days_and_is_promoted(home: Home, tmp_path: Path) -> None:
    mine = Home.of(shutil.copytree(home.root, tmp_path / "copy"))
    old = Registry(mine).get(CHAMPION)
    version = retrain(mine, Retrain.STATS, RecipeConfig.of("tiny"))
    new = Registry(mine).get(CHAMPION)
    assert new.version == version != old.version
    manifests = [orjson.loads((r.folder / "manifest.json").read_bytes()) for r in (old, new)]
    assert manifests[1]["until"] > manifests[0]["until"]
    changed = {p for p, d in manifests[1]["files"].items() if manifests[0]["files"].get(p) != d}
    assert any(p.startswith("stats/") for p in changed)
    assert any(p.startswith("artists/") for p in changed)
    assert not any(p.startswith("two_tower/") for p in changed)


@pytest.mark.slow
def test_the_command_runs_policies_side_by_side_and_draws_them(tiny_home: Home, tmp_path: Path) -> None:
    from serving.cli.app import app

    root = shutil.copytree(tiny_home.root, tmp_path / "home")
    words = ["loop", "--home", str(root), "--days", "3", "--profile", "tiny", "--listeners", "120", "--json"]
    chosen = ["--policy", "popularity", "--policy", "retrained", "--policy", "random"]
    done = CliRunner().invoke(app, [*words, *chosen])
    assert done.exit_code == 0, done.output
    found = orjson.loads(done.stdout)
    assert set(found["days"]) == {"popularity", "retrained", "random"}
    assert [p["day"] for p in found["promoted"]["retrained"]]
    assert not found["promoted"]["random"]
    assert (root / "loops" / "loop" / "loop.png").read_bytes()[:4] == b"\x89PNG"
    rows = Lake(Home.of(root).lake).scan("loop_days").collect()
    assert len(rows) == 9
    assert rows["policy"].n_unique() == 3
