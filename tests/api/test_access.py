"""Who may do what: keys, scopes, the page's cookie, rates; over a hand-written service, in process."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import BadInput, UnknownId
from recsys.ids import uuid7
from serving.access import gate
from serving.access.gate import Access
from serving.access.keys import KeyBook, KeyFile, Scope
from serving.access.rules import needed
from serving.access.settings import AccessSettings, from_environment
from serving.api.app import create_app
from serving.api.edge import LOOPBACK_NAMES
from tests.api.fake_service import LISTENERS, TRACK_IDS, FakeService

LOCAL = "http://127.0.0.1:8000"
EVENT = {"kind": "save", "user_id": LISTENERS[0], "ts": "2026-03-01T10:00:00Z", "track_id": TRACK_IDS[0]}


def app_client(
    root: Path, token: str = "", loopback: bool = True, address: str = "192.0.2.7", **settings: Any
) -> TestClient:
    """A client from `address` of an app over the keys in `root`."""
    access = Access.of_home(root, loopback, AccessSettings(**settings))
    app = create_app(FakeService(), LOOPBACK_NAMES if loopback else None, access)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return TestClient(app, base_url=LOCAL, headers=headers, client=(address, 5000))


def post(client: TestClient, **headers: str) -> Any:
    return client.post("/v1/events", json={"events": [EVENT | {"event_id": uuid7()}]}, headers=headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/events"),
        ("POST", "/v1/tracks"),
        ("DELETE", f"/v1/tracks/{TRACK_IDS[0]}"),
        ("PUT", "/v1/anything/new"),
        ("PATCH", "/"),
        ("GET", "/v1/decisions/none"),
        ("GET", "/decisions/none"),
        ("GET", "/admin"),
        ("GET", "/admin/state"),
        ("BREW", "/v1/home"),
    ],
)
def test_writes_records_and_admin_are_refused_without_a_key(tmp_path: Path, method: str, path: str) -> None:
    body = {"content": "{}", "headers": {"Content-Type": "application/json"}} if method != "GET" else {}
    for client in (app_client(tmp_path), app_client(tmp_path, "rsk_0000000000000000_wrong")):
        answer = client.request(method, path, **body)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith('Bearer realm="recsys"')
        assert answer.json()["type"] == "/docs#unauthorized"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/admin%0A",
        "//admin",
        "/admin/",
        "/admin%2F",
        "/%61dmin",
        "/./admin",
        "/x/../admin",
        "/admin;x",
        "/admin?a",
    ],
)
def test_no_spelling_of_a_closed_path_opens_it(tmp_path: Path, path: str) -> None:
    """With an endpoint there: what the router takes for /admin, the rule must take for it too."""
    app = create_app(FakeService(), None, Access.of_home(tmp_path, loopback=True))
    app.add_api_route("/admin", lambda: "inside")
    app.add_api_route("/admin/{name}", lambda name: "inside")
    answer = TestClient(app).get(f"http://testserver{path}", follow_redirects=False)
    assert answer.status_code in (400, 401, 404)
    assert needed("GET", "/admin\n") == needed("GET", "/v1/home\n") == Scope.ADMIN


def test_an_app_without_keys_lets_nobody_write() -> None:
    client = TestClient(create_app(FakeService()))
    assert post(client).status_code == 401
    assert client.get("/v1/home").status_code == 200


@given(
    st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "CONNECT", "FOO"]),
    st.text("abcdefv1/._-", max_size=30).map(lambda text: "/" + text),
)
def test_every_write_needs_a_scope_whatever_its_path(method: str, path: str) -> None:
    assert needed(method, path) is not None  # these letters do not spell the two POSTs that only ask
    if not path.startswith(("/v1/", "/static")):
        assert needed(method, path) == Scope.ADMIN


def test_a_scope_opens_its_own_paths_only() -> None:
    assert needed("POST", "/v1/events") == needed("POST", "/v1/events/batch") == Scope.EVENTS
    assert needed("POST", "/v1/eventsX") == Scope.ADMIN
    assert needed("DELETE", "/v1/tracks/x") == Scope.CATALOG
    assert needed("GET", "/v1/tracks/x") is None
    assert needed("HEAD", "/v1/decisions/x") == Scope.DECISIONS
    assert needed("GET", "/adminX") is None
    assert needed("POST", "/v1/next-up") is None
    assert needed("PUT", "/v1/next-up") == Scope.ADMIN
    assert needed("POST", "/v1/next-up", open_reads=False) == Scope.RECOMMENDATIONS


def test_a_key_may_do_what_its_scopes_say_and_nothing_else(tmp_path: Path) -> None:
    token = KeyFile(tmp_path).create("player", [Scope.EVENTS])
    client = app_client(tmp_path, token)
    assert post(client).status_code == 200
    refused = client.get("/v1/decisions/none")
    assert refused.status_code == 403
    assert 'scope="decisions:read"' in refused.headers["www-authenticate"]
    assert client.get("/v1/home").status_code == 200
    operator = app_client(tmp_path, KeyFile(tmp_path).create("boss", [Scope.ADMIN]))
    assert post(operator).status_code == 200
    assert operator.get("/v1/decisions/none").status_code == 404
    assert operator.post("/v1/home", json={}).status_code == 405


def test_made_and_revoked_keys_are_noticed_by_running_replicas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.0)
    file = KeyFile(tmp_path)
    replicas = [app_client(tmp_path), app_client(tmp_path)]
    assert {post(r).status_code for r in replicas} == {401}
    token = file.create("web", [Scope.EVENTS])
    header = {"Authorization": f"Bearer {token}"}
    assert {post(r, **header).status_code for r in replicas} == {200}
    file.revoke("web")
    assert {post(r, **header).status_code for r in replicas} == {401}
    file.create("web", [Scope.EVENTS])
    file.path.write_text("{")
    assert {post(r, **header).status_code for r in replicas} == {401}


def test_the_file_holds_digests_only_and_is_private(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    operator = file.prepare()
    token = operator.read_text().strip()
    assert token not in file.path.read_text()
    assert token.split("_", 2)[2] not in file.path.read_text()
    assert {stat.S_IMODE(p.stat().st_mode) for p in (operator, file.path)} == {0o600}
    holder = file.book().holder(token)
    assert holder is not None
    assert holder.name == "operator"
    before = os.stat(file.path).st_mtime_ns
    file.prepare()
    assert os.stat(file.path).st_mtime_ns == before


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    book = KeyBook("secret", {})
    assert book.holder(text) is None


def test_a_changed_character_makes_a_token_worthless(tmp_path: Path) -> None:
    token = KeyFile(tmp_path).create("web", [Scope.EVENTS])
    book = KeyFile(tmp_path).book()
    assert book.holder(token) is not None
    for i in range(len(token)):
        changed = token[:i] + ("a" if token[i] != "a" else "b") + token[i + 1 :]
        assert book.holder(changed) is None
    assert book.holder(token + "a") is None


def test_a_bad_name_a_taken_one_and_an_unknown_one_are_said(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.create("web", [Scope.EVENTS])
    for name in ("web", "page", "Web", "a b", ""):
        with pytest.raises(BadInput):
            file.create(name, [Scope.EVENTS])
    with pytest.raises(BadInput, match="needs a scope"):
        file.create("none", [])
    with pytest.raises(BadInput, match="rate"):
        file.create("fast", [Scope.EVENTS], "often")
    with pytest.raises(UnknownId):
        file.revoke("nobody")


def test_reads_can_be_closed_too(tmp_path: Path) -> None:
    closed = app_client(tmp_path, open_reads=False)
    assert closed.get("/v1/home").status_code == 401
    for path in ("/healthz", "/readyz", "/metrics", "/v1/status"):
        assert closed.get(path).status_code == 200
    token = KeyFile(tmp_path).create("web", [Scope.RECOMMENDATIONS])
    assert app_client(tmp_path, token, open_reads=False).get("/v1/home").status_code == 200


def test_settings_come_from_the_environment_and_a_wrong_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_ACCESS_OPEN_READS", "false")
    monkeypatch.setenv("RECSYS_ACCESS_ADDRESS_RATE", "none")
    assert not from_environment().open_reads
    assert from_environment().address_rate is None
    monkeypatch.setenv("RECSYS_ACCESS_KEY_RATE", "often")
    with pytest.raises(BadInput, match=r"RECSYS_ACCESS_KEY_RATE: .*'often' is not a rate"):
        from_environment()


# --- the page's cookie -----------------------------------------------------------------------------------


def visited(root: Path, **options: Any) -> tuple[TestClient, str]:
    """A browser that has opened the page, and its cookie as a header."""
    KeyFile(root).prepare()
    client = app_client(root, **options)
    answer = client.get("/")
    shown = answer.headers.get("set-cookie", "")
    client.cookies.clear()
    return client, shown.split(";")[0]


def test_the_page_may_post_events_and_show_records_and_nothing_else(tmp_path: Path) -> None:
    client, shown = visited(tmp_path)
    own = {"Cookie": shown, "Origin": LOCAL, "Sec-Fetch-Site": "same-origin"}
    assert post(client, **own).status_code == 200
    assert client.get("/decisions/none", headers={"Cookie": shown}).status_code == 404
    assert client.delete(f"/v1/tracks/{TRACK_IDS[0]}", headers=own).status_code == 401
    assert client.get("/admin", headers=own).status_code == 401


def test_the_cookie_is_hidden_from_scripts_and_from_other_sites(tmp_path: Path) -> None:
    KeyFile(tmp_path).prepare()
    header = app_client(tmp_path).get("/").headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in header.split(";")}
    assert "set-cookie" not in app_client(tmp_path).get("/v1/home").headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_the_cookie_is_worth_nothing_to_another_origin(tmp_path: Path, headers: dict[str, str]) -> None:
    client, shown = visited(tmp_path)
    assert post(client, Cookie=shown, **headers).status_code == 401


def test_the_cookie_ends_is_bound_to_its_home_and_can_be_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LOOK_SECONDS", 0.0)
    client, shown = visited(tmp_path / "one")
    other, _ = visited(tmp_path / "two")
    own = {"Origin": LOCAL}
    assert post(client, Cookie=shown, **own).status_code == 200
    assert post(client, Cookie=shown[:-2] + "xx", **own).status_code == 401
    assert post(other, Cookie=shown, **own).status_code == 401
    ended = app_client(tmp_path / "one", page_hours=1e-9)
    import time

    time.sleep(1.1)  # cookies count whole seconds
    assert post(ended, Cookie=shown, **own).status_code == 401
    KeyFile(tmp_path / "one").revoke("page")
    assert post(client, Cookie=shown, **own).status_code == 401


def test_there_is_no_cookie_beyond_loopback_or_where_it_is_switched_off(tmp_path: Path) -> None:
    for options in ({"loopback": False}, {"page": "never"}):
        client, shown = visited(tmp_path, **options)
        assert shown == ""
        assert post(client, Origin=LOCAL).status_code == 401


# --- rates -----------------------------------------------------------------------------------------------


def statuses(client: TestClient, n: int, path: str = "/v1/home?limit=1", **headers: str) -> list[int]:
    with client:  # one event loop for all
        return [client.get(path, headers=headers).status_code for _ in range(n)]


def test_an_address_beyond_its_rate_is_told_when_to_come_back(tmp_path: Path) -> None:
    client = app_client(tmp_path, loopback=False, address_rate="3/hour")
    with client:
        assert [client.get("/healthz").status_code for _ in range(3)] == [200] * 3
        answer = client.get("/healthz")
    assert answer.status_code == 429
    assert answer.json()["type"] == "/docs#too-many-requests"
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    assert answer.headers["ratelimit-policy"] == '"default";q=3;w=3600'
    assert answer.headers["ratelimit"].startswith('"default";r=0;t=')


def test_each_key_has_its_own_count_and_may_have_its_own_rate(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    slow, fast = file.create("slow", [Scope.EVENTS], "2/hour"), file.create("fast", [Scope.EVENTS])
    client = app_client(tmp_path, loopback=False, key_rate="4/hour", address_rate="none")
    with client:
        for token, allowed in ((slow, 2), (fast, 4)):
            got = [post(client, Authorization=f"Bearer {token}").status_code for _ in range(6)]
            assert got == [200] * allowed + [429] * (6 - allowed)
        assert client.get("/v1/home").status_code == 200


def test_guessing_tokens_counts_against_the_address(tmp_path: Path) -> None:
    client = app_client(tmp_path, "rsk_0000000000000000_guess", loopback=False, address_rate="2/hour")
    assert statuses(client, 4, "/v1/decisions/x") == [401, 401, 429, 429]


def test_loopback_is_not_limited_unless_it_is_said(tmp_path: Path) -> None:
    token = KeyFile(tmp_path).create("web", [Scope.EVENTS])
    header = {"Authorization": f"Bearer {token}"}
    options: dict[str, Any] = {"address_rate": "1/hour", "key_rate": "1/hour", "address": "127.0.0.1"}
    assert statuses(app_client(tmp_path, **options), 3) == [200] * 3
    assert statuses(app_client(tmp_path, **options), 3, **header) == [200] * 3
    assert statuses(app_client(tmp_path, limit_loopback=True, **options), 3, **header) == [200, 429, 429]


def test_behind_a_proxy_the_address_it_names_is_counted_and_a_made_up_one_is_not(tmp_path: Path) -> None:
    options: dict[str, Any] = {"address": "127.0.0.1", "address_rate": "1/hour", "proxies": 1}
    client = app_client(tmp_path, loopback=False, **options)
    with client:
        got = [
            client.get("/healthz", headers={"X-Forwarded-For": f"203.0.113.{i}, 198.51.100.9"}).status_code
            for i in range(3)
        ]
    assert got == [200, 429, 429]


def test_addresses_of_one_ipv6_network_share_a_count(tmp_path: Path) -> None:
    access = Access.of_home(tmp_path, False, AccessSettings(address_rate="1/hour"))
    app = create_app(FakeService(), None, access)
    got = [TestClient(app, client=(f"2001:db8::{i}", 1)).get("/healthz").status_code for i in range(2)]
    assert got == [200, 429]
