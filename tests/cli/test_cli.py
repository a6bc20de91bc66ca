"""Every command of `recsys` on a real tiny home: help that teaches, JSON for programs, errors of one line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from recsys.home import Home
from serving.cli import main
from serving.cli.app import app

KEYS = {"model", "task", "cohort", "metric", "k", "value", "low", "high"}
MODELS = {"popularity", "markov", "rules", "als", "bpr", "two_tower", "sequence", "ranker"}
TASKS = {"next_track", "next_track_new", "home"}
METRICS = {"recall", "ndcg", "mrr", "coverage", "gini", "novelty", "diversity", "true_value"}
COMMANDS = (
    "simulate", "import", "train", "index", "evaluate", "tune", "serve", "recommend", "replay", "demo",
    "release list", "release show", "release promote", "release rollback",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tiny_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A copy of the tiny home that commands may write to."""
    return Home.of(Path(shutil.copytree(tiny_home.root, tmp_path_factory.mktemp("cli") / "home")))


def run(*words: str, home: Home | None = None, code: int = 0) -> Result:
    """One command on a home, which must end with `code`."""
    place = ["--home", str(home.root)] if home else []
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, [*words, *place])
    assert done.exit_code == code, f"{words}: {done.output}\n{done.exception!r}"
    return done


def read(*words: str, home: Home, code: int = 0) -> Any:
    """What a command prints with --json; standard output holds nothing else."""
    return json.loads(run(*words, "--json", home=home, code=code).stdout)


