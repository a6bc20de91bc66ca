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


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture
def catalog(tmp_path: Path, facts: list[Fact]) -> Iterator[Catalog]:
    opened = Catalog.open(f"sqlite:///{tmp_path}/catalog.sqlite", facts.append)
    opened.write(tables())
    yield opened
    opened.close()
