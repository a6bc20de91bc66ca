"""The online stores under test: the same tests run over each."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from recsys.state_redis import RedisStore
from recsys.state_store import LocalStore, StateStore
from tests.engines import redis_url

__all__ = ["redis_url"]


@dataclass(frozen=True)
class RedisPlace:
    """Opens one Redis store; `place` is what another process needs to open it."""

    place: tuple[str, str]

    def __call__(self) -> RedisStore:
        return RedisStore(*self.place)


@pytest.fixture(params=["embedded", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], StateStore]:
    """Opens the same store anew at every call."""
    if request.param == "embedded":
        return lambda: LocalStore(tmp_path / "state.sqlite")
    url, prefix = request.getfixturevalue("redis_url"), uuid.uuid4().hex
    return RedisPlace((url, prefix))