def fails(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int = 2
) -> str:
    """What a failing command says on standard error, run as the installed script runs it."""
    monkeypatch.setattr("sys.argv", ["recsys", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == code
    return capsys.readouterr().err


def listener(home: Home) -> str:
    """A listener with a long history."""
    from recsys.state_store import LocalStore
    from serving.service import Service

    assert LocalStore(home.state_db).keys(1)
    with Service.open(home, background=False) as service:
        return str(service.listeners(5)[0]["user_id"])


# --- help ---------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_where_to_start() -> None:
    text = run("--help").output
    assert "recsys demo --profile tiny" in text
    assert all(command.split()[0] in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_explains_every_option(command: str) -> None:
    text = run(*command.split(), "--help").output
    assert "--home" in text
    assert "RECSYS_HOME" in text


def test_no_command_at_all_shows_the_help() -> None:
    assert "Usage" in run(code=2).output


# --- errors of one line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["simulate", "--profile", "huge"], "choose one of tiny, demo, large"),
        (["train", "ranking"], "choose one of two-tower, sequence, semantic, ranker"),
        (["train", "sequence", "--budget", "soon"], "looks like 90s, 60m or 2h"),
        (["train", "sequence", "--from", "1"], "sequence is always trained from scratch"),
        (["train", "two-tower", "--from", "99"], "recsys release list"),
        (["train", "two-tower", "--from", "latest", "--profile", "tiny"], "as new as the log"),
        (["tune", "svd"], "choose one of als, bpr"),
        (["serve", "--engine", "flask"], "ray or uvicorn"),
        (["replay", "nonsense"], "UUID"),
        (["release", "promote", "99"], "recsys release list"),
        (["release", "rollback"], "recsys release list"),
        (["release", "show", "nightly"], "recsys release list"),
        (["evaluate", "--release", "99"], "recsys release list"),
        (["import", "csv", "/nowhere.csv"], "/nowhere.csv"),
        (["import", "tape", "x"], "csv"),
        (["import", "csv", "x.csv", "--map", "user"], "NAME=COLUMN"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_way_out(
    words: list[str],
    said: str,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = fails([*words, "--home", str(home.root)], monkeypatch, capsys)
    assert text.startswith("recsys: ")
    assert text.count("\n") == 1, text
    assert said in text


@pytest.mark.parametrize(
    "words",
    [["recommend", "x"], ["train", "two-tower"], ["index"], ["evaluate"], ["serve"], ["release", "show"]],
)
def test_an_empty_home_says_what_to_run_first(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = fails([*words, "--home", str(tmp_path)], monkeypatch, capsys)
    assert text.startswith("recsys: ")
    assert "`recsys " in text


@pytest.mark.parametrize(
    "words", [["recommend"], ["recommend", "x", "--limit", "0"], ["serve", "--port", "70000"], ["play"]]
)
def test_a_wrong_call_is_refused_with_the_usage(words: list[str]) -> None:
    assert "Usage" in run(*words, code=2).output


def test_an_unknown_setting_is_named(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "more.yaml"
    path.write_text("two_tower:\n  dimension: 8\n")
    words = ["train", "two-tower", "--config", str(path), "--home", str(home.root)]
    assert "two_tower.dimension" in fails(words, monkeypatch, capsys)


# --- answers ------------------------------------------------------------------------------------------------


def test_recommend_prints_shelves_with_reasons(home: Home) -> None:
    user = listener(home)
    answer = read("recommend", user, "--limit", "3", "--country", "SE", home=home)
    assert answer["user_id"] == user
    shelves = {shelf["id"]: shelf["items"] for shelf in answer["shelves"]}
    assert len(shelves["made_for_you"]) == 3
    assert all(item["reason"]["text"] for items in shelves.values() for item in items)
    assert "Made for you" in run("recommend", user, home=home).output


def test_an_unknown_listener_gets_a_new_listeners_home(home: Home) -> None:
    answer = read("recommend", "n" * 22, home=home)
    assert any(shelf["items"] for shelf in answer["shelves"])


def test_replay_rebuilds_a_recommended_slate_from_the_log(home: Home) -> None:
    request_id = read("recommend", listener(home), home=home)["request_id"]
    report = read("replay", request_id, "--from-log", home=home)
    assert report["same"]
    assert report["slots"] > 0
    assert "'same': True" in run("replay", request_id, home=home).output


def test_replay_of_an_unknown_request_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replay", "0194ce42-9a78-7fef-a3f3-000000000000", "--home", str(home.root)]
    assert fails(words, monkeypatch, capsys).startswith("recsys: no decision")


# --- releases -----------------------------------------------------------------------------------------------


def test_releases_are_listed_and_shown(home: Home) -> None:
    (row, *_) = read("release", "list", home=home)
    assert row["version"] == "1"
    assert "champion" in row["aliases"]
    shown = read("release", "show", home=home)
    assert shown["manifest"]["version"] == "1"
    assert any(name.startswith("index/") for name in shown["manifest"]["files"])
    assert "champion" in run("release", "list", home=home).output


def test_a_damaged_release_is_not_promoted(
    tiny_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home.of(Path(shutil.copytree(tiny_home.root, tmp_path / "home")))
    path = home.releases / "v1" / "items" / "tracks.parquet"
    path.write_bytes(path.read_bytes()[:-7])
    text = fails(["release", "promote", "1", "--home", str(home.root)], monkeypatch, capsys)
    assert "tracks.parquet" in text


# --- evaluation ---------------------------------------------------------------------------------------------


def test_the_evaluation_has_the_names_that_others_rely_on(tiny_home: Home) -> None:
    rows = json.loads((tiny_home.reports / "evaluation.json").read_text())
    assert {frozenset(row) for row in rows} == {frozenset(KEYS)}
    assert {row["model"] for row in rows} >= MODELS
    assert {row["task"] for row in rows} == TASKS
    assert {row["metric"] for row in rows} >= METRICS
    assert {row["cohort"] for row in rows} > {"all"}
    assert (tiny_home.reports / "evaluation.html").stat().st_size > 10_000


@pytest.mark.slow
def test_evaluating_again_prints_the_same_rows(tiny_home: Home, tmp_path: Path) -> None:
    home = Home.of(Path(shutil.copytree(tiny_home.root, tmp_path / "home")))
    before = (home.reports / "evaluation.json").read_text()
    rows = read("evaluate", "--profile", "tiny", home=home)
    assert rows == json.loads(before)
    assert (home.reports / "evaluation.json").read_text() == before


# --- the whole path, resumed --------------------------------------------------------------------------------


def test_the_demo_run_again_redoes_nothing(home: Home) -> None:
    text = run("demo", "--profile", "tiny", "--no-serve", home=home).output
    for stage in ("world", "states", "two_tower", "sequence", "index", "ranker", "release", "evaluation"):
        assert f"{stage}: done before" in text
    assert "Made for you" in text
    assert "recsys serve" in text


@pytest.mark.slow
def test_an_interrupted_demo_goes_on_where_it_was(home: Home, tmp_path: Path) -> None:
    place = Home.of(Path(shutil.copytree(home.root, tmp_path / "home")))
    for stage in ("ranker", "release", "evaluation"):  # as if killed inside the ranker's training
        (place.work / f"{stage}.json").unlink()
    shutil.rmtree(place.work / "ranker" / "ranking")
    (place.work / "ranker").rename(place.work / "ranker.partial")
    text = run("demo", "--profile", "tiny", "--no-serve", home=place).output
    for stage in ("world", "states", "two_tower", "sequence", "index"):
        assert f"{stage}: done before" in text
    assert "ranker: done before" not in text
    assert read("release", "show", home=place)["version"] == "2"
    assert "version 1" in run("release", "rollback", home=place).output


# --- training one part --------------------------------------------------------------------------------------


def small(tmp_path: Path) -> str:
    """Settings of seconds, on top of the tiny profile's."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "two_tower: {epochs: 1}\n"
        "sequence: {epochs: 1, mixing_steps: 10, max_length: 20}\n"
        "ranker: {queries: 200, impressions: 2000, num_trees: 5}\n"
    )
    return str(path)


def test_each_part_trains_alone_and_an_index_command_makes_the_next_champion(
    home: Home, tmp_path: Path
) -> None:
    options = ["--profile", "tiny", "--config", small(tmp_path)]
    assert read("train", "two-tower", *options, home=home)["steps"] > 0
    sequence = read("train", "sequence", *options, "--budget", "2s", home=home)
    assert sequence["stage"] == "sequence"
    assert 0 < sequence["seconds"] < 60
    assert read("train", "ranker", *options, home=home)["finish_logloss"] > 0
    version = read("index", *options, home=home)["version"]
    rows = read("release", "list", home=home)
    assert (rows[0]["version"], rows[0]["aliases"]) == (version, ["champion"])
    assert "previous" in rows[1]["aliases"]
    run("release", "promote", "1", home=home)
    assert read("release", "show", home=home)["version"] == "1"


# --- logs in ------------------------------------------------------------------------------------------------


def test_a_simulated_world_reports_its_marginals(tmp_path: Path) -> None:
    home = Home.of(tmp_path / "world")
    summary = read("simulate", "--profile", "tiny", "--workers", "1", "--report", home=home)
    assert summary["plays"] > 50_000
    assert any("skip" in row["name"] for row in summary["marginals"])
    assert (home.reports / "marginals.png").stat().st_size > 10_000


def test_a_csv_log_joins_a_home_and_its_listener_gets_a_home_feed(home: Home, tmp_path: Path) -> None:
    from recsys.items import Items

    frame = Items.load(home.releases / "v1" / "items").frame.head(12)
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["who", "song", "by", "when"])
        for i, row in enumerate(frame.iter_rows(named=True)):
            out.writerow(["me", row["title"], row["artist_name"], 1_767_225_600 + 240 * i])
        out.writerow(["me", "", "", "never"])
    columns = "user=who,title=song,artist=by,ts=when"
    summary = read("import", "csv", str(path), "--map", columns, home=home)
    assert (summary["read"], summary["kept"]) == (13, 12)
    assert sum(summary["refused"].values()) == 1
    assert summary["match_rate"] > 0.9
