"""`recsys experiment report`, `list` and `dashboard` on a home: files kept, MLflow told, pages served."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from recsys.home import Home
from recsys.ids import public_id
from recsys.lake import Lake
from recsys.schemas import conform
from serving.cli.app import app

START = datetime(2025, 3, 3, tzinfo=UTC)
YAML = """\
experiments:
  - name: ranker
    owner: home team
    salt: ranker-1
    start: 2025-03-03
    stop: 2025-03-13
    arms: [{name: control, weight: 0.5}, {name: treatment, weight: 0.5, parameters: {home.epsilon: 0.1}}]
    question:
      primary: hours
      guardrails: [{metric: skip_rate, margin: 0.2}]
      mde: 0.05
      stopping: {rule: group_sequential, looks: 2}
  - {name: banner, salt: banner-1, arms: [{name: "on", weight: 1, value: true}]}
"""


def told(arm: str) -> str:
    arms = [{"experiment": "ranker", "arm": arm, "overridden": False}]
    return json.dumps({"version": "0123456789abcdef", "arms": arms, "country": "SE", "cohort": ["known"]})


@pytest.fixture(scope="module")
def home(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose lake holds ten days of a test of which one arm plays a fifth more."""
    root = tmp_path_factory.mktemp("report") / "home"
    shutil.copytree(tiny_root, root)
    shutil.rmtree(root / "experiments", ignore_errors=True)  # another test may have left some
    (root / "experiments").mkdir()
    (root / "experiments" / "ranker.yaml").write_text(YAML)
    rng, parts = np.random.default_rng(5), []
    users = [public_id("report", str(i)) for i in range(600)]
    treated = rng.random(len(users)) < 0.5
    for day in range(10):
        at = START + timedelta(days=day, hours=9)
        plays = rng.poisson(np.where(treated, 4.8, 4.0))
        who = np.repeat(np.arange(len(users)), plays)
        parts.append(
            pl.DataFrame(
                {
                    "kind": ["play_end"] * len(who),
                    "user_id": np.array(users)[who],
                    "ms_played": rng.integers(5_000, 200_000, len(who)),
                    "reason_end": ["fwdbtn"] * len(who),
                }
            ).with_columns(ts=pl.lit(at))
        )
        arms = [told("treatment" if t else "control") for t in treated]
        parts.append(
            pl.DataFrame({"kind": ["decision"] * len(users), "user_id": users, "exposed": arms}).with_columns(
                ts=pl.lit(at)
            )
        )
    whole = pl.concat(parts, how="diagonal_relaxed").with_columns(
        event_id=pl.int_range(pl.len()).cast(pl.String), day=pl.col("ts").dt.date(), consent_analytics=True
    )
    Lake(Home.of(root).lake).append("events", conform(whole, "events"))
    return root


def run(home: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["experiment", *words, "--home", str(home)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_report_says_its_verdict_and_is_kept_with_its_page_and_in_mlflow(home: Path) -> None:
    found = json.loads(run(home, "report", "ranker", "--until", "2025-03-20T00:00:00Z", "--json"))
    assert found["verdict"]["decision"] == "ship"
    assert found["versions"] == ["0123456789abcdef"]
    kept = home / "experiments" / "reports" / "ranker" / "20250320T000000Z.json"
    assert json.loads(kept.read_text()) == found
    assert "Ship treatment" in kept.with_suffix(".html").read_text()
    import mlflow

    mlflow.set_tracking_uri(Home.of(home).mlflow_url)
    runs = mlflow.search_runs(filter_string="tags.experiment = 'ranker'", search_all_experiments=True)
    assert runs.iloc[0]["tags.decision"] == "ship"
    names = [a.path for a in mlflow.MlflowClient().list_artifacts(runs.iloc[0]["run_id"], "report")]
    assert names == ["report/20250320T000000Z.html", "report/20250320T000000Z.json"]


def test_without_a_name_every_test_is_read_and_flags_are_not(home: Path) -> None:
    said = run(home, "report", "--until", "2025-03-20T00:00:00Z", "--no-mlflow")
    assert "Ship treatment" in said
    assert "banner" not in said


def test_the_list_and_the_dashboard_show_the_newest_verdict(home: Path) -> None:
    run(home, "report", "ranker", "--until", "2025-03-20T00:00:00Z", "--no-mlflow")
    cards = {card["name"]: card for card in json.loads(run(home, "list", "--json"))}
    assert cards["ranker"]["decision"] == "ship"
    assert cards["banner"]["kind"] == "flag"
    run(home, "dashboard")
    page = (home / "experiments" / "reports" / "dashboard.html").read_text()
    assert 'href="ranker/20250320T000000Z.html"' in page


def test_stop_ends_a_test_whose_rule_is_done_and_leaves_one_that_is_open(home: Path) -> None:
    place = home / "experiments" / "ranker.yaml"
    daily = YAML.replace("looks: 2}", "looks: 10, spending: pocock}\n      min_days: 0")
    place.write_text(daily)
    try:
        said = run(home, "report", "ranker", "--until", "2025-03-03T20:00:00Z", "--stop", "--no-mlflow")
        assert "stopped" not in said
        assert place.read_text() == daily
        said = run(home, "report", "ranker", "--until", "2025-03-08T00:00:00Z", "--stop", "--no-mlflow")
        assert "stopped ranker" in said
        assert "stopped: 2025-03-08T00:00:00.000Z" in place.read_text()
        ended = place.read_text()
        later = run(home, "report", "ranker", "--until", "2025-03-10T00:00:00Z", "--stop", "--no-mlflow")
        assert "Ship treatment" in later
        assert place.read_text() == ended
    finally:
        place.write_text(YAML)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["report", "nothing"], "no experiment is called nothing"),
        (["report", "banner"], "banner is a flag"),
        (["report", "ranker", "--until", "yesterday"], "no time: yesterday"),
        (["report", "ranker", "--until", "2025-03-20T00:00:00"], "has no zone"),
        (["report", "ranker", "--until", "2999-03-20T00:00:00Z"], "is yet to come"),
        (["report", "--out", "page.html"], "--out is one page: name the experiment"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(home: Path, words: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["experiment", *words, "--home", str(home)])
    assert done.exit_code != 0
    assert says in str(done.exception)
