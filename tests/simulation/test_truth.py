"""The truth: one definition with the generator, oracle and random values against brute force, audio kept noisy."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.errors import NotReady
from recsys.home import Home
from recsys.items import Items
from recsys.lake import Lake
from recsys.simulation import PROFILES, simulate
from recsys.simulation import truth as t
from recsys.simulation.audio import probe_r2

PROFILE = PROFILES["tiny"].model_copy(update={"listeners": 300, "days": 20})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home.of(tmp_path_factory.mktemp("truth")).make()
    simulate(PROFILE, home, workers=1)
    return home


@pytest.fixture(scope="module")
def world(home: Home) -> t.World:
    return t.World.load(home)


def brute_force(utility: np.ndarray, eligible: np.ndarray, artist: np.ndarray, k: int) -> tuple[float, float]:
    """(best, mean) value over all ordered slates."""
    slates = np.array(list(permutations(np.flatnonzero(eligible), k)))
    values = t.slate_values(np.repeat(utility[None], len(slates), axis=0), slates, artist)
    return float(values.max()), float(values.mean())


def test_the_oracle_meets_brute_force_and_random_is_its_mean() -> None:
    rng = np.random.default_rng(0)
    for trial in range(12):
        utility, artist = rng.normal(0.3, 0.4, 7), rng.integers(0, 3 if trial % 2 else 50, 7)
        eligible = rng.random(7) < 0.9
        eligible[:4] = True
        best, mean = brute_force(utility, eligible, artist, 3)
        slate = t.oracle_slates(utility[None], eligible[None], artist, 3)
        greedy = float(t.slate_values(utility[None], slate, artist)[0])
        exact = len(set(artist[slate[0]])) == 3
        assert greedy == pytest.approx(best) if exact else best - 0.02 <= greedy <= best + 1e-12
        assert t.random_values(utility[None], eligible[None], artist, 3)[0] == pytest.approx(mean)


def test_a_repeated_artist_costs_its_satiation_and_an_empty_slot_nothing() -> None:
    utility, artist = np.array([[0.5, 0.5, 0.5]]), np.array([7, 7, 8])
    pair = t.slate_values(utility, np.array([[0, 1]]), artist) - t.slate_values(
        utility, np.array([[0, 2]]), artist
    )
    assert pair[0] == pytest.approx(-t.SATIATION * t.examine(1))
    assert t.slate_values(utility, np.array([[-1, 2]]), artist)[0] == pytest.approx(0.5 * t.examine(1))


def test_true_value_is_one_for_the_oracle_nought_for_random_and_pairs_differences() -> None:
    rng = np.random.default_rng(1)
    random, oracle = rng.normal(0, 1, 400), rng.normal(3, 1, 400)
    assert t.true_value(oracle, random, oracle).value == pytest.approx(1)
    assert t.true_value(random, random, oracle).value == pytest.approx(0)
    half = t.true_value(random + 0.5 * (oracle - random), random, oracle)
    assert half.low == pytest.approx(0.5)
    assert half.high == pytest.approx(0.5)
    noisy = random + 0.4 * (oracle - random) + rng.normal(0, 1, 400)
    apart = t.true_value_difference(half_policy := random + 0.5 * (oracle - random), noisy, random, oracle)
    assert apart.low < apart.value < apart.high
    assert len(half_policy) == 400


def test_columns_are_numbered_as_items_are_and_rights_agree(home: Home, world: t.World) -> None:
    lake = Lake(home.lake)
    items = Items.of(*(lake.scan(table).collect() for table in ("tracks", "artists", "availability")))
    assert world.track_ids == items.track_ids
    probes = world.probes(12, 0)
    eligible = world.eligible(probes, np.arange(len(probes)))
    for i in range(len(probes)):
        expected = items.available(items.country_number(probes.country[i]), int(probes.now[i]))
        np.testing.assert_array_equal(eligible[i], expected)


def test_probes_are_session_starts_of_the_log_after_the_split(home: Home, world: t.World) -> None:
    probes = world.probes(150, 3)
    again = world.probes(150, 3)
    assert probes.user_id == again.user_id
    assert (probes.now >= world.split_ms).all()
    log = (
        Lake(home.lake).scan("events").filter(kind="play_end").group_by("user_id", "session_id")
        .agg(began=(pl.col("ts").dt.epoch("ms") - pl.col("ms_played")).min(), device=pl.col("device").first())
        .select("user_id", "began", "device").collect()
    )  # fmt: skip
    wanted = pl.DataFrame({"user_id": probes.user_id, "began": probes.now, "device": probes.device})
    assert wanted.join(log, on=["user_id", "began", "device"]).height == len(probes)
    accounts = Lake(home.lake).scan("listeners").collect()
    joined = wanted.join(accounts, on="user_id", how="left", maintain_order="left")["joined_at"].dt.epoch(
        "ms"
    )
    np.testing.assert_array_equal(joined.to_numpy() >= world.split_ms, probes.new)
    assert probes.new.any()


def test_the_generators_outcomes_are_those_the_truth_states(home: Home, world: t.World) -> None:
    """Plays from home pages at probes: mean outcomes equal mean true probabilities within sampling error."""
    probes = world.probes(10_000, 0)
    at = {key: i for i, key in enumerate(zip(probes.user_id, probes.now.tolist(), strict=True))}
    plays = Lake(home.lake).scan("events").filter(kind="play_end").collect().with_columns(
        began=pl.col("ts").dt.epoch("ms") - pl.col("ms_played")
    )  # fmt: skip
    starts = plays.group_by("session_id").agg(start=pl.col("began").min())
    home_plays = plays.filter(surface="home").join(starts, on="session_id")
    row = np.array(
        [at.get((u, s), -1) for u, s in zip(home_plays["user_id"], home_plays["start"], strict=True)]
    )
    home_plays, row = home_plays.filter(pl.Series(row >= 0)), row[row >= 0]
    column = {track: i for i, track in enumerate(world.track_ids)}
    tracks = np.array([[column[x]] for x in home_plays["track_id"]])
    p = world.outcome_probabilities(probes, row, tracks)[:, 0]
    finished = (home_plays["reason_end"] == "trackdone").to_numpy()
    skipped = (home_plays["ms_played"] < 30_000).to_numpy() & ~finished
    assert len(row) > 100
    for seen, stated in ((finished, p[:, 0]), (skipped, p[:, 1])):
        error = np.sqrt((stated * (1 - stated)).sum()) / len(row)
        assert abs(seen.mean() - stated.mean()) < 4 * error
        assert np.corrcoef(seen, stated)[0, 1] > 0.1


def test_long_term_taste_is_worth_much_but_less_than_knowing_the_moment(world: t.World) -> None:
    probes = world.probes(120, 0)
    rows = np.arange(len(probes))
    utility, eligible = world.utilities(probes, rows), world.eligible(probes, rows)
    long_term = world.long_term_utilities(probes, rows)
    oracle = t.slate_values(utility, t.oracle_slates(utility, eligible, world.artist, 8), world.artist)
    policy = t.slate_values(utility, t.oracle_slates(long_term, eligible, world.artist, 8), world.artist)
    random = t.random_values(utility, eligible, world.artist, 8)
    assert (policy <= oracle + 0.05).all()
    assert 0.4 < t.true_value(policy, random, oracle).value < 0.95


def test_a_linear_probe_explains_at_most_half_of_the_factors(world: t.World) -> None:
    assert 0.1 < probe_r2(world.catalog.latent, world.catalog.audio) <= 0.5


def test_a_home_that_was_not_simulated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReady):
        t.World.load(Home.of(tmp_path))
