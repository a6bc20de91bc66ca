"""`/admin`: the live state of one replica for operators; `/admin/live` gives the changing part alone."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from serving.api.contract import Service
from serving.page.render import render
from serving.watch.drift import ACT, LEAST, WATCH
from serving.watch.watching import Watching

MINUTES = 5
TOP = 8
STAGES = 14
MS_PER_DAY = 86_400_000


def router(service: Service, watching: Watching) -> APIRouter:
    """The page and its changing part; who may see them is decided by path (serving/access/rules.py)."""
    routes = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    def page(template: str) -> HTMLResponse:
        return HTMLResponse(render(template, **view(service.status(), watching)))

    @routes.get("/admin")
    def admin() -> HTMLResponse:
        return page("admin.html")

    @routes.get("/admin/live")
    def live() -> HTMLResponse:
        return page("_admin.html")

    return routes


def view(status: dict[str, Any], watching: Watching) -> dict[str, Any]:
    """What the template shows, from the service's status and the last minutes' figures."""
    now = time.time_ns() // 1_000_000
    recent = watching.recent.report(MINUTES)
    recent["stages"] = dict(list(recent["stages"].items())[:STAGES])
    return {
        "now": now,
        "replica": None if watching.board is None else watching.board.number,
        "status": status,
        "lags": lags(status),
        "releases": releases(status.get("releases", {}), now),
        "recent": recent,
        "rungs": {surface: shares(counts) for surface, counts in recent["rungs"].items()},
        "line": points(recent["line"]),
        "peak": max(recent["line"], default=0.0),
        "drift": {alias: drifted(told) for alias, told in status.get("drift", {}).items()},
        "least": LEAST,
        "breakers": breakers(status.get("releases", {})),
    }


def lags(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Each lag with its unit, and whether it is one to look at."""
    freshness = status.get("freshness", {})
    catalog = status.get("catalog", {})
    rows = [
        ("Lake behind the log", status.get("lake_lag"), "records", 100_000),
        ("States behind the log", status.get("state_lag"), "records", 1_000),
        ("Event to state", freshness["seconds"] if freshness.get("count") else None, "s", 1.0),
        ("Answers not logged", status.get("unlogged"), "answers", 0),
        ("Catalog unreadable", catalog.get("failures"), "times", 0),
        ("State store failures", status.get("state_store", {}).get("failures"), "times", 0),
    ]
    return [
        {"name": name, "value": value, "unit": unit, "bad": value > limit}
        for name, value, unit, limit in rows
        if isinstance(value, int | float)
    ]


def releases(told: dict[str, Any], now: int) -> list[dict[str, Any]]:
    """One row an alias, and one a refused version."""
    until = told.get("until", {})
    rows = [
        {
            "alias": alias,
            "version": version,
            "digest": told.get("loaded", {}).get(version, ""),
            "days": (now - until[alias]) / MS_PER_DAY if alias in until else None,
            "refused": "",
        }
        for alias, version in sorted(told.get("aliases", {}).items())
    ]
    refused = told.get("refused", {}).items()
    return rows + [
        {"alias": "refused", "version": v, "digest": "", "days": None, "refused": why} for v, why in refused
    ]


def shares(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Rungs of one surface in falling order, with where each one's bar begins and how long it is (percent)."""
    total, at, rows = sum(counts.values()), 0.0, []
    for rung, n in sorted(counts.items(), key=lambda kv: -kv[1]):
        width = 100 * n / total
        rows.append({"rung": rung, "count": n, "at": at, "width": width, "share": n / total})
        at += width
    return rows


def points(line: list[float]) -> str:
    """A polyline of a rate over time in a box of 100 x 30."""
    top = max(*line, 1e-9) if len(line) > 1 else 1.0
    step = 100 / max(len(line) - 1, 1)
    return " ".join(f"{i * step:.2f},{29 - 28 * value / top:.2f}" for i, value in enumerate(line))


def drifted(told: dict[str, Any]) -> dict[str, Any]:
    """The features and scores that moved most; `level` is ok, watch or act."""
    both = {**told["features"], **{f"score: {n}": v for n, v in told["scores"].items()}}
    top = sorted(both.items(), key=lambda kv: -kv[1]["psi"])[:TOP]
    rows = [{"name": name, "level": level(of["psi"]), **of} for name, of in top]
    return {"answers": told["answers"], "reference": told["reference"], "rows": rows}


def level(value: float) -> str:
    """A PSI in one word."""
    return "act" if value > ACT else "watch" if value > WATCH else "ok"


def breakers(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Parts that overran their time, of every loaded release."""
    return [
        {"release": version, "part": part, **facts}
        for version, parts in told.get("overran", {}).items()
        for part, facts in parts.items()
    ]
