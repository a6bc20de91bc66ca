"""Requests go to the release that the listener's arm names, and the Decision says so."""

import shutil
from pathlib import Path

import pytest

from experiments.config import load
from recsys.home import Home
from recsys.release import MANIFEST, seal, verify
from recsys.types import Context
from serving.registry import CHALLENGER, Registry
from serving.service import Service
from tests.patient import patient

CONFIG = """
experiments:
  - name: new-release
    salt: pepper
    unit: listener
    coverage: 1.0
    active: true
    arms:
      - {name: control, weight: 0.5, release: champion}
      - {name: treatment, weight: 0.5, release: challenger}
"""


@pytest.fixture
def home(tiny_home: Home, tmp_path: Path) -> Home:
    copy = Home.of(Path(shutil.copytree(tiny_home.root, tmp_path / "home")))
    twin = Path(shutil.copytree(copy.releases / "v1", copy.releases / "v2"))
    (twin / MANIFEST).unlink()
    seal(twin, "2", {}, verify(copy.releases / "v1").until, {}, {})
    Registry(copy).register(twin, None, {})
    Registry(copy).promote("2", CHALLENGER)
    return copy


def test_arms_see_their_own_release_and_stay_in_it(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "test.yaml"
    config.write_text(CONFIG)
    seen: dict[str, set[str]] = {}
    with Service.open(home, patient(), experiments=load(config), background=False) as service:
        for row in service.listeners(60) * 2:
            answer = service.home(row["user_id"], 3, Context())
            arms = service.decision(answer["request_id"])["arms"]
            seen.setdefault(row["user_id"], set()).add(f"{arms['new-release']}:{answer['release']}")
    assert all(len(values) == 1 for values in seen.values())
    assert set().union(*seen.values()) == {"control:1", "treatment:2"}
