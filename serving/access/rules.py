"""Which right a request needs, by method and path alone: so a new endpoint is closed until a rule opens it."""

from __future__ import annotations

from typing import TypeAlias

from serving.access.keys import Scope

_Rules: TypeAlias = tuple[tuple[tuple[str, ...], Scope], ...]
READS = frozenset({"GET", "HEAD", "OPTIONS"})
STAFF = ("/admin", "/experiments")
"""Pages for operators, which a browser opens with a key as the password."""
_CLOSED: _Rules = (
    (("/v1/decisions", "/decisions"), Scope.DECISIONS),
    ((*STAFF, "/v1/admin", "/v1/listeners", "/v1/erasures"), Scope.ADMIN),
)
"""Paths that need a right whatever the method."""
_WRITES: _Rules = (
    (("/v1/events",), Scope.EVENTS),
    (("/v1/tracks", "/v1/artists", "/v1/albums", "/v1/catalog"), Scope.CATALOG),
)
"""Paths whose writes have a right of their own; every other write needs `admin`."""
_ASKS = ("/v1/continuation", "/v1/next-up")
"""A POST here asks for tracks and changes nothing: a playlist or a queue does not fit into an address."""
_OPERATIONS = ("/healthz", "/readyz", "/metrics", "/static", "/v1/status", "/docs", "/openapi.json")
"""Never closed to readers: supervisors and scrapers call them."""


def needed(method: str, path: str, open_reads: bool = True) -> Scope | None:
    """The scope that a request must have, None where anybody may ask.

    Args:
        path: as the router sees it, percent-decoded; or a route's template.
    """
    if "\n" in path:  # to the router's `$`, a path with a line end is the path without it
        return Scope.ADMIN
    for prefixes, scope in _CLOSED:
        if under(path, prefixes):
            return scope
    if method in READS or (method == "POST" and under(path, _ASKS)):
        return None if open_reads or under(path, _OPERATIONS) else Scope.RECOMMENDATIONS
    for prefixes, scope in _WRITES:
        if under(path, prefixes):
            return scope
    return Scope.ADMIN


def under(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether the path is one of the prefixes or below it; `/v1/eventsX` is not below `/v1/events`."""
    return any(path.startswith(p) and (len(path) == len(p) or path[len(p)] == "/") for p in prefixes)
