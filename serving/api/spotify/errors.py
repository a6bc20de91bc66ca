"""Errors under `/spotify/v1` in Spotify's shape, whichever layer of the server they come from.

app.add_middleware(SpotifyErrors)      # outside of every layer that may refuse a request
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson

from serving.api.edge import App, Message, Receive, Send
from serving.api.problems import FAILED
from serving.api.spotify import PREFIX

logger = logging.getLogger(__name__)
_REPLACED = {b"content-type", b"content-length"}


def document(operation: dict[str, Any]) -> None:
    """Says in an operation of the OpenAPI document what its errors look like; changed in place."""
    responses = operation["responses"]
    responses.pop("422", None)
    reference = {"$ref": "#/components/schemas/SpotifyError"}
    for status in [s for s in responses if s.isdigit() and int(s) >= HTTPStatus.BAD_REQUEST]:
        content = {"application/json": {"schema": reference}}
        responses[status] = {"description": HTTPStatus(int(status)).phrase, "content": content}


class SpotifyErrors:
    """Rewrites problem details as {"error": {"status", "message"}}; other headers stay, Retry-After among them.

    A value that is not allowed is 400, as there: Spotify's API knows no 422.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).removeprefix(str(scope.get("root_path", "")))
        if scope["type"] != "http" or not (path + "/").startswith(PREFIX + "/"):
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            await self.app(scope, receive, answer)
        except (
            Exception
        ) as error:  # as problems.py does for every other path: said in the log, not to the outside
            if answer.passed:
                raise
            logger.error("%s %s failed", scope["method"], path, exc_info=error)
            await _send(send, FAILED.status, [], FAILED.title)


class _Answer:
    """Passes successes on as they come, and holds an error back until it is whole."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.passed = False  # whether anything has gone out
        self._refused: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
            self._refused = message
        elif self._refused is None:
            self.passed = True
            await self.send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self.passed = True
                await _send(self.send, self._refused["status"], self._refused["headers"], _told(self._body))


def _told(body: bytes) -> str:
    """What a problem says."""
    try:
        problem = orjson.loads(body)
        return str(problem.get("detail") or problem["title"])
    except (ValueError, AttributeError, KeyError):
        return body.decode("utf-8", "replace")


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], message: str) -> None:
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = int(HTTPStatus.BAD_REQUEST)
    body = orjson.dumps({"error": {"status": status, "message": message}})
    kept = [(name, value) for name, value in headers if name.lower() not in _REPLACED]
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *kept]})
    await send({"type": "http.response.body", "body": body})
