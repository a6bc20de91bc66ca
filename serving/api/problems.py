"""Errors as problem details (RFC 9457): every answer that is not a success has this one shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from recsys.errors import (
    BadInput,
    Erased,
    LogUnavailable,
    NotReady,
    RecsysError,
    ReleaseRefused,
    StoreUnavailable,
    UnknownId,
)
from recsys.pipeline import PipelineFailed
from serving.watch.facts import FACTS

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2


@dataclass(frozen=True)
class Kind:
    """One type of problem; `/docs#NAME` explains it."""

    name: str
    status: int
    title: str
    retry: bool = False


BAD_INPUT = Kind("bad-input", 400, "The request cannot be used as it is")
WRONG_HOST = Kind("wrong-host", 400, "This host name is not served here")
UNAUTHORIZED = Kind("unauthorized", 401, "This needs a valid key")
FORBIDDEN = Kind("forbidden", 403, "This key may not do that")
UNKNOWN_ID = Kind("unknown-id", 404, "Nothing here has that id")
ERASED = Kind("erased", 410, "Its listener was erased")
TOO_LARGE = Kind("too-large", 413, "The request body is too large")
NOT_JSON = Kind("not-json", 415, "The request body is not of the type that is taken here")
INVALID = Kind("invalid", 422, "A field has a value that is not allowed")
TOO_MANY = Kind("too-many-requests", 429, "More requests than this caller may make")
HEADERS_TOO_LARGE = Kind("headers-too-large", 431, "The request's headers are too large")
FAILED = Kind("failed", 500, "The server failed; the fault is in its log")
NOT_READY = Kind("not-ready", 503, "The server cannot answer yet", retry=True)
OVERLOADED = Kind("overloaded", 503, "More requests are waiting than can be answered", retry=True)
LOG_UNAVAILABLE = Kind("log-unavailable", 503, "Events cannot be made durable now", retry=True)
KINDS = (
    BAD_INPUT,
    WRONG_HOST,
    UNAUTHORIZED,
    FORBIDDEN,
    UNKNOWN_ID,
    ERASED,
    TOO_LARGE,
    NOT_JSON,
    INVALID,
    TOO_MANY,
    HEADERS_TOO_LARGE,
    FAILED,
    NOT_READY,
    OVERLOADED,
    LOG_UNAVAILABLE,
)

_OF_ERROR: dict[type[RecsysError], Kind] = {
    BadInput: BAD_INPUT,
    UnknownId: UNKNOWN_ID,
    Erased: ERASED,
    NotReady: NOT_READY,
    ReleaseRefused: NOT_READY,
    PipelineFailed: NOT_READY,
    StoreUnavailable: NOT_READY,
    LogUnavailable: LOG_UNAVAILABLE,
}


def problem(kind: Kind, detail: str, headers: Mapping[str, str] | None = None, **extra: Any) -> Response:
    """The answer for one problem; `extra` members stand beside the standard ones."""
    body = {"type": f"/docs#{kind.name}", "title": kind.title, "status": kind.status, "detail": detail}
    retry = {"Retry-After": str(RETRY_SECONDS)} if kind.retry else {}
    return _response(kind.status, body | extra, {**retry, **(headers or {})})


def install(app: FastAPI) -> None:
    """Makes every error of the app, its router and its validation a problem."""
    app.add_exception_handler(RecsysError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def status_of(error: RecsysError | RequestValidationError) -> tuple[int, str]:
    """The status and the one-line detail of an error, for pages."""
    if isinstance(error, RequestValidationError):
        return INVALID.status, _detail(error)
    return _kind(error).status, str(error)


def _kind(error: Exception) -> Kind:
    return next((kind for base, kind in _OF_ERROR.items() if isinstance(error, base)), FAILED)


def _detail(error: RequestValidationError) -> str:
    return "; ".join(f"{_where(e)}: {e['msg']}" for e in error.errors()[:3])


def _where(error: Mapping[str, Any]) -> str:
    """The field, in short: the name of one that is too many is the sender's own text."""
    return ".".join(str(part) for part in error["loc"])[:200].encode("utf-8", "replace").decode()


def _known(request: Request, error: Exception) -> Response:
    kind = _kind(error)
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        facts = FACTS.get()
        if facts is not None:
            facts.failure = type(error).__name__
        logger.error("%s %s: %s", request.method, _route(request), error)
    return problem(kind, str(error), instance=request.url.path)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"where": _where(e), "message": e["msg"]} for e in error.errors()[:20]]
    malformed = any(e["type"] == "json_invalid" for e in error.errors())
    return problem(
        BAD_INPUT if malformed else INVALID, _detail(error), instance=request.url.path, errors=errors
    )


def _http(request: Request, error: Exception) -> Response:
    """Errors that the framework raises itself: no such path, method not allowed, unreadable body."""
    assert isinstance(error, HTTPException)
    if error.status_code == BAD_INPUT.status:
        return problem(BAD_INPUT, str(error.detail), instance=request.url.path)
    if error.status_code == TOO_LARGE.status:
        return problem(TOO_LARGE, "send the events in smaller batches", instance=request.url.path)
    status = HTTPStatus(error.status_code)
    body = {"type": "about:blank", "title": status.phrase, "status": int(status)}
    body |= {"detail": str(error.detail), "instance": request.url.path}
    return _response(int(status), body, error.headers or {})


def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, _route(request), exc_info=error)
    return problem(FAILED, "an unexpected error; nothing more is said to the outside")


def _route(request: Request) -> str:
    """The route's template: a path may hold a listener's id, and whatever else a caller puts there."""
    return str(getattr(request.scope.get("route"), "path", "unmatched"))


def _response(status: int, body: dict[str, Any], headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(body), status, media_type=MEDIA_TYPE, headers=dict(headers))
