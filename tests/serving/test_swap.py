"""Releases change under load without a failed request, and a ladder is warm in every surface before it serves."""

import random
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from recsys.home import Home
from recsys.release import MANIFEST, seal, verify
from recsys.schemas import Surface
from recsys.types import Ask, Context
from serving.registry import Registry
from serving.service import Service
from serving.surfaces import SURFACES


@pytest.fixture
def two(tiny_home: Home, tmp_path: Path) -> Home:
    """A home with a second, equal release."""
    unneeded = shutil.ignore_patterns("world", "work", "features", "reports")
    home = Home.of(Path(shutil.copytree(tiny_home.root, tmp_path / "home", ignore=unneeded)))
    twin = Path(shutil.copytree(home.releases / "v1", home.releases / "v2"))
    (twin / MANIFEST).unlink()
    seal(twin, "2", {}, verify(home.releases / "v1").until, {}, {})
    Registry(home).register(twin, None, {})
    return home


def test_promotions_and_rollbacks_under_load_fail_no_request(two: Home) -> None:
    answered: Counter[str] = Counter()
    failures: list[Exception] = []
    stop = threading.Event()
    with Service.open(two) as service:
        users = [row["user_id"] for row in service.listeners(20)]
        track = service.home(users[0], 5, Context())["shelves"][0]["items"][0]["track_id"]

        def client(seed: int) -> None:
            draw = random.Random(seed)
            while not stop.is_set():
                user, surface = draw.choice(users), draw.choice([Surface.HOME, Surface.RADIO])
                try:
                    answer = service.recommend(Ask(surface, user, 5, seed=f"track:{track}"))
                    answered[answer["release"]] += 1
                except Exception as error:
                    failures.append(error)

        clients = [threading.Thread(target=client, args=(n,)) for n in range(3)]
        for thread in clients:
            thread.start()
        registry = Registry(two)
        for change in (lambda: registry.promote("2"), registry.rollback) * 2:
            change()
            service.reload()
            time.sleep(0.3)
        stop.set()
        for thread in clients:
            thread.join(30)
        assert not failures
        assert set(answered) == {"1", "2"}
        assert min(answered.values()) > 5
        assert list(service.status()["releases"]["loaded"]) == ["1"]


def test_every_surface_is_warm_before_the_first_request(
    tiny_home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "serving.fleet"), Service.open(tiny_home, background=False) as service:
        recommender = next(iter(service._fleet._by_version.values()))
    assert service.ready()
    assert "warmed release" in caplog.text
    assert not [r for r in caplog.records if "fell" in r.message]
    assert recommender.guard is not None
    assert set(recommender._pipelines) == set(SURFACES)
