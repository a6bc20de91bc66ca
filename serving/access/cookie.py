"""The page's own right: a signed cookie for the browser that shows the page, on loopback servers only.

It lets the page post events and show decisions, nothing else. It is HttpOnly and SameSite=Strict, and it counts
only in requests that the browser itself marks as coming from our own origin: sites on other ports of this machine
are "same site" to a browser, so SameSite alone would not keep them out.
"""

from __future__ import annotations

import hashlib
from http.cookies import CookieError, SimpleCookie

from itsdangerous import BadSignature, TimestampSigner

from serving.access.keys import PAGE, KeyBook, Scope
from serving.access.rules import READS

SCOPES = frozenset({Scope.EVENTS, Scope.DECISIONS})


def issue(book: KeyBook, hours: float, secure: bool) -> str:
    """The value of a Set-Cookie header."""
    value = _signer(book).sign(PAGE).decode()
    age = int(hours * 3600)
    rest = f"Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
    return f"{_name(book)}={value}; {rest}"


def valid(book: KeyBook, header: str, hours: float) -> bool:
    """Whether a Cookie header holds a cookie of ours that has not ended."""
    if not book.page_secret:
        return False
    try:
        morsel = SimpleCookie(header).get(_name(book))
        return morsel is not None and _signer(book).unsign(morsel.value, int(hours * 3600)) == PAGE.encode()
    except (BadSignature, CookieError):
        return False


def from_own_origin(method: str, scheme: str, headers: dict[bytes, bytes]) -> bool:
    """Whether the browser says that one of our own pages asks; a write must say so, a read may say nothing."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    own = scheme.encode() + b"://" + headers.get(b"host", b"")
    if site is not None and site not in (b"same-origin", b"none"):
        return False
    if origin is not None:
        return origin == own
    return method in READS or site == b"same-origin"


def _signer(book: KeyBook) -> TimestampSigner:
    return TimestampSigner(book.page_secret, salt="recsys.page", digest_method=hashlib.sha256)


def _name(book: KeyBook) -> str:
    """Cookies do not know ports: two servers on one machine must not share a name."""
    return "recsys_page_" + hashlib.sha256(book.page_secret.encode()).hexdigest()[:8]
