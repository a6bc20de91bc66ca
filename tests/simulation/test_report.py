"""The report: marginals of a log beside real ones, as rows, a table and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.home import Home
from recsys.lake import Lake
from recsys.simulation import PROFILES, simulate
from recsys.simulation.ratios import data_of, ndcg
from recsys.simulation.report import (
    Marginal,
    marginals,
    marginals_of,
    render,
    sample_plays,
    scrobbles,
    table,
    thirty_music_plays,
)

THIRTY = Path(__file__).parents[3] / "shared" / "data" / "thirtymusic_slices.parquet"
SCALE_FREE = {
    "skipped before 5 s",
    "skipped before 30 s",
    "finished",
    "skipped on mobile",
    "skipped on desktop",
    "next by the same artist",
    "gap between starts, median s",
    "tracks a session, mean",
    "tracks a session, median",
}
"""Lines that a small world must meet too; the others depend on how many tracks and listeners there are."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    home = Home.of(tmp_path_factory.mktemp("report")).make()
    simulate(
        PROFILES["tiny"].model_copy(update={"seed": 3, "days": 24, "tracks": 4_000, "artists": 500}), home, 1
    )
    return Lake(home.lake)


def test_a_small_world_meets_every_line_that_does_not_depend_on_size(lake: Lake, tmp_path: Path) -> None:
    rows = marginals(lake, ratios=False)
    assert {r.name for r in rows} > SCALE_FREE
    assert [r.name for r in rows if r.name in SCALE_FREE and not r.ok] == []
    text = table(rows)
    assert len(text.splitlines()) == len(rows) + 1
    render(rows, tmp_path / "deep" / "marginals.png")
    assert (tmp_path / "deep" / "marginals.png").read_bytes()[:4] == b"\x89PNG"


def test_a_log_without_play_lengths_or_sessions_leaves_the_skip_lines_out(lake: Lake) -> None:
    plays = sample_plays(lake).with_columns(ms=pl.lit(None, pl.Int32()))
    names = {r.name for r in marginals_of(plays, ratios=False)}
    assert "finished" not in names
    assert "next by the same artist" in names


def test_scrobbles_are_plays_of_half_the_track_or_four_minutes() -> None:
    plays = pl.DataFrame(
        {"ms": [50_000, 110_000, 250_000, 20_000], "duration": [120_000, 200_000, 900_000, 25_000]}
    )
    assert scrobbles(plays)["ms"].to_list() == [110_000, 250_000]


def test_a_line_is_red_outside_its_tolerance_and_ratios_have_a_factor_of_two() -> None:
    assert Marginal("x", 0.9, 1, 0.2, "").ok
    assert not Marginal("x", 1.3, 1, 0.2, "").ok
    assert Marginal("x", 1.9, 1, 1, "", ratio=True).ok
    assert not Marginal("x", 0.4, 1, 1, "", ratio=True).ok
    assert "RED" in table([Marginal("x", 1.3, 1, 0.2, "")])


def test_baselines_find_what_is_there_to_find() -> None:
    """A cycle of 40 tracks played in order: Markov and rules know the next one, popularity cannot."""
    hours = np.arange(6 * 24 * 20)
    plays = pl.DataFrame(
        {
            "user": hours % 20,
            "session": hours % 20,
            "track": hours // 20 % 40,
            "timestamp": hours * 180,
            "slice": 0,
        }
    )
    found = ndcg(data_of(plays), most=200)
    assert found["markov"] == pytest.approx(1)
    assert found["rules"] > 0.6
    assert found["popularity"] < 0.3
    assert found["unseen"] == 0


def test_the_references_are_what_the_real_slices_show() -> None:
    if not THIRTY.exists():
        pytest.skip("no real music: ../shared/data/thirtymusic_slices.parquet is absent")
    rows = marginals_of(thirty_music_plays(THIRTY), ratios=False)
    assert len(rows) >= 8
    for row in rows:
        assert row.value == pytest.approx(row.reference, rel=0.01), row.name


@pytest.mark.slow
def test_the_reference_ratios_are_what_the_real_slices_show() -> None:
    if not THIRTY.exists():
        pytest.skip("no real music: ../shared/data/thirtymusic_slices.parquet is absent")
    rows = [r for r in marginals_of(thirty_music_plays(THIRTY)) if r.ratio]
    assert len(rows) == 4
    for row in rows:
        assert row.value == pytest.approx(row.reference, rel=0.1), row.name
