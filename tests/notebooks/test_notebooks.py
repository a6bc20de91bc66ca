"""Every notebook runs from top to bottom: on a home that exists already, and (slow) on a world that it makes itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 1_000_000
EVERY_RUN = ("01_quickstart", "02_experiments")
"""Notebooks that each run of the suite executes; the others are slow tests."""
ON_A_HOME = [
    pytest.param(path, id=path.stem, marks=[] if path.stem in EVERY_RUN else [pytest.mark.slow])
    for path in NOTEBOOKS
]


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def run(notebook: Any, environment: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The executed notebook; a cell that fails raises, with its traceback."""
    for name, value in environment.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    client = NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": FOLDER}}
    )
    return client.execute()


def pictures(notebook: Any) -> list[str]:
    """All PNG outputs, base64."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def test_a_notebook_is_committed_as_it_ran_and_small(notebook: Any) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [
        output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert pictures(notebook)
    assert len(nbformat.writes(notebook)) < LARGEST


@pytest.mark.parametrize("notebook", ON_A_HOME, indirect=True)
def test_a_notebook_runs_on_a_home_that_exists(
    notebook: Any, untouched_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(untouched_root, tmp_path / "home")
    before = sorted((Path(root) / "releases").iterdir())
    done = run(notebook, {"RECSYS_HOME": str(root)}, monkeypatch)
    assert len(pictures(done)) == len(pictures(notebook))
    assert sorted((Path(root) / "releases").iterdir()) == before, "a notebook retrained a release"


@pytest.mark.slow
def test_a_notebook_makes_its_own_world(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = len(pictures(notebook))
    done = run(notebook, {"RECSYS_HOME": None, "TMPDIR": str(tmp_path)}, monkeypatch)
    assert len(pictures(done)) == shown
