"""Whatever refuses a request under the drop-in's prefix, the answer has Spotify's shape; elsewhere it is a problem."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient

from recsys.errors import LogUnavailable, NotReady, UnknownId
from serving.access.gate import Access
from serving.access.keys import KeyFile, Scope
from serving.access.settings import AccessSettings
from serving.api import problems
from serving.api.app import create_app
from serving.api.problems import Kind, problem
from serving.api.shed import limited
from serving.api.spotify import shapes
from serving.api.spotify.errors import SpotifyErrors

if TYPE_CHECKING:
    from serving.service import Service


@pytest.fixture
def client() -> TestClient:
    """Routes that fail in every way, once under the prefix and once beside it."""
    app = FastAPI()
    problems.install(app)
    for prefix in ("/spotify/v1", "/v1"):

        @app.get(prefix + "/not-ready")
        def not_ready() -> None:
            raise NotReady("no release is loaded")

        @app.get(prefix + "/log")
        def log() -> None:
            raise LogUnavailable("the disk is full")

        @app.get(prefix + "/unknown")
        def unknown() -> None:
            raise UnknownId("no such track")

        @app.get(prefix + "/fault")
        def fault() -> None:
            raise RuntimeError("a secret of the inside")

        @app.get(prefix + "/number")
        def number(limit: int) -> dict[str, int]:
            return {"limit": limit}

        @app.get(prefix + "/denied")
        def denied() -> Response:
            answer = problem(Kind("unauthorized", 401, "This needs a valid key"), "send a key")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer

        @app.get(prefix + "/plain")
        def plain() -> Response:
            return Response("upstream is gone", 502, media_type="text/plain")

    app.add_middleware(SpotifyErrors)
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("not-ready", 503, "no release is loaded"),
        ("log", 503, "the disk is full"),
        ("unknown", 404, "no such track"),
        (
            "number?limit=x",
            400,
            "query.limit: Input should be a valid integer, unable to parse string as an integer",
        ),
        ("denied", 401, "send a key"),
        ("fault", 500, "The server failed; the fault is in its log"),
        ("plain", 502, "upstream is gone"),
        ("no-such-path", 404, "Not Found"),
    ],
)
def test_errors_have_spotifys_shape(client: TestClient, path: str, status: int, message: str) -> None:
    answer = client.get(f"/spotify/v1/{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert shapes.SpotifyError.model_validate(answer.json()).error.model_dump() == {
        "status": status,
        "message": message,
    }


def test_what_else_an_error_says_stays(client: TestClient) -> None:
    assert client.get("/spotify/v1/not-ready").headers["retry-after"] == str(problems.RETRY_SECONDS)
    assert client.get("/spotify/v1/denied").headers["www-authenticate"] == "Bearer"


def test_a_success_passes_untouched(client: TestClient) -> None:
    assert client.get("/spotify/v1/number?limit=3").json() == {"limit": 3}


@pytest.mark.parametrize("path", ["not-ready", "unknown", "fault", "number?limit=x"])
def test_other_paths_keep_their_problems(client: TestClient, path: str) -> None:
    answer = client.get(f"/v1/{path}")
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    assert "error" not in answer.json()


def test_where_reads_need_a_key_the_token_is_that_key(tiny_service: Service, tmp_path: Path) -> None:
    token = KeyFile(tmp_path).create("player", [Scope.RECOMMENDATIONS])
    access = Access(KeyFile(tmp_path).book, AccessSettings(open_reads=False))
    closed = TestClient(create_app(tiny_service, access=access))
    path = "/spotify/v1/recommendations?seed_genres=pop&limit=1"
    for headers in ({}, {"Authorization": "Bearer any-token"}):
        answer = closed.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert shapes.SpotifyError.model_validate(answer.json()).error.status == 401
    answer = closed.get(path, headers={"Authorization": f"Bearer {token}"})
    assert len(answer.json()["tracks"]) == 1
    tiny_service.observers.clear()


def test_recommendations_are_shed_under_load_and_look_ups_are_not(tiny_service: Service) -> None:
    paths = limited(create_app(tiny_service))
    tiny_service.observers.clear()
    assert paths.fullmatch("/spotify/v1/recommendations")
    assert paths.fullmatch(f"/spotify/v1/artists/{'A' * 22}/related-artists")
    assert not paths.fullmatch(f"/spotify/v1/artists/{'A' * 22}")
    assert not paths.fullmatch("/spotify/v1/tracks")
