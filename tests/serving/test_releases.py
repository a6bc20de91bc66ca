"""Releases: refused when damaged, swapped without losing the old one, rolled back."""

import shutil
from pathlib import Path

import pytest

from recsys.errors import NotReady, ReleaseRefused, UnknownId
from recsys.home import Home
from recsys.release import MANIFEST, seal, verify
from recsys.types import Context
from serving.loaded import LoadedRelease
from serving.registry import Registry
from serving.service import Service
from tests.patient import patient


@pytest.fixture
def release(tiny_home: Home, tmp_path: Path) -> Path:
    return Path(shutil.copytree(Registry(tiny_home).get("champion").folder, tmp_path / "v1"))


def victims(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)


def test_a_sound_release_loads(release: Path) -> None:
    assert LoadedRelease.load(release).manifest.version == "1"


def test_every_file_when_truncated_is_refused_by_name(release: Path) -> None:
    for path in victims(release):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ReleaseRefused, match=path.name.replace(".", r"\.")):
            verify(release)
        path.write_bytes(whole)
    verify(release)


def test_two_swapped_files_are_refused(release: Path) -> None:
    a, b = release / "ranking" / "finish.txt", release / "ranking" / "skip.txt"
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    with pytest.raises(ReleaseRefused, match="does not match its digest"):
        LoadedRelease.load(release)


def test_missing_extra_and_foreign_files_are_refused(release: Path) -> None:
    (release / "extra.bin").write_bytes(b"x")
    with pytest.raises(ReleaseRefused, match=r"unexpected file extra\.bin"):
        verify(release)
    (release / "extra.bin").unlink()
    victims(release)[0].unlink()
    with pytest.raises(ReleaseRefused, match="is missing"):
        verify(release)
    (release / MANIFEST).write_text('{"format": 1')
    with pytest.raises(ReleaseRefused, match="unreadable"):
        verify(release)
    (release / MANIFEST).unlink()
    with pytest.raises(ReleaseRefused, match="no manifest"):
        verify(release)


def test_a_sealed_folder_that_is_not_a_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "tracks.parquet").write_bytes(b"not parquet")
    seal(tmp_path, "9", {}, 0, {}, {})
    with pytest.raises(ReleaseRefused, match="release 9"):
        LoadedRelease.load(tmp_path)


def test_a_running_server_keeps_the_old_release_and_says_so(tiny_home: Home, tmp_path: Path) -> None:
    home = Home.of(Path(shutil.copytree(tiny_home.root, tmp_path / "home")))
    registry = Registry(home)
    folder = home.releases / "v1"
    broken = Path(shutil.copytree(folder, home.releases / "v2"))
    registry.register(broken, None, {})
    with Service.open(home, patient(), background=False) as service:
        assert service.status()["releases"]["aliases"]["champion"] == "1"
        target = broken / "two_tower" / "weights.npz"
        target.write_bytes(target.read_bytes()[:1000])
        registry.promote("2")
        service.refresh()
        status = service.status()
        assert status["releases"]["aliases"]["champion"] == "1"
        assert "does not match its digest" in status["releases"]["refused"]["2"]
        assert service.home(None, 5, Context(), None)["release"] == "1"
        registry.rollback()
        service.refresh()
        assert service.status()["releases"]["refused"] == {}


def test_a_good_release_is_swapped_in_and_rolled_back(tiny_home: Home, tmp_path: Path) -> None:
    home = Home.of(Path(shutil.copytree(tiny_home.root, tmp_path / "home")))
    registry = Registry(home)
    twin = Path(shutil.copytree(home.releases / "v1", home.releases / "v2"))
    (twin / MANIFEST).unlink()
    seal(twin, "2", {}, verify(home.releases / "v1").until, {}, {})
    registry.register(twin, None, {})
    with Service.open(home, patient(), background=False) as service:
        registry.promote("2")
        service.refresh()
        assert service.home(None, 5, Context(), None)["release"] == "2"
        registry.rollback()
        service.refresh()
        assert service.home(None, 5, Context(), None)["release"] == "1"


def test_a_home_without_a_release_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="recsys demo"):
        Service.open(Home.of(tmp_path).make(), background=False)
    with pytest.raises(UnknownId, match="recsys release list"):
        Registry(Home.of(tmp_path)).get("champion")
