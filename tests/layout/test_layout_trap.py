"""The two traps of the layout: `platform/` and `tests/` must not become packages (docs/layout.md)."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_platform_is_a_folder_and_not_a_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert [p.name for p in (ROOT / "platform").iterdir() if p.is_dir() and p.name != "__pycache__"] == [
        "music"
    ]
    assert (ROOT / "platform" / "music" / "__init__.py").exists()


def test_the_standard_library_s_platform_wins_from_the_root() -> None:
    code = "import platform, music; print(platform.__file__); print(music.__file__)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    platform_file, music_file = run.stdout.split()
    assert Path(platform_file).is_relative_to(sysconfig.get_path("stdlib"))
    assert Path(music_file) == ROOT / "platform" / "music" / "__init__.py"


def test_no_folder_of_tests_is_a_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_names_of_test_files_are_unique() -> None:
    counts = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name, n in counts.items() if n > 1]


def test_every_package_of_ours_says_that_it_is_one() -> None:
    roots = [ROOT / name for name in ("recsys", "models", "ranking", "bandits", "experiments", "serving")]
    folders = {path.parent for root in [*roots, ROOT / "platform" / "music"] for path in root.rglob("*.py")}
    assert not [
        str(f.relative_to(ROOT))
        for f in folders
        if not (f / "__init__.py").exists() and f.name not in ("migrations", "versions")
    ]
