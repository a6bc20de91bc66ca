"""A home of this folder's own (its catalog changes), and what its tests do to the catalog."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from recsys.home import Home
from serving.loaded import LoadedRelease
from serving.service import Service
from serving.settings import LiveSettings, ServiceSettings


@pytest.fixture
def home(tiny_root: Path, tmp_path: Path) -> Home:
    return Home.of(shutil.copytree(tiny_root, tmp_path / "home"))


@pytest.fixture
def service(home: Home) -> Iterator[Service]:
    # No time budgets: a busy machine would answer from a lower rung, which these tests are not about.
    settings = ServiceSettings(live=LiveSettings(retry_seconds=0), source_budget_ms=None)
    with Service.open(home, settings, background=False) as opened:
        yield opened


@pytest.fixture(scope="session")
def release(tiny_root: Path) -> LoadedRelease:
    return LoadedRelease.load(tiny_root / "releases" / "v1")
