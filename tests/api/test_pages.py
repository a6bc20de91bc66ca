"""The page: what the server renders, and what it does in a real browser."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect, sync_playwright

from serving.access.gate import UNGUARDED, Access
from serving.access.keys import KeyFile
from serving.api.app import create_app
from serving.api.edge import LOOPBACK_NAMES
from tests.api.fake_service import ARTIST_IDS, LISTENERS, TRACK_IDS, FakeService

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service: FakeService) -> TestClient:
    return TestClient(create_app(service, access=UNGUARDED))


@pytest.mark.parametrize("path", ["/", "/page/home", f"/radio?seed=track:{TRACK_IDS[0]}"])
def test_hostile_titles_are_escaped(client: TestClient, path: str) -> None:
    html = client.get(path).text
    assert "&lt;script&gt;alert(" in html
    assert "<script>alert(" not in html
    assert 'data-title="Quote &#34; and &amp;' in html


def test_nothing_is_loaded_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs", "/static/style.css", "/static/app.js"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert not re.findall(r"https?://|//cdn|@import", text), path


def test_every_button_and_link_has_a_name(client: TestClient) -> None:
    html = client.get(f"/?user_id={LISTENERS[0]}").text
    for tag in re.findall(r"<(?:button|a)\b[^>]*>\s*<svg[^>]*>.*?</svg>\s*</(?:button|a)>", html, re.S):
        assert "aria-label=" in tag


def test_the_decision_page_shows_stages_counts_propensities_and_release(client: TestClient) -> None:
    request_id = client.get("/v1/home").json()["request_id"]
    html = client.get(f"/decisions/{request_id}").text
    for part in ("two tower", "timeout", "territory", "0.0125", "full-eps0.05", "ababab", "6.90 ms"):
        assert part in html


def test_an_unknown_request_gets_an_error_page(client: TestClient) -> None:
    answer = client.get("/decisions/none")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert client.get("/?user_id=wrong").status_code == 422


@pytest.fixture(scope="module")
def browser_service() -> FakeService:
    return FakeService()


@pytest.fixture(scope="module")
def address(browser_service: FakeService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A guarded server, as `recsys serve` starts it: the browser posts by the page's own cookie."""
    root = tmp_path_factory.mktemp("keys")
    KeyFile(root).prepare()
    app = create_app(browser_service, LOOPBACK_NAMES, Access.of_home(root, loopback=True))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        yield page
        browser.close()
    assert not errors


def kinds(service: FakeService) -> list[str]:
    return [event.kind.value for event in service.log.values()]


