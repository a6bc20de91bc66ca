"""The files for Prometheus and Grafana: they parse, promtool agrees, and they name only what the server exposes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from serving.access.gate import UNGUARDED
from serving.api.app import create_app
from serving.metrics import SECONDS
from serving.service import Service
from serving.watch.freshness import BOUNDS
from tests.api.fake_service import FakeService

ROOT = Path(__file__).resolve().parents[2] / "deploy" / "observability"
RULES = ROOT / "prometheus" / "slo.rules.yml"
NAME = re.compile(r"\brecsys_[a-z0-9_]+\b")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return json.loads((ROOT / "grafana" / "dashboard.json").read_text())


def expressions() -> list[str]:
    shown = [t["expr"] for panel in dashboard()["panels"] for t in panel.get("targets", [])]
    asked = [v["query"] for v in dashboard()["templating"]["list"]]
    return [rule["expr"] for rule in rules()] + shown + asked


@pytest.fixture(scope="module")
def exposed(tiny_service: Service) -> set[str]:
    """Names of all samples, with their labels' names left out, of a server that has answered and been written to."""
    before = list(tiny_service.observers)
    client = TestClient(create_app(tiny_service, access=UNGUARDED))
    client.get("/v1/home")
    text = client.get("/metrics").text
    tiny_service.observers[:] = before
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    samples = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    return families | samples


def test_every_metric_that_is_named_is_one_that_the_server_exposes(exposed: set[str]) -> None:
    named = {name for text in expressions() for name in NAME.findall(text)}
    drift = {
        name for name in named if re.match(r"recsys_(feature|score|drift)_", name)
    }  # test_admin.py sees them
    labelled = {name for name in exposed if name.endswith(("_total", "_bucket", "_count", "_sum"))}
    known = exposed | labelled | {f"{name}{end}" for name in exposed for end in ("_bucket", "_count", "_sum")}
    assert len(named) > 20
    assert named - drift - known == set()


def test_objectives_are_told_at_bounds_that_the_histograms_have() -> None:
    text = RULES.read_text()
    bounds = {float(found) for found in re.findall(r'le="([0-9.]+)"', text)}
    assert bounds == {0.06, 1.0}
    assert 0.06 in SECONDS
    assert 1.0 in BOUNDS


def test_the_availability_objective_covers_every_recommendation_endpoint_and_no_other() -> None:
    pattern = next(re.search(r'route=~"([^"]+)"', r["expr"])[1] for r in rules() if "route=~" in r["expr"])  # type: ignore[index]
    for path, methods in create_app(FakeService()).openapi()["paths"].items():
        recommends = any("recommendations" in m.get("tags", ()) for m in methods.values())
        if path.startswith("/v1/") and not path.startswith("/v1/recommendations"):
            assert (re.fullmatch(pattern, path) is not None) == recommends, path


def test_every_objective_has_a_budget_and_every_window_that_an_alert_reads() -> None:
    recorded = {(r["record"], r["labels"]["slo"]) for r in rules() if "record" in r}
    objectives = {slo for _, slo in recorded}
    assert objectives == {"availability", "latency", "freshness", "full_rung"}
    read = {name for r in rules() if "alert" in r for name in re.findall(r"recsys:[a-z_:0-9]+", r["expr"])}
    assert read
    assert {(name, slo) for name in read for slo in objectives} <= recorded


def test_each_alert_says_how_bad_it_is_and_the_runbook_knows_it() -> None:
    book = (ROOT.parents[1] / "docs" / "operations.md").read_text()
    alerts = [r for r in rules() if "alert" in r]
    assert {r["labels"]["severity"] for r in alerts} == {"page", "ticket"}
    assert [r["alert"] for r in alerts if f"`{r['alert']}`" not in book] == []


def test_the_dashboard_can_be_put_over_any_data_source_and_no_panel_covers_another() -> None:
    board = dashboard()
    assert {v["type"] for v in board["templating"]["list"]} >= {"datasource"}
    panels = board["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    assert all(t["datasource"]["uid"] == "${datasource}" for p in panels for t in p.get("targets", []))
    cells = [
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize(
    "command", ["check rules slo.rules.yml", "check config prometheus.yml", "test rules slo.test.yml"]
)
def test_promtool_agrees(command: str) -> None:
    done = subprocess.run(["promtool", *command.split()], cwd=RULES.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_can_read_what_the_server_exposes_and_finds_nothing_to_mend() -> None:
    client = TestClient(create_app(FakeService(), access=UNGUARDED))
    client.get("/v1/home")
    text = client.get("/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert "error while linting" not in done.stdout + done.stderr
    assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: advice on names, kept stable here
