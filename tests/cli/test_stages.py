"""Stages finish once: what is done is skipped, what was interrupted or has other inputs runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys.home import Home
from serving.stages import Stages


class Work:
    """A stage's work that counts its runs and dies where told."""

    def __init__(self) -> None:
        self.runs = 0
        self.dies = False

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.runs += 1
        (folder / "part.bin").write_text(str(self.runs))
        if self.dies:
            raise KeyboardInterrupt
        return {"runs": self.runs}


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(Home.of(tmp_path).make(), say=lambda _line: None)


def test_a_finished_stage_is_not_run_again(stages: Stages) -> None:
    work = Work()
    first = stages.run("train", {"seed": 1}, work)
    again = stages.run("train", {"seed": 1}, work)
    assert (work.runs, first.resumed, again.resumed) == (1, False, True)
    assert again.result == first.result == {"runs": 1}
    assert again.key == first.key


def test_other_inputs_or_force_run_it_again(stages: Stages) -> None:
    work = Work()
    stages.run("train", {"seed": 1}, work)
    stages.run("train", {"seed": 2}, work)
    stages.run("train", {"seed": 2}, work, force=True)
    assert work.runs == 3


def test_an_interrupted_stage_is_not_taken_for_done(stages: Stages) -> None:
    work = Work()
    stages.run("train", {"seed": 1}, work)
    work.dies = True
    with pytest.raises(KeyboardInterrupt):
        stages.run("train", {"seed": 2}, work)
    work.dies = False
    done = stages.run("train", {"seed": 2}, work)
    assert (work.runs, done.resumed) == (3, False)
    assert (done.folder / "part.bin").read_text() == "3"
    assert not list(stages.home.work.glob("*.partial"))


def test_an_interrupted_stage_finds_what_it_had_written(stages: Stages) -> None:
    def dies(folder: Path) -> dict[str, Any]:
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.run("train", {}, dies)
    found = stages.run("train", {}, lambda folder: {"found": (folder / "checkpoint").read_text()})
    assert found.result == {"found": "half"}


def test_a_stage_tells_what_it_did_once(tmp_path: Path) -> None:
    told: list[str] = []
    home = Home.of(tmp_path).make()
    Stages(home, told.append).run("train", {}, Work())
    again = Stages(home, told.append)
    for _ in range(3):
        again.run("train", {}, Work())
    assert [line.split(":")[1].split()[0] for line in told] == ["0", "done"]
