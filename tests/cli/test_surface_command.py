"""`recsys surface` prints any surface of a home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.errors import BadInput
from serving.cli.app import app


@pytest.mark.parametrize("name", ["home", "daily_mix", "discovery", "release_radar", "because"])
def test_a_surface_is_printed_as_json(tiny_root: Path, name: str) -> None:
    done = CliRunner().invoke(app, ["surface", name, "--home", str(tiny_root), "--limit", "3", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["surface"] == name


def test_what_goes_on_from_a_track_needs_one(tiny_root: Path) -> None:
    run = CliRunner()
    mixes = json.loads(run.invoke(app, ["surface", "daily_mix", "--home", str(tiny_root), "--json"]).stdout)
    track = mixes["mixes"][0]["items"][0]["track_id"]
    more = ["--home", str(tiny_root), "--limit", "3"]
    shown = run.invoke(app, ["surface", "next_up", "--current", track, *more])
    assert shown.exit_code == 0
    seeded = run.invoke(app, ["surface", "continuation", "--seed", f"playlist:{track}", *more, "--json"])
    assert len(json.loads(seeded.stdout)["items"]) == 3
    for wrong in (["surface", "next_up", *more], ["surface", "tea", *more]):
        assert isinstance(run.invoke(app, wrong).exception, BadInput)
