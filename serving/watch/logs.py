"""Log lines without personal data, as text or JSON, on standard error.

    configure(LogSettings())                # RECSYS_LOG_FORMAT=json, RECSYS_LOG_LEVEL=INFO

Each line carries the route, trace and request id of the request it belongs to. Ids of listeners and tracks,
addresses, query strings and quoted text never reach it: an exception is told by its type, and where it was
raised, since its text may repeat what a caller sent.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Literal, TextIO, TypeAlias

import orjson
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.environment import read_settings
from serving.watch.facts import FACTS

_Raised: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]
_PRIVATE = re.compile(
    r"""(?P<quoted>'[^']*'|"[^"]*"|`[^`]*`)"""
    r"|(?P<query>\?\S+)"
    r"|(?P<mail>\S+@\S+)"
    r"|(?P<address>\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){4,7}[0-9a-fA-F]{1,4}(?![\w:])"
    r"|(?<![\w:])(?:[0-9a-fA-F]{1,4}:)*[0-9a-fA-F]{0,4}::[0-9a-fA-F:.]*)"
    r"|(?P<id>\b[0-9A-Za-z]{22}\b)"
    r"|(?P<token>\brsk_\w+)"
)
_FIELDS = ("trace_id", "request_id", "route", "surface", "rung")
EXTRA = ("status", "ms", "method")
"""Attributes of a record that are written out."""


class LogSettings(BaseSettings):
    """What is logged, and how."""

    model_config = SettingsConfigDict(env_prefix="RECSYS_LOG_", extra="forbid", frozen=True)

    format: Literal["text", "json"] = "text"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    requests: Annotated[float, Field(ge=0, le=1)] = (
        0.0  # share of good requests that get a line; failures always do
    )


def from_environment() -> LogSettings:
    """The settings that the environment names.

    Raises:
        BadInput: a value that cannot be used.
    """
    return read_settings(LogSettings)


def redacted(text: str) -> str:
    """A text without what could name a person: quoted parts, query strings, mail and IP addresses, ids, keys."""
    return _PRIVATE.sub(lambda found: f"<{found.lastgroup}>", text)


def said(record: logging.LogRecord) -> str:
    """A record's message; an exception among its arguments is told by its type."""
    args = record.args
    if isinstance(args, tuple):
        args = tuple(_argument(a) for a in args)
    try:
        text = str(record.msg) % args if args else str(record.msg)
    except (TypeError, ValueError):  # a template that does not fit its arguments
        text = str(record.msg)
    return redacted(text.replace("\n", " "))


def _argument(value: object) -> object:
    if isinstance(value, BaseException):
        return redacted(str(value)) if _is_ours(value) else type(value).__name__
    return value


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.startswith(("recsys.", "serving.", "music."))


def raised(info: _Raised) -> list[str]:
    """Where an exception came from, innermost last: `file:line function`, then the types of its chain."""
    frames = traceback.extract_tb(info[2])
    lines = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    error: BaseException | None = info[1]
    types: list[str] = []
    while error is not None and len(types) < 5:
        types.append(type(error).__name__)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [*lines[-12:], " from ".join(types)]


class Text(logging.Formatter):
    """One line for people."""

    def format(self, record: logging.LogRecord) -> str:
        facts = fields_of(record)
        tail = "".join(f" {name}={value}" for name, value in facts.items())
        where = " | ".join(raised(record.exc_info)) if _has_error(record) else ""  # type: ignore[arg-type]
        return f"{record.levelname} {record.name}: {said(record)}{tail}{f' [{where}]' if where else ''}"


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": said(record),
            **fields_of(record),
        }
        if _has_error(record):
            line["raised"] = raised(record.exc_info)  # type: ignore[arg-type]
        return orjson.dumps(line).decode()


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What the line says of the request it belongs to."""
    facts = FACTS.get()
    found: dict[str, object] = {}
    if facts is not None:
        found = {name: value for name in _FIELDS if (value := getattr(facts, name))}
    return found | {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}


def _has_error(record: logging.LogRecord) -> bool:
    return record.exc_info is not None and record.exc_info[0] is not None


def configure(settings: LogSettings | None = None, stream: TextIO | None = None) -> None:
    """Makes every logger of the process write to `stream` (standard error) in this way."""
    settings = settings or LogSettings()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json() if settings.format == "json" else Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
