"""What every request passes first: host check, body limit and response headers, as one plain ASGI layer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from fastapi import HTTPException, Response

from serving.api.problems import NOT_JSON, TOO_LARGE, WRONG_HOST, problem

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY = 2 * 1024 * 1024
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class Edge:
    """Refuses foreign host names (against DNS rebinding), large bodies, and bodies that are not JSON.

    A cross-site page cannot post JSON without a CORS preflight, which nothing here answers; so the JSON
    rule is also what keeps other sites from posting events in a listener's name.
    """

    def __init__(self, app: App, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.hosts = hosts  # None: any host name

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        await self.app(scope, _limited(receive), _with_headers(send))

    def _refusal(self, scope: Message) -> Response | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self.hosts is not None and not {host, host.rsplit(":", 1)[0]} & self.hosts:
            return problem(WRONG_HOST, "call the server by the address it printed when it started")
        if int(headers.get(b"content-length", b"0")) > MAX_BODY:
            return problem(TOO_LARGE, "send the events in smaller batches")
        media = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if scope["method"] == "POST" and media != b"application/json":
            return problem(NOT_JSON, "send the header Content-Type: application/json")
        return None


def _limited(receive: Receive) -> Receive:
    """A body without (or with a false) Content-Length is counted while the app reads it."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise HTTPException(TOO_LARGE.status)
        return message

    return limited


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(h for h in HEADERS if h[0] not in present)]
        await send(message)

    return sender
