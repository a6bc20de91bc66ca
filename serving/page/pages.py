"""Server-rendered pages over the same service as the API: home, station, decision.

`/page/...` gives the changing part alone, which static/app.js swaps in after an event.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from recsys.errors import RecsysError, UnknownId
from recsys.schemas import Surface
from recsys.types import Ask, Context
from serving.api.contract import Service
from serving.api.problems import status_of
from serving.api.schemas import Cursor, Dial, Seed, User, context
from serving.page.render import render

HOME_LIMIT = 10
RADIO_LIMIT = 10
PICKER = 12
Situation = Annotated[Context, Depends(context)]


def static_files() -> StaticFiles:
    """The page's style and script."""
    return StaticFiles(directory=FilePath(__file__).parent / "static")


class PageRoute(APIRoute):
    """A route whose errors are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def with_error_page(request: Request) -> Response:
            try:
                return await handler(request)
            except (RecsysError, RequestValidationError) as error:
                status, detail = status_of(error)
                return HTMLResponse(render("error.html", status=status, detail=detail), status)

        return with_error_page


def router(service: Service) -> APIRouter:
    """The pages over one service."""
    routes = APIRouter(include_in_schema=False, route_class=PageRoute, default_response_class=HTMLResponse)

    def home_page(template: str, user_id: str | None, situation: Context, **values: Any) -> HTMLResponse:
        answer = service.recommend(Ask(Surface.HOME, user_id, HOME_LIMIT, situation))
        facts = {"answer": answer, "user_id": answer["user_id"], "is_new": user_id is None}
        return HTMLResponse(render(template, **facts, **values))

    def station(
        template: str,
        seed: str,
        cursor: str | None,
        user_id: str | None,
        situation: Context,
        dial: float | None = None,
    ) -> HTMLResponse:
        options = {} if dial is None else {"dial": dial}
        answer = service.recommend(
            Ask(Surface.RADIO, user_id, RADIO_LIMIT, situation, seed=seed, cursor=cursor, options=options)
        )
        facts = {"answer": answer, "user_id": answer["user_id"], "label": seed_label(service, seed)}
        return HTMLResponse(render(template, **facts))

    @routes.get("/")
    def home(situation: Situation, user_id: User = None) -> HTMLResponse:
        return home_page("home.html", user_id, situation, listeners=service.listeners(PICKER))

    @routes.get("/page/home")
    def home_part(situation: Situation, user_id: User = None) -> HTMLResponse:
        return home_page("_home.html", user_id, situation)

    @routes.get("/radio")
    def radio(
        situation: Situation, seed: Seed, cursor: Cursor = None, user_id: User = None, dial: Dial = None
    ) -> HTMLResponse:
        return station("radio.html", seed, cursor, user_id, situation, dial)

    @routes.get("/page/radio")
    def radio_part(
        situation: Situation, seed: Seed, cursor: Cursor = None, user_id: User = None
    ) -> HTMLResponse:
        return station("_radio.html", seed, cursor, user_id, situation)

    @routes.get("/decisions/{request_id}")
    def decision(request_id: Annotated[str, Path(max_length=64)]) -> HTMLResponse:
        record = service.decision(request_id)
        slots = [slot | _names(service, slot["track_id"]) for slot in record["slots"]]
        facts = {"decision": record, "slots": slots, "user_id": record["user_id"]}
        return HTMLResponse(render("decision.html", **facts))

    return routes


def seed_label(service: Service, seed: str) -> str:
    """What a station is called: by its track, artist, genre or words, or by the tracks that it starts from."""
    kind, _, ids = seed.partition(":")
    if kind in ("genre", "words"):
        return ids.strip()
    if kind == "album":
        return "Album"
    if kind == "artist":
        return str(service.catalog.artist(ids)["name"] or "An artist")
    if kind == "track":
        return _names(service, ids)["title"]
    return f"{len(ids.split(','))} tracks"


def _names(service: Service, track_id: str) -> dict[str, str]:
    """Title and artist of a track; a track that left the catalog since is shown by its id."""
    try:
        track = service.catalog.track(track_id)
    except UnknownId:
        return {"title": track_id, "artist_name": "no longer in the catalog"}
    return {"title": track["title"] or "Untitled", "artist_name": (track["artist"] or {}).get("name") or ""}
