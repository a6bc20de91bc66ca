"""The ASGI layer that asks for a right and counts rates before anything else is done; `Access` configures it.

create_app(service, hosts, Access.of_home(home.root, loopback=True))     # a server
create_app(service, access=UNGUARDED)                                    # in-process: every caller has every right
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path

from fastapi import Response
from limits import RateLimitItem

from recsys.engine_urls import EngineUrls
from recsys.errors import BadInput
from serving.access import cookie
from serving.access.keys import PAGE, KeyBook, KeyFile, Scope
from serving.access.rates import Rates
from serving.access.rules import READS, STAFF, needed, under
from serving.access.settings import AccessSettings, parse_rate
from serving.api.edge import App, Message, Receive, Send
from serving.api.problems import FORBIDDEN, TOO_MANY, UNAUTHORIZED, problem

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
_rate = cache(parse_rate)


class Watched:
    """The key book of a file, read again when the file changes; looked at once a second at most."""

    def __init__(self, file: KeyFile) -> None:
        self._file, self._book = file, KeyBook()
        self._seen: tuple[int, ...] | None = None
        self._next_look = 0.0

    def __call__(self) -> KeyBook:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            stamp = _stamp(self._file.path)
            if stamp != self._seen:
                self._seen, self._book = stamp, self._read()
        return self._book

    def _read(self) -> KeyBook:
        try:
            return self._file.book()
        except BadInput as error:  # a damaged file opens nothing
            logger.error("no key is accepted: %s", error)
            return KeyBook()


@dataclass(frozen=True)
class Access:
    """How one server is guarded. The default lets nobody write."""

    keys: Callable[[], KeyBook] = KeyBook
    settings: AccessSettings = field(default_factory=AccessSettings)
    loopback: bool = False
    redis_url: str = ""
    guarded: bool = True

    @classmethod
    def of_home(cls, root: Path, loopback: bool, settings: AccessSettings | None = None) -> Access:
        """The keys of a home; rates are shared in Redis where the listener states are."""
        state = EngineUrls.of(root).state.partition("#")[0]  # without the prefix of this home's keys
        return cls(Watched(KeyFile(root)), settings or AccessSettings(), loopback, state)


CLOSED = Access()
UNGUARDED = Access(guarded=False)


@dataclass(frozen=True)
class Caller:
    """Who asks: by key or cookie, or an address only."""

    name: str | None  # None: nobody we know
    scopes: frozenset[Scope] = frozenset()
    rate: str | None = None
    invalid: bool = False  # it showed a token that is no key

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


_ANYBODY = Caller(None)


class Gate:
    """401 without a valid key where one is needed, 403 where it lacks the scope, 429 beyond the rate."""

    def __init__(self, app: App, access: Access) -> None:
        self.app, self.access = app, access
        self._rates = Rates(access.redis_url)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.access.guarded:
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        need = needed(scope["method"], _path(scope), self.access.settings.open_reads)
        caller = self._caller(scope, headers, need)
        refusal = await self._beyond(scope, headers, caller) or _refused(
            caller, need, _browser(scope, headers)
        )
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, self._with_cookie(scope, send) if self._page else send)

    @property
    def _page(self) -> bool:
        return self.access.loopback and self.access.settings.page == "loopback"

    def _caller(self, scope: Message, headers: dict[bytes, bytes], need: Scope | None) -> Caller:
        token = _token(headers.get(b"authorization", b""))
        if token is None and need == Scope.ADMIN and scope["method"] in READS:
            token = _basic(scope, headers)
        if token is not None:
            key = self.access.keys().holder(token)
            return (
                Caller(None, invalid=True)
                if key is None
                else Caller(key.name, frozenset(key.scopes), key.rate)
            )
        shown = headers.get(b"cookie")
        if need in cookie.SCOPES and shown is not None and self._page:
            hours = self.access.settings.page_hours
            if cookie.from_own_origin(scope["method"], scope["scheme"], headers) and cookie.valid(
                self.access.keys(), shown.decode("latin-1"), hours
            ):
                return Caller(PAGE, cookie.SCOPES)
        return _ANYBODY

    async def _beyond(self, scope: Message, headers: dict[bytes, bytes], caller: Caller) -> Response | None:
        rate, who = self._rate_of(scope, headers, caller)
        exceeded = await self._rates.count(rate, who) if rate is not None else None
        if exceeded is None:
            return None
        detail = f"more than {exceeded.rate}; ask again after {exceeded.retry_seconds} s"
        return problem(TOO_MANY, detail, headers=exceeded.headers())

    def _rate_of(
        self, scope: Message, headers: dict[bytes, bytes], caller: Caller
    ) -> tuple[RateLimitItem | None, str]:
        settings = self.access.settings
        if caller.name is not None and caller.name != PAGE:
            text = caller.rate or settings.key_rate
            on = caller.rate is not None or not self.access.loopback or settings.limit_loopback
            return _rate(text) if text and on else None, f"key:{caller.name}"
        if settings.address_rate is None:
            return None, ""
        address = _address(scope, headers, settings.proxies)
        return (_rate(settings.address_rate), f"address:{address}") if address else (None, "")

    def _with_cookie(self, scope: Message, send: Send) -> Send:
        """Pages take the page's right along."""

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                kind = next((v for n, v in message["headers"] if n.lower() == b"content-type"), b"")
                book = self.access.keys()
                if kind.startswith(b"text/html") and book.page_secret:
                    value = cookie.issue(book, self.access.settings.page_hours, scope["scheme"] == "https")
                    message["headers"] = [*message["headers"], (b"set-cookie", value.encode())]
            await send(message)

        return sender


