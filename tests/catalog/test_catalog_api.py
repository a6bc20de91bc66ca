"""The catalog over HTTP, with problem details made by the app as serving does."""

from __future__ import annotations

import pytest
from catalog_world import ARTIST, FREE, LICENSED, UNTIL
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from music.catalog import Catalog, router
from recsys.errors import BadInput, RecsysError, UnknownId
from recsys.ids import public_id

STATUS = {UnknownId: 404, BadInput: 400}


@pytest.fixture
def client(catalog: Catalog) -> TestClient:
    app = FastAPI()
    app.include_router(router(catalog))

    @app.exception_handler(RecsysError)
    def problem(request: Request, error: RecsysError) -> JSONResponse:
        return JSONResponse(
            {"detail": str(error)}, STATUS[type(error)], media_type="application/problem+json"
        )

    return TestClient(app)


def test_a_track_is_answered_with_its_rights_and_names(client: TestClient) -> None:
    body = client.get(f"/v1/tracks/{LICENSED}").json()
    assert body["title"] == "Licensed"
    assert [w["country"] for w in body["availability"]] == ["DE", "JP"]
    assert body["availability"][0]["available_until"] == UNTIL.isoformat().replace("+00:00", "Z")


def test_an_artist_is_answered_with_tracks(client: TestClient) -> None:
    body = client.get(f"/v1/artists/{ARTIST}").json()
    assert body["name"] == "Sløw Dive"
    assert FREE in [t["track_id"] for t in body["tracks"]]


@pytest.mark.parametrize("path", ["tracks", "artists"])
def test_unknown_is_404_and_malformed_is_400(client: TestClient, path: str) -> None:
    assert client.get(f"/v1/{path}/{public_id('test', 'nowhere')}").status_code == 404
    assert client.get(f"/v1/{path}/{'!' * 22}").status_code == 400


def test_the_description_carries_types_and_examples(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/tracks/{track_id}"]["get"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("TrackOut")
    assert "application/problem+json" in operation["responses"]["404"]["content"]
    assert operation["parameters"][0]["schema"]["examples"] or operation["parameters"][0]["examples"]
    title = document["components"]["schemas"]["TrackOut"]["properties"]["title"]
    assert title["examples"] == ["Never Gonna Give You Up"]
