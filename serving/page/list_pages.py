"""The page of a listener's lists: mixes, discovery, release radar, and more like what was finished last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from recsys.schemas import Surface
from recsys.types import Ask, Context
from serving.api.contract import Service
from serving.api.schemas import User, context
from serving.page.pages import PageRoute
from serving.page.render import render

LIMIT = 12
Situation = Annotated[Context, Depends(context)]


@dataclass(frozen=True)
class Shown:
    """One list as the page shows it; `shelves` as in a home answer."""

    title: str
    note: str
    answer: dict[str, Any]
    shelves: list[dict[str, Any]]


def router(service: Service) -> APIRouter:
    """The page and its changing part."""
    routes = APIRouter(include_in_schema=False, route_class=PageRoute, default_response_class=HTMLResponse)

    def page(template: str, user_id: str | None, situation: Context) -> HTMLResponse:
        lists = shown(service, user_id, situation)
        facts = {"lists": lists, "user_id": lists[0].answer["user_id"], "is_new": user_id is None}
        return HTMLResponse(render(template, **facts))

    @routes.get("/lists")
    def lists(situation: Situation, user_id: User = None) -> HTMLResponse:
        return page("lists.html", user_id, situation)

    @routes.get("/page/lists")
    def part(situation: Situation, user_id: User = None) -> HTMLResponse:
        return page("_lists.html", user_id, situation)

    return routes


def shown(service: Service, user_id: str | None, situation: Context) -> list[Shown]:
    """The lists of one listener; somebody new keeps the id that the first answer gave."""
    mixes = service.recommend(Ask(Surface.DAILY_MIX, user_id, LIMIT, situation))
    user_id = mixes["user_id"]
    rows = [Shown("Daily mixes", f"{kept(mixes)}, the same all day", mixes, mixes["mixes"])]
    for surface, title, note in (
        (Surface.DISCOVERY, "Discovery", "not heard before, the same all week"),
        (Surface.RELEASE_RADAR, "Release radar", "what came out lately, the same all day"),
        (Surface.BECAUSE, "", "what you finished last"),
    ):
        answer = service.recommend(Ask(surface, user_id, LIMIT, situation))
        title = title or answer["title"]
        note = f"{kept(answer)}, {note}" if "period" in answer else note
        shelf = {"id": surface.value, "title": title, "items": answer["items"]}
        rows.append(Shown(title, note, answer, [shelf]))
    return rows


def kept(answer: dict[str, Any]) -> str:
    """For which day or week a list is, and whether something has left it since."""
    gone = f", {answer['dropped']} no longer shown" if answer["dropped"] else ""
    return f"{answer['period']}{gone}"
