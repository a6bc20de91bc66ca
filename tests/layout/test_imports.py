"""Who may import whom (docs/layout.md), read from the syntax trees; and what importing the core may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    ROOT: ["recsys", "models", "ranking", "bandits", "experiments", "serving"],
    ROOT / "platform": ["music"],
}
OURS = {name for names in SOURCES.values() for name in names}
HEAVY = {"torch", "lightgbm", "ray", "mlflow", "feast", "implicit", "sklearn", "confluent_kafka", "redis"}
TRUTH = "recsys.simulation.truth"
BEHIND_THE_WALL = ("recsys.simulation", "recsys.evaluation")


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for root, packages in SOURCES.items():
        for package in packages:
            for path in sorted((root / package).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path) -> list[str]:
    """Names of everything a module imports, inside functions too; `from a import b` gives a and a.b."""
    names = []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base]) if base else ".".join(up)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def component(name: str) -> str:
    """The unit that the table speaks of: a top package, but models.two_tower and models.sequence are two."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "models" and len(parts) > 1 else parts[0]


def allowed(importer: str, imported_name: str) -> bool:
    here, there = component(importer), component(imported_name)
    return there in (here, "recsys") or here == "serving"


def test_imports_go_down_the_table_only_and_siblings_never_import_siblings() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in modules().items()
        for other in imported(name, path)
        if other.split(".")[0] in OURS and not allowed(name, other)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("importer", "other", "verdict"),
    [
        ("recsys.features", "models.two_tower.model", False),
        ("models.two_tower.model", "models.sequence.model", False),
        ("models.two_tower.model", "recsys.plays", True),
        ("ranking.score", "bandits.epsilon", False),
        ("music.catalog.store", "ranking", False),
        ("serving.surfaces.home", "music.catalog", True),
    ],
)
def test_the_rule_tells_right_from_wrong(importer: str, other: str, verdict: bool) -> None:
    assert allowed(importer, other) is verdict


def test_only_simulation_and_evaluation_see_the_truth() -> None:
    wrong = [
        name
        for name, path in modules().items()
        if not name.startswith(BEHIND_THE_WALL)
        and any(other == TRUTH or other.startswith(TRUTH + ".") for other in imported(name, path))
    ]
    assert not wrong, f"{wrong} import {TRUTH}: training and serving read lake and catalog tables only"


def test_the_music_package_is_never_imported_through_the_folder() -> None:
    found = list(modules().items()) + [(path.stem, path) for path in (ROOT / "tests").rglob("*.py")]
    wrong = [
        name
        for name, path in found
        if any(other.startswith("platform.music") for other in imported(name, path))
    ]
    assert not wrong, f"{wrong}: write `from music... import`"


def test_importing_the_core_loads_no_heavy_library() -> None:
    names = [name for name in modules() if component(name) == "recsys"]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = sorted({HEAVY!r} & set(sys.modules))\n"
        "    assert not heavy, f'{name} loads {heavy}: import them inside the functions that need them'\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