def test_a_new_listener_keeps_the_id_of_the_first_answer(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_url(re.compile(r"\?user_id=[0-9A-Za-z]{22}$"))
    assert page.locator("body").get_attribute("data-user") == page.url.split("=")[1]


def test_play_and_skip_are_logged_and_the_next_answer_comes(
    page: Page, address: str, browser_service: FakeService
) -> None:
    page.goto(f"{address}/?user_id={LISTENERS[0]}")
    shown = page.locator("#answer").get_attribute("data-request")
    page.get_by_role("button", name="Play Night Bus by The Long Exposure").first.click()
    expect(page.locator("#player")).to_be_visible()
    page.get_by_role("button", name="Skip").click()
    expect(page.locator("#answer")).not_to_have_attribute("data-request", str(shown))
    mine = [e for e in browser_service.log.values() if e.user_id == LISTENERS[0]]
    ends = [e for e in mine if e.kind == "play_end"]
    assert [e.request_id for e in ends] == [shown]
    assert ends[0].skipped
    assert ends[0].ms_played is not None
    assert ends[0].ms_played < 180_000
    assert "play_start" in [e.kind for e in mine]


def test_what_is_not_wanted_is_gone_from_the_next_answer(
    page: Page, address: str, browser_service: FakeService
) -> None:
    page.goto(f"{address}/?user_id={LISTENERS[1]}")
    button = page.get_by_role("button", name="Not interested in Low Tide by Marrow")
    button.click()
    expect(button).to_have_count(0)
    expect(page.locator(".track.is-new")).to_have_count(1)
    expect(page.locator("#status")).to_have_text("The answer changed: 1 of 50 tracks are new.")
    assert "not_interested" in kinds(browser_service)


def test_an_artist_can_be_snoozed_from_any_of_their_tracks(
    page: Page, address: str, browser_service: FakeService
) -> None:
    page.goto(f"{address}/?user_id={LISTENERS[1]}")
    page.get_by_role("button", name="Snooze Marrow for 30 days").first.click()
    expect(page.locator("#status")).to_contain_text("You will not see Marrow for 30 days")
    said = [e for e in browser_service.log.values() if e.kind == "snooze_artist"]
    assert [(e.artist_id, e.track_id, e.incognito_mode) for e in said] == [(ARTIST_IDS[3], None, False)]


def test_save_can_be_taken_back(page: Page, address: str, browser_service: FakeService) -> None:
    page.goto(f"{address}/?user_id={LISTENERS[2]}")
    button = page.get_by_role("button", name="Save Paper Lanterns by Marrow")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#status")).to_contain_text("No longer saved")
    mine = [e.kind.value for e in browser_service.log.values() if e.user_id == LISTENERS[2]]
    assert [k for k in mine if "save" in k] == ["save", "unsave"]


def test_only_slots_that_came_into_view_are_impressions(
    page: Page, address: str, browser_service: FakeService
) -> None:
    page.goto(f"{address}/?user_id={LISTENERS[3]}")
    page.wait_for_timeout(1500)
    mine = [e for e in browser_service.log.values() if e.user_id == LISTENERS[3]]
    assert {e.kind.value for e in mine} == {"impression"}
    assert 0 < len(mine) < 20
    assert {e.shelf for e in mine} <= {"made_for_you", "because_you_finished"}
    assert all(e.propensity and e.request_id and e.reason for e in mine)


def test_a_station_plays_on_after_a_skip_with_a_fresh_page(page: Page, address: str) -> None:
    page.goto(f"{address}/?user_id={LISTENERS[4]}")
    page.get_by_role("link", name="Start a radio from Night Bus by The Long Exposure").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Night Bus radio")
    page.locator("[data-action=play]").first.click()
    page.get_by_role("button", name="Skip").click()
    expect(page.locator("#player-title")).to_have_text("Ночной поезд")
    expect(page.locator(".track.playing")).to_have_count(1)


def test_a_page_whose_permission_has_ended_says_so(
    page: Page, address: str, browser_service: FakeService
) -> None:
    assert page.context.browser is not None
    with page.context.browser.new_context() as context:  # of its own: the refusal is an error of the console
        other = context.new_page()
        other.goto(f"{address}/?user_id={LISTENERS[0]}")
        context.clear_cookies()
        other.locator("[data-action=save]").first.click()
        expect(other.locator("#status")).to_contain_text("permission has ended; reload it")
    assert "save" not in {e.kind.value for e in browser_service.log.values() if e.user_id == LISTENERS[0]}


def test_the_page_is_usable_by_keyboard_alone(page: Page, address: str) -> None:
    page.goto(f"{address}/?user_id={LISTENERS[0]}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.locator("[data-action=play]").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#player")).to_be_visible()


def test_what_happened_to_a_request_opens_from_the_page(page: Page, address: str) -> None:
    page.goto(f"{address}/?user_id={LISTENERS[0]}")
    page.get_by_role("link", name="What happened to this request").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What happened to this request")
    expect(page.get_by_role("cell", name="Night Bus The Long Exposure", exact=True)).to_be_visible()


def test_nothing_overflows_on_a_phone(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 375, "height": 720})
    for path in ("/", f"/radio?seed=track:{TRACK_IDS[0]}", "/docs"):
        page.goto(address + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375, path
