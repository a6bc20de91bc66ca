"""What every request passes first: host check, body limit, its time and response headers, as one plain ASGI layer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from fastapi import HTTPException, Response

from recsys.errors import BadInput
from serving.api.problems import BAD_INPUT, HEADERS_TOO_LARGE, NOT_JSON, TOO_LARGE, WRONG_HOST, problem
from serving.clock import NOW, told

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY = 2 * 1024 * 1024
MAX_HEADERS = 32 * 1024
MAX_TARGET = 24 * 1024
BATCH_PATH, MAX_BATCH_BODY = "/v1/events/batch", 16 * 1024 * 1024
JSON, NDJSON = b"application/json", b"application/x-ndjson"
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
    """Refuses foreign host names (against DNS rebinding), large requests, and bodies that are not JSON.

    A cross-site page cannot post JSON (or NDJSON, to the one endpoint that takes it) without a CORS preflight,
    which nothing here answers; so this rule also keeps other sites from posting events in a listener's name.
    """

    def __init__(self, app: App, hosts: frozenset[str] | None, simulated_clock: bool = False) -> None:
        self.app = app
        self.hosts = hosts  # None: any host name
        self._simulated = simulated_clock  # whether callers may set the time

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            refusal, now = self._refusal(scope), told(scope["headers"], self._simulated)
        except BadInput as error:
            refusal, now = problem(BAD_INPUT, str(error)), None
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        token = NOW.set(now)
        try:
            await self.app(scope, _limited(receive, _largest(scope)), _with_headers(send))
        finally:
            NOW.reset(token)

    def _refusal(self, scope: Message) -> Response | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self.hosts is not None and not {host, host.rsplit(":", 1)[0]} & self.hosts:
            return problem(WRONG_HOST, "call the server by the address it printed when it started")
        if any(character < " " for character in scope["path"]):
            return problem(BAD_INPUT, "a path has no control characters")
        return _too_large(scope, headers) or _wrong_media(scope, headers)


def _largest(scope: Message) -> int:
    return MAX_BATCH_BODY if scope["path"] == BATCH_PATH else MAX_BODY


def _too_large(scope: Message, headers: dict[bytes, bytes]) -> Response | None:
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 18:
        return problem(BAD_INPUT, "Content-Length must be a number of bytes")
    if int(length) > _largest(scope):
        return problem(TOO_LARGE, "send the events in smaller batches")
    target = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
    if target > MAX_TARGET or sum(len(n) + len(v) for n, v in scope["headers"]) > MAX_HEADERS:
        return problem(HEADERS_TOO_LARGE, "send a shorter address, and fewer or shorter headers")
    return None


def _wrong_media(scope: Message, headers: dict[bytes, bytes]) -> Response | None:
    batch = scope["path"] == BATCH_PATH
    has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    media = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    wanted = NDJSON if batch else JSON
    if has_body and media != wanted:
        return problem(NOT_JSON, f"send the header Content-Type: {wanted.decode()}")
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding != b"identity" and not (batch and coding == b"gzip"):
        return problem(
            NOT_JSON, f"a compressed body is taken at {BATCH_PATH} only, as Content-Encoding: gzip"
        )
    return None


def _limited(receive: Receive, largest: int) -> Receive:
    """A body without (or with a false) Content-Length is counted while the app reads it."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > largest:
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
