"""The ASGI layer that lets recommendation requests in through a gate (serving/shedding.py)."""

from __future__ import annotations

import re
from collections.abc import Callable

from fastapi import FastAPI

from serving.api.edge import App, Message, Receive, Send
from serving.api.problems import OVERLOADED, problem
from serving.shedding import ADMITTED, Admission

TAG = "recommendations"
"""Endpoints of this tag are admitted one by one; all others pass."""


class Shed:
    """The ASGI layer that lets recommendations in through a gate."""

    def __init__(
        self, app: App, paths: re.Pattern[str], gate: Admission, admitted: Callable[[str, float], None]
    ) -> None:
        """`admitted` is told each request's effort (or "refused") and the seconds that it waited."""
        self.app, self.gate, self._paths, self._admitted = app, gate, paths, admitted

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._paths.fullmatch(scope["path"]) is None:
            await self.app(scope, receive, send)
            return
        entered = await self.gate.enter()
        if entered is None:
            self._admitted("refused", 0.0)
            refusal = problem(OVERLOADED, "too many requests are waiting; ask again")
            await refusal(scope, receive, send)
            return
        allowed, delay = entered
        self._admitted(allowed.effort.name.lower(), delay)
        token = ADMITTED.set(allowed)
        try:
            await self.app(scope, receive, send)
        finally:
            ADMITTED.reset(token)
            self.gate.leave()


def limited(app: FastAPI) -> re.Pattern[str]:
    """The paths of an app's recommendation endpoints; call it once all routers are in."""
    found = [
        path
        for path, methods in app.openapi()["paths"].items()
        if any(TAG in operation.get("tags", ()) for operation in methods.values())
    ]
    app.openapi_schema = None  # it is cached; routes may still be added
    fixed = [re.split(r"\{[^}]+\}", path) for path in found]
    return re.compile("|".join("[^/]+".join(re.escape(part) for part in parts) for parts in fixed))