def _refused(caller: Caller, need: Scope | None, asks_browser: bool = False) -> Response | None:
    if need is None or caller.may(need):
        return None
    if caller.name is None:
        wrong = ', error="invalid_token"' if caller.invalid else ""
        detail = (
            "this key is not known, or was revoked" if caller.invalid else f"this needs a key with {need}"
        )
        challenge = {"WWW-Authenticate": f'Bearer realm="recsys"{wrong}'}
        if asks_browser:
            challenge = {"WWW-Authenticate": 'Basic realm="recsys: any name, and a key as the password"'}
        return problem(UNAUTHORIZED, f"{detail}; send it as Authorization: Bearer KEY", headers=challenge)
    challenge = {"WWW-Authenticate": f'Bearer realm="recsys", error="insufficient_scope", scope="{need}"'}
    return problem(FORBIDDEN, f"the key {caller.name!r} lacks the scope {need}", headers=challenge)


def _token(header: bytes) -> str | None:
    """What an Authorization header of the Bearer scheme carries; None without one."""
    scheme, _, token = header.partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


def _basic(scope: Message, headers: dict[bytes, bytes]) -> str | None:
    """The key that a browser sends as the password, for pages of ours that it opens itself."""
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic" or not cookie.from_own_origin(scope["method"], scope["scheme"], headers):
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2].strip()
    except ValueError:
        return None


def _browser(scope: Message, headers: dict[bytes, bytes]) -> bool:
    """Whether a person opens a page for operators: the browser then asks for the key itself."""
    page = under(_path(scope), STAFF) and scope["method"] in READS
    return page and b"text/html" in headers.get(b"accept", b"")


def _path(scope: Message) -> str:
    """The path as the router sees it: below the path that the server itself is mounted at."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _address(scope: Message, headers: dict[bytes, bytes], proxies: int) -> str | None:
    """Whom to count: an IPv4 address or an IPv6 /64; None for loopback, which stands for a proxy or for us."""
    shown = scope["client"][0] if scope.get("client") else ""
    if proxies:
        hops = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        shown = hops[-proxies].strip() if len(hops) >= proxies else shown
    try:
        address = ip_address(shown)
    except ValueError:
        return None
    if address.is_loopback:
        return None
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
