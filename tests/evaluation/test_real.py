"""On real music the baselines come out about where an independent implementation put them."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.evaluation.real import REFERENCE, reproduce, thirtymusic

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "thirtymusic_slices.parquet"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="real music (../shared/data) is not here")


@needs_data
def test_the_windows_end_together_and_keep_their_listeners_apart():
    data = thirtymusic(DATA)
    assert data.plays.rows == 118_342
    assert len(data.items) == 57_684
    late = data.plays.start >= data.split.test
    assert 0.15 < late.mean() < 0.25
    assert data.plays.start.max() - data.plays.start.min() < 6 * 86_400_000


@needs_data
@pytest.mark.slow
def test_baselines_reach_their_reference_on_real_music():
    measured = reproduce(DATA, cap=3000)
    for name, reference in REFERENCE.items():
        assert 0.7 * reference < measured[name] < 1.6 * reference, (name, measured[name])
    assert measured["popularity"] < measured["markov"] < measured["rules"] < measured["rules_artist"]
