"""What a wheel holds: all our packages with their data files, at the top level, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"recsys", "models", "ranking", "bandits", "experiments", "serving", "music"}


def test_the_wheel_holds_every_package_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == PACKAGES
    assert "music/catalog/__init__.py" in names
    assert "music/catalog/migrations/env.py" in names
    assert "experiments/default.yaml" in names
    assert not [n for n in names if n.startswith(("platform/", "tests/")) or "__pycache__" in n]
