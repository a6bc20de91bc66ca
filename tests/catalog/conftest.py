"""Fixtures of the catalog's tests: a catalog in a file of its own, filled with three tracks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from catalog_world import tables

from music.catalog import Catalog
from music.catalog.model import Fact
from tests.engines import new_database, postgres

__all__ = ["postgres"]


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: a file, and one of a real Postgres."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.sqlite"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def catalog(url: str, facts: list[Fact]) -> Iterator[Catalog]:
    opened = Catalog.open(url, facts.append)
    opened.write(tables())
    yield opened
    opened.close()
