"""`/experiments`: all of them and how they stand; `/experiments/{name}`: the newest stored report of one. For staff."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from experiments.config import Config
from experiments.report.cards import cards
from experiments.report.page import dashboard, page, policy
from experiments.report.shelf import Shelf
from experiments.store import Store
from recsys.errors import UnknownId
from recsys.home import Home
from serving.api.contract import Service
from serving.page.pages import PageRoute
from serving.trials import folder

BOARD = "/experiments"


def router(service: Service) -> APIRouter:
    """Both pages; who may see them is decided by path (serving/access/rules.py)."""
    routes = APIRouter(include_in_schema=False, route_class=PageRoute, default_response_class=HTMLResponse)

    @routes.get(BOARD)
    def board() -> HTMLResponse:
        config, now = running(service.place), datetime.fromtimestamp(time.time(), UTC)
        facts = {"Version of the config": config.version, "As of": f"{now:%Y-%m-%d %H:%M} UTC"}
        error = service.status().get("experiments", {}).get("error")
        if error:
            facts = {"The files have a mistake, and the version below stays": error} | facts
        rows = cards(config, _shelf(service.place), now, lambda name: f"{BOARD}/{quote(name)}")
        return _whole(dashboard(rows, facts, admin="/admin"))

    @routes.get(BOARD + "/{name}")
    def report(name: Annotated[str, Path(max_length=64)]) -> HTMLResponse:
        found = _shelf(service.place).newest(name)
        if found is not None:
            return _whole(page(found, board=BOARD))
        experiment = running(service.place).experiment(name)
        if experiment is None:
            raise UnknownId(f"no experiment has this name; {BOARD} lists them")
        if experiment.is_flag:
            raise UnknownId(f"{name} is a flag: it asks nothing, and has no report")
        raise UnknownId(f"{name} has no report yet; this makes one: recsys experiment report {name}")

    return routes


def running(home: Home) -> Config:
    """The version of the config that ran last here; an empty one before the first."""
    store = Store(folder(home))
    newest = store.newest()
    return Config() if newest is None else store.load(newest.version)


def _shelf(home: Home) -> Shelf:
    return Shelf.of(folder(home))


def _whole(html: str) -> HTMLResponse:
    """A page with its style inside, which the policy of all other pages would refuse."""
    return HTMLResponse(html, headers={"Content-Security-Policy": f"{policy()}; frame-ancestors 'none'"})
