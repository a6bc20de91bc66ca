"""`recsys experiment`: checks files, plans, says who is where and why, starts and stops."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from recsys.home import Home
from recsys.lake import Lake
from recsys.schemas import conform
from serving.cli import main
from serving.cli.app import app

FILE = """\
layers:
  - {name: home}
holdouts:
  - {name: global, salt: g-1, share: 0.05}
overrides:
  - {unit: tester, experiment: ranker, arm: treatment}
metrics:
  - {name: saves, kind: mean, direction: increase, baseline: {mean: 2.0, sd: 4.0}}
experiments:
  - name: ranker
    salt: ranker-1
    layer: {name: home}
    targeting: {country: SE}
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, parameters: {home.epsilon: 0.1}}
    question: {primary: saves, mde: 0.05, stopping: {rule: fixed, days: 14}}
  - {name: page, salt: page-1, active: false, holdouts: false, arms: [{name: "on", weight: 1, value: true}]}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "experiments"
    folder.mkdir(parents=True)
    (folder / "e.yaml").write_text(FILE)
    return tmp_path / "home"


def run(home: Path, *words: str) -> Result:
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["experiment", *words, "--home", str(home)])
    assert done.exit_code == 0, f"{words}: {done.output}\n{done.exception!r}"
    return done


def verdicts(home: Path, *words: str) -> dict[str, tuple[str | None, str]]:
    rows = json.loads(run(home, "assign", *words, "--json").stdout)
    return {row["experiment"]: (row["arm"], row["why"]) for row in rows}


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of a command that must end with status 2 and one line."""
    monkeypatch.setattr(sys, "argv", ["recsys", "experiment", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_validation_shows_what_is_there(home: Path) -> None:
    assert json.loads(run(home, "validate", "--json").stdout)["experiments"] == ["ranker", "page"]
    assert json.loads(run(home, "validate", "--schema").stdout)["title"] == "Config"


def test_validation_names_file_and_line_of_every_mistake(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "experiments" / "e.yaml").write_text(
        FILE.replace("mde: 0.05", "mde: -1").replace("share: 0.05", "share: 5")
    )
    said = fails(monkeypatch, capsys, "validate", "--home", str(home))
    assert "e.yaml line 4: holdouts[0].share" in said
    assert "e.yaml line 17: experiments[0].question.mde" in said
    (home / "experiments" / "e.yaml").write_text(FILE.replace("home.epsilon: 0.1", "home.epsilon: 7"))
    said = fails(monkeypatch, capsys, "validate", "--home", str(home))
    assert "e.yaml line 16: home.epsilon: Input should be less than or equal to 1" in said


def test_validation_says_what_a_running_service_would_refuse(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(home, "start", "page")
    path = home / "experiments" / "e.yaml"
    path.write_text(path.read_text().replace("salt: page-1", "salt: page-2"))
    said = fails(monkeypatch, capsys, "validate", "--home", str(home))
    assert "page is running: another salt would shuffle everybody" in said
    monkeypatch.setattr(sys, "argv", ["recsys", "experiment", "validate", str(path), "--home", str(home)])
    with pytest.raises(SystemExit) as done:
        main()
    assert not done.value.code, "a file by itself is only checked by itself"


def test_assign_says_why(home: Path) -> None:
    assert verdicts(home, "tester") == {"ranker": ("treatment", "override")}
    assert verdicts(home, "u1") == {"ranker": (None, "not targeted")}
    found = {verdicts(home, f"u{i}", "--country", "SE")["ranker"][1] for i in range(40)}
    assert found == {"hash", "held back by global"}
    assert "not targeted" in run(home, "assign", "u1").output + run(home, "assign", "u1").stderr


def test_a_plan_says_units_days_and_what_less_would_show(home: Path) -> None:
    """By hand: effect .05 × 2 = .1, sd 4: 2 (1.95996 + .84162)² (4 / .1)² = 25,116.4 an arm."""
    body = json.loads(run(home, "plan", "ranker", "--daily", "1000", "--json").stdout)
    assert body["needs"][0]["effect"] == pytest.approx(0.1)
    assert body["units"] == pytest.approx(2 * 25_116.4, abs=2)
    assert body["days"] == 51
    wide = json.loads(run(home, "plan", "ranker", "--sd", "8", "--rho", "0.5", "--json").stdout)
    assert wide["units"] == pytest.approx(3 * body["units"], rel=1e-4)
    text = run(home, "plan", "ranker", "--arrivals", ",".join(["60000"] * 7)).output
    assert "read once, at the planned end" in text
    assert "units in all: 50,233 (control 25,117, treatment 25,117)" in text
    assert "enough units on day 1" in text
    assert "smallest change of saves" in text


def listened(home: Path) -> None:
    """28 days of 400 listeners in the lake: 1 hour a day and a habit (sd .3), saves on every second day."""
    rng = np.random.default_rng(0)
    habit, days = rng.normal(1.0, 0.3, 400), range(28)
    start = datetime(2026, 5, 11, tzinfo=UTC)
    parts = [
        pl.DataFrame(
            {
                "kind": ["play_end"] * 400 if day % 2 else np.where(rng.random(400) < 0.5, "save", "search"),
                "user_id": [f"{i:022d}" for i in range(400)],
                "ms_played": ((habit + rng.normal(0, 0.3, 400)) * 3_600_000).astype(int),
                "reason_end": ["trackdone"] * 400,
                "conn_country": ["SE"] * 400,
            }
        ).with_columns(
            ts=pl.lit(start + timedelta(days=day)), day=pl.lit((start + timedelta(days=day)).date())
        )
        for day in days
    ]
    Lake(Home.of(home).lake).append("events", conform(pl.concat(parts), "events"))


def test_a_plan_measures_in_the_lake_what_nobody_said_and_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """14 days, half of them with an hour: a unit's mean day is (1 + habit) / 2, its sd (.3² + .3² / 7)^½ / 2."""
    listened(home)
    body = json.loads(run(home, "plan", "ranker", "--json").stdout)
    assert body["baselines"]["saves"]["from"] == {"mean": "declared", "sd": "declared", "rho": "lake"}
    assert body["lake"]["arrivals"][13] == pytest.approx(400 * 0.95)
    (home / "experiments" / "e.yaml").write_text(FILE.replace("primary: saves", "primary: hours"))
    body = json.loads(run(home, "plan", "ranker", "--rho", "0.5", "--json").stdout)
    found = body["baselines"]["hours"]
    assert found["mean"] == pytest.approx(0.5, rel=0.05)
    assert found["sd"] == pytest.approx((0.3**2 + 0.3**2 / 7) ** 0.5 / 2, rel=0.1)
    assert found["rho"] == 0.5
    assert found["from"] == {"mean": "lake", "sd": "lake", "rho": "given"}
    text = run(home, "plan", "ranker", "--mean", "1", "--sd", "2").output
    assert "given: mean, sd; lake: rho" in text
    assert "lake: 400 units from 2026-05-24 to 2026-06-06 (14 days)" in text.replace("\n", " ")
    assert "--mean and --sd of hours" in fails(
        monkeypatch, capsys, "plan", "ranker", "--declared", "--home", str(home)
    )


def test_a_plan_refuses_arrivals_that_are_no_numbers(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(monkeypatch, capsys, "plan", "ranker", "--arrivals", "4000,many", "--home", str(home))
    assert "numbers with commas between" in said
    both = ("--daily", "10", "--arrivals", "10,20")
    assert "not both" in fails(monkeypatch, capsys, "plan", "ranker", *both, "--home", str(home))


def test_start_and_stop_keep_a_version_each(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(home, "start", "page")
    assert verdicts(home, "u1")["page"] == ("on", "hash")
    run(home, "stop", "page")
    assert verdicts(home, "u1")["page"] == (None, "stopped")
    assert "is over since" in fails(monkeypatch, capsys, "stop", "page", "--home", str(home))
    journal = (home / "experiments" / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["why"] for line in journal] == ["started page", "stopped page"]
