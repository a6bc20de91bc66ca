"""The calibration benchmark on a tiny home: it judges plays of slots drawn at random, and tells true from false."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration import OBJECTIVES, TARGET, Judged, figures, measure, plot
from recsys.errors import NotReady
from recsys.home import Home
from recsys.schemas import Surface


@pytest.fixture(scope="module")
def judged(tiny_home: Home) -> dict[Surface, Judged]:
    return measure(tiny_home, probes=80, seed=0)


def made_up(shift: float, plays: int = 40_000) -> dict[Surface, Judged]:
    """Plays whose probabilities are known, and claims that are `shift` off."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.9, plays)
    happened = rng.random(plays) < truth
    every = dict.fromkeys(OBJECTIVES, truth)
    return {
        Surface.HOME: Judged(
            dict.fromkeys(OBJECTIVES, truth + shift), every, dict.fromkeys(OBJECTIVES, happened), plays
        )
    }


def test_home_slots_are_played_when_chosen_and_radio_plays_by_itself(judged: dict[Surface, Judged]) -> None:
    assert 0 < len(judged[Surface.HOME].p["finish"]) < judged[Surface.HOME].slots
    assert len(judged[Surface.RADIO].p["finish"]) == judged[Surface.RADIO].slots > 0


def test_claims_and_truths_are_probabilities_of_outcomes_that_exclude_each_other(
    judged: dict[Surface, Judged],
) -> None:
    for all_ in judged.values():
        for o in OBJECTIVES:
            assert ((all_.p[o] > 0) & (all_.p[o] < 1)).all()
            assert ((all_.truth[o] >= 0) & (all_.truth[o] <= 1)).all()
        assert not (all_.outcome["finish"] & all_.outcome["skip"]).any()
        assert not (all_.outcome["save"] & ~all_.outcome["finish"]).any()


def test_what_happens_follows_the_worlds_probabilities(judged: dict[Surface, Judged]) -> None:
    for all_ in judged.values():
        for o in OBJECTIVES:
            variance = (all_.truth[o] * (1 - all_.truth[o])).sum()
            assert abs(all_.outcome[o].sum() - all_.truth[o].sum()) < 4.5 * np.sqrt(variance) + 1


def test_the_same_seed_gives_the_same_figures(tiny_home: Home) -> None:
    assert figures(measure(tiny_home, 20, 1)) == figures(measure(tiny_home, 20, 1))


def test_true_claims_pass_and_claims_off_by_a_little_do_not() -> None:
    for shift, passes in ((0.0, True), (0.03, False), (-0.03, False)):
        rows = figures(made_up(shift))
        assert all((row["ece"] <= TARGET) is passes for row in rows), (shift, rows)
        assert rows[0]["rmse"] == pytest.approx(abs(shift), abs=1e-9)


def test_the_picture_is_drawn(judged: dict[Surface, Judged], tmp_path: Path) -> None:
    plot(judged, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").stat().st_size > 20_000


def test_a_home_without_a_simulated_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="recsys simulate"):
        measure(Home.of(tmp_path).make(), 10, 0)
