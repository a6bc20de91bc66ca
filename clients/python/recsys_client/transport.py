"""How calls are sent: keys, retries, gzip, and errors as problem details (RFC 9457). Written by hand."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from recsys_client.models import Problem

T = TypeVar("T")
Body = BaseModel | Mapping[str, Any]
LONGEST_PAUSE = 30.0
BATCH_SECONDS = 180.0  # how long a batch may take: 50,000 events are made durable before its answer
_AGAIN = (429, 503)


class ApiError(Exception):
    """An answer that is not a success; `problem` is None where something else than the API answered."""

    def __init__(self, status: int, problem: Problem | None, retry_after: float | None) -> None:
        self.status, self.problem, self.retry_after = status, problem, retry_after
        super().__init__(f"{status} {problem.title}: {problem.detail}" if problem else f"status {status}")


@dataclass(frozen=True)
class Call:
    """One request, and whether it may be sent twice."""

    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    retry_safe: bool = True
    timeout: float | None = None  # None: the client's


def path_of(template: str, **values: Any) -> str:
    """A path with its parameters put in, each as one segment."""
    return template.format(**{name: quote(str(value), safe="") for name, value in values.items()})


def json_body(body: Body | None) -> tuple[bytes | None, dict[str, str]]:
    """A JSON body and its header; of a model, the fields that were set."""
    return (None, {}) if body is None else (_json(body), {"Content-Type": "application/json"})


def ndjson_body(lines: Iterable[Body]) -> tuple[bytes, dict[str, str]]:
    """One JSON object a line, gzipped."""
    content = gzip.compress(b"".join(_json(line) + b"\n" for line in lines), 6)
    return content, {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562) for an event; keep it when the event is sent again."""
    stamp, rest = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
    value = stamp << 80 | 0x7 << 76 | (rest >> 62 & 0xFFF) << 64 | 0b10 << 62 | rest & ((1 << 62) - 1)
    return str(uuid.UUID(int=value))


class Transport:
    """Sends calls of the blocking client; to be used as a context manager, or closed.

    Args:
        key: a key made by `recsys key create`.
        attempts: how often one call is tried at most.
        transport: another httpx transport, as for tests in process.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        timeout: float = 10.0,
        attempts: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._attempts = attempts
        self._http = httpx.Client(
            base_url=base_url, headers=_authorization(key), timeout=timeout, transport=transport
        )

    def _send(self, call: Call, kind: type[T]) -> T:
        for attempt in range(1, self._attempts + 1):
            pause: float | None
            try:
                answer = self._http.request(**_arguments(call))
            except httpx.TransportError:
                pause = _pause(call, None, attempt, self._attempts)
                if pause is None:
                    raise
            else:
                pause = _pause(call, answer, attempt, self._attempts)
                if pause is None:
                    return _read(answer, kind)
            time.sleep(pause)
        raise AssertionError("attempts must be at least 1")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncTransport:
    """Sends calls of the asynchronous client; see Transport."""

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        timeout: float = 10.0,
        attempts: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._attempts = attempts
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=_authorization(key), timeout=timeout, transport=transport
        )

    async def _send(self, call: Call, kind: type[T]) -> T:
        for attempt in range(1, self._attempts + 1):
            pause: float | None
            try:
                answer = await self._http.request(**_arguments(call))
            except httpx.TransportError:
                pause = _pause(call, None, attempt, self._attempts)
                if pause is None:
                    raise
            else:
                pause = _pause(call, answer, attempt, self._attempts)
                if pause is None:
                    return _read(answer, kind)
            await asyncio.sleep(pause)
        raise AssertionError("attempts must be at least 1")

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _authorization(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _arguments(call: Call) -> dict[str, Any]:
    params = {name: value for name, value in call.params.items() if value is not None}
    sent = {"method": call.method, "url": call.path, "content": call.content, "headers": call.headers}
    return sent | {"params": params} | ({"timeout": call.timeout} if call.timeout is not None else {})


def _pause(call: Call, answer: httpx.Response | None, attempt: int, attempts: int) -> float | None:
    """Seconds until the next attempt; None where this one stands."""
    if attempt >= attempts:
        return None
    if answer is None:
        return 0.2 * 2**attempt if call.retry_safe else None
    if answer.status_code not in _AGAIN:
        return None
    wait = _retry_after(answer)
    return wait if wait is not None and wait <= LONGEST_PAUSE else None


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _read(answer: httpx.Response, kind: type[T]) -> T:
    if not answer.is_success:
        raise ApiError(answer.status_code, _problem(answer), _retry_after(answer))
    if kind is str:
        return cast(T, answer.text)
    if kind is type(None):
        return None
    return cast(T, _adapter(cast(Any, kind)).validate_json(answer.content))


def _problem(answer: httpx.Response) -> Problem | None:
    try:
        return Problem.model_validate_json(answer.content)
    except ValidationError:
        return None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _json(body: Body) -> bytes:
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=True).encode()
    return json.dumps(body, ensure_ascii=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
