"""One tiny home for the whole run: simulated, trained, released, evaluated through the real command."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pytest
from filelock import FileLock


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of tests of one name a run on two processes would take one, and say nothing."""
    count = Counter(item.nodeid for item in items)
    if twice := [name for name, times in count.items() if times > 1]:
        raise pytest.UsageError(f"several tests of one name: {', '.join(twice)}")


@pytest.fixture(scope="session")
def untouched_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home made by `recsys demo --profile tiny --no-serve`, to be copied; one for all processes of a run.

    RECSYS_TINY_HOME names one made earlier by the same code, which saves a minute a run.
    """
    if made := os.environ.get("RECSYS_TINY_HOME"):
        return Path(made)
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "untouched-home"
    with FileLock(root.with_suffix(".lock")):
        if not root.exists():
            making = tmp_path_factory.mktemp("making") / "home"
            make_tiny(making)
            making.rename(root)
    return root


@pytest.fixture(scope="session")
def tiny_root(untouched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for the tests of one process: they may use it (their events stay in it), and must not damage it."""
    import shutil

    return Path(shutil.copytree(untouched_root, tmp_path_factory.mktemp("tiny") / "home"))


def make_tiny(root: Path) -> None:
    from typer.testing import CliRunner

    from serving.cli.app import app

    done = CliRunner().invoke(app, ["demo", "--profile", "tiny", "--no-serve", "--home", str(root)])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="session")
def tiny_home(tiny_root: Path) -> "Home":  # noqa: F821
    from recsys.home import Home

    return Home.of(tiny_root)


@pytest.fixture(scope="session")
def tiny_service(tiny_home: "Home") -> Iterator["Service"]:  # noqa: F821
    """The service over the tiny home, without background threads."""
    from serving.service import Service
    from tests.patient import patient

    with Service.open(tiny_home, patient(), background=False) as service:
        yield service
