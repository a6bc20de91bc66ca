"""The columns of the serving tests: embedded engines, and real ones that the tests start on loopback.

Both columns run the files in BOTH: what touches log, states and catalog; servers that are killed run on the engines
among the slow tests. The other files test releases, routing and learning, which meet the engines through the same
ports only, and run embedded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.home import Home
from serving.service import Service
from tests.columns import moved_to
from tests.engines import kafka_address, postgres, redis_url
from tests.patient import patient
from tests.serving.http_crash import copied

__all__ = ["kafka_address", "postgres", "redis_url"]
BOTH = {"test_answers", "test_kill", "test_replay"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    stem = Path(str(metafunc.module.__file__)).stem
    if "column" in metafunc.fixturenames and stem in BOTH:
        marks = [pytest.mark.slow] if stem == "test_kill" else []
        columns = ["embedded", pytest.param("engines", marks=marks)]
        metafunc.parametrize("column", columns, indirect=True, scope="session")


@pytest.fixture(scope="session")
def column(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "embedded"))


@pytest.fixture(scope="session")
def tiny_home(
    column: str, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Home:
    home = Home.of(tiny_root)
    if column == "embedded":
        return home
    servers = [request.getfixturevalue(name) for name in ("kafka_address", "redis_url", "postgres")]
    return moved_to(copied(home, tmp_path_factory.mktemp("engines")), *servers)


@pytest.fixture(scope="session")
def tiny_service(tiny_home: Home) -> Iterator[Service]:
    """The service over the tiny home, without background threads."""
    with Service.open(tiny_home, patient(), background=False) as service:
        yield service
