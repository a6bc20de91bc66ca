"""/experiments over HTTP: for staff only, every answer a page, and a policy that lets the page's style through."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Route, sync_playwright

from experiments.config import load
from experiments.report.shelf import Shelf
from experiments.store import Store
from recsys.home import Home
from serving.access.gate import UNGUARDED, Access
from serving.access.keys import KeyFile, Scope
from serving.access.settings import AccessSettings
from serving.api.app import create_app
from tests.api.fake_service import FakeService
from tests.experiments.sample_reports import running

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
YAML = """
experiments:
  - {name: ranker, salt: s, start: 2026-12-01, arms: [{name: control, weight: 0.5}, {name: treatment, weight: 0.5}],
     question: {primary: hours, mde: 0.02, stopping: {rule: always_valid}}}
  - {name: fresh, salt: t, active: false, arms: [{name: control, weight: 0.5}, {name: treatment, weight: 0.5}],
     question: {primary: hours, mde: 0.02, stopping: {rule: always_valid}}}
  - {name: banner, salt: u, arms: [{name: "on", weight: 1.0}]}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> FakeService:
    tmp_path = tmp_path_factory.mktemp("experiments")
    (tmp_path / "all.yaml").write_text(YAML)
    folder = tmp_path / "home" / "experiments"
    Store(folder).put(load(tmp_path / "all.yaml"), {}, "a test", 1_796_112_000_000)
    Shelf.of(folder).keep(running().to_json(), "ranker", "20261220T060000Z")
    fake = FakeService()
    fake.place = Home.of(tmp_path / "home")
    return fake


@pytest.fixture(scope="module")
def client(service: FakeService) -> TestClient:
    return TestClient(create_app(service, access=UNGUARDED))


def test_the_board_lists_what_runs_and_links_to_its_report(client: TestClient) -> None:
    board = client.get("/experiments")
    assert board.is_success
    assert 'href="/experiments/ranker"' in board.text
    assert "fresh" in board.text
    report = client.get("/experiments/ranker")
    assert "Keep it running: skip_<wbr>rate is open" in report.text
    assert 'href="/experiments"' in report.text
    assert 'href="/experiments"' in client.get("/admin").text


@pytest.mark.parametrize("path", ["/experiments", "/experiments/ranker"])
def test_the_policy_lets_only_the_page_s_own_style_through(client: TestClient, path: str) -> None:
    policy = client.get(path).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fresh", "recsys experiment report fresh"),
        ("banner", "banner is a flag"),
        ("unknown", "no experiment has this name"),
        ("%2e%2e", "no experiment has this name"),
        ("..%5c..", "no experiment has this name"),
        ("<script>alert(1)", "no experiment has this name"),
    ],
)
def test_a_report_that_is_not_there_is_an_error_page_with_the_way_out(
    client: TestClient, name: str, said: str
) -> None:
    answer = client.get(f"/experiments/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert said in answer.text
    assert "<script>alert" not in answer.text


def test_a_home_without_experiments_has_an_empty_board(tmp_path: Path) -> None:
    client = TestClient(create_app(FakeService(), access=UNGUARDED))
    assert "No experiment runs" in client.get("/experiments").text
    assert not (Path.cwd() / "no-such-home").exists()


@pytest.mark.parametrize("path", ["/experiments", "/experiments/ranker", "/experiments/nobody"])
def test_only_staff_see_the_pages(service: FakeService, tmp_path: Path, path: str) -> None:
    keys = KeyFile(tmp_path)
    staff, app = keys.create("boss", {Scope.ADMIN}), keys.create("app", {Scope.EVENTS})
    access = Access.of_home(tmp_path, True, AccessSettings())
    client = TestClient(create_app(service, None, access), headers={"Accept": "text/html"})
    refused = client.get(path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert client.get(path, headers={"Authorization": f"Bearer {app}"}).status_code == 403
    password = base64.b64encode(f"me:{staff}".encode()).decode()
    expected = 404 if path.endswith("nobody") else 200
    for right in (f"Bearer {staff}", f"Basic {password}"):
        assert client.get(path, headers={"Authorization": right}).status_code == expected


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
def test_a_browser_applies_the_style_complains_of_nothing_and_needs_no_scrolling_aside_on_a_phone(
    client: TestClient,
) -> None:
    def answer(route: Route) -> None:
        found = client.get(urlsplit(route.request.url).path)
        route.fulfill(status=found.status_code, headers=dict(found.headers), body=found.content)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme="dark")
        told: list[str] = []
        tab.on("console", lambda message: told.append(message.text))
        tab.route("**/*", answer)
        for path in ("/experiments", "/experiments/ranker"):
            tab.goto(f"http://recsys.test{path}")
            tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert tab.evaluate("document.documentElement.scrollWidth") == 360
            assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 26)"
        assert tab.locator("svg.area").count() > 3
        browser.close()
    assert [text for text in told if "favicon" not in text] == []
