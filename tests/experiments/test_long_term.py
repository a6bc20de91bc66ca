"""Surrogate of return: signals counted as said, nobody teaches their own answer, errors that hold, files that last."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_events import write_experiment
from typer.testing import CliRunner

from experiments.long_term.check import calibration, surrogacy
from experiments.long_term.effects import long_term_effect
from experiments.long_term.logit import fractional_logit, sigmoid
from experiments.long_term.signals import SIGNALS, Told, returned, signals
from experiments.long_term.state import load, save, version
from experiments.long_term.surrogate import Surrogate, clustered_means, fit
from recsys.errors import BadInput, NotReady
from recsys.home import Home
from recsys.lake import Lake
from recsys.schemas import conform
from serving.cli.app import app
from serving.long_term import learn, path_of

DAY = datetime(2026, 5, 11, 12, tzinfo=UTC)
UNITS = pl.DataFrame({"unit": ["a", "b"], "exposed_day": [date(2026, 5, 11)] * 2})


def play(
    user: str, day: int, track: str, ms: int = 200_000, end: str = "trackdone", **more: Any
) -> dict[str, Any]:
    about = {"kind": "play_end", "user_id": user, "ts": DAY + timedelta(days=day), "track_id": track}
    return {**about, "session_id": f"{user}{day}", "ms_played": ms, "reason_end": end, **more}


def events(*rows: dict[str, Any]) -> pl.LazyFrame:
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    return conform(frame.with_columns(day=pl.col("ts").dt.date()), "events").lazy()


def shown(user: str, day: int, request: str, track: str) -> dict[str, Any]:
    about = {"kind": "impression", "user_id": user, "request_id": request, "track_id": track}
    return {**about, "ts": DAY + timedelta(days=day), "surface": "home", "position": 0}


LOG = events(
    play("a", -2, "old"),
    play("a", 0, "old", surface="home"),
    play("a", 0, "x", 5_000, "fwdbtn"),
    play("a", 4, "y", 60_000, "fwdbtn", surface="home"),
    play("a", 9, "z"),
    play("a", 27, "z"),
    play("a", 28, "z"),
    play("b", 1, "x", incognito_mode=True),
    play("b", 2, "x", consent_analytics=False),
    shown("a", 0, "r1", "old"),
    shown("a", 0, "r1", "x"),
    shown("a", 4, "r2", "y"),
    {"kind": "save", "user_id": "a", "track_id": "old", "ts": DAY},
    {"kind": "follow", "user_id": "a", "artist_id": "A", "ts": DAY},
)
TRACKS = pl.DataFrame({"track_id": ["old", "x", "y", "z"], "artist_id": ["A", "A", "B", "B"]})


def test_signals_are_counted_by_hand() -> None:
    told = Told.of(LOG, UNITS, TRACKS)
    first, second = signals(told, UNITS, 7).to_dicts()
    assert {k: v for k, v in first.items() if k not in ("unit", "mood", "hours")} == {
        "active": 2, "late_active": 1, "sessions": 2, "quiet": 2, "longest_gap": 3, "plays": 3, "streams": 2,
        "finishes": 1, "skips": 1, "saves": 1, "follows": 1, "not_interested": 0, "tracks": 3, "artists": 2,
        "new_tracks": 2, "new_artists": 1, "pages": 2, "seen": 3, "home_plays": 2, "home_streams": 2,
        "home_finishes": 1, "before_active": 1, "before_plays": 1, "before_finishes": 1, "before_skips": 0,
    }  # fmt: skip
    half = 0.5 ** (1 / 3)
    reward = [0.3, (1.0 - 0.5 + 1.0) / 2, 1.0]  # day 4; day 0 with its save; the day before
    assert first["mood"] == pytest.approx(np.average(reward, weights=[1, half, half**2]))
    assert first["hours"] == pytest.approx(265 / 3600)
    assert second["plays"] == 0, "incognito plays and those without consent tell nothing"
    assert second["quiet"] == 7
    assert second["mood"] is None
    assert returned(told, UNITS, 7, 28).to_dicts() == [
        {"unit": "a", "return_days": 2.0, "back": 1.0}, {"unit": "b", "return_days": 0.0, "back": 0.0}
    ]  # fmt: skip


def test_what_happens_after_the_first_days_is_no_signal() -> None:
    early = Told.of(LOG.filter(pl.col("ts") < DAY + timedelta(days=7)), UNITS, TRACKS)
    whole = Told.of(LOG, UNITS, TRACKS)
    assert signals(early, UNITS, 7).equals(signals(whole, UNITS, 7))


def world(
    listeners: int, moods: list[float], direct: list[float] | None = None, seed: int = 0
) -> tuple[pl.DataFrame, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Listeners who lived under several policies: a policy moves moods, and returns follow from mood and habit alone,
    but for what acts directly."""
    rng = np.random.default_rng(seed)
    habit, frames, outcomes, names = rng.beta(2, 3, listeners), [], [], []
    for j, lift in enumerate(moods):
        mood = 0.4 + lift + 0.2 * rng.normal(size=listeners)
        active = rng.binomial(7, habit).astype(float)
        plays = rng.poisson(8 * active).astype(float)
        before = rng.binomial(7, habit).astype(float)
        columns = {name: np.zeros(listeners) for name in SIGNALS}
        columns |= {
            "active": active,
            "plays": plays,
            "mood": mood,
            "before_active": before,
            "before_plays": 8 * before,
        }
        share = sigmoid(2.4 * (active + before) / 14 - 1.6 + 0.8 * mood + (direct[j] if direct else 0.0))
        outcomes.append(rng.binomial(21, share).astype(float))
        frames.append(pl.DataFrame({"unit": [f"u{i}" for i in range(listeners)], **columns}))
        names += [f"p{j}"] * listeners
    return pl.concat(frames), np.concatenate(outcomes), np.array(names)


@pytest.fixture(scope="module")
def learned() -> tuple[Surrogate, pl.DataFrame, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    frame, outcome, policy = world(1500, [0.0, 0.1, 0.2, 0.3])
    return fit(frame, outcome, policy), frame, outcome, policy


def test_a_law_that_goes_through_the_signals_is_found(learned: Any) -> None:
    surrogate, *_ = learned
    frame, outcome, policy = world(1500, [0.05, 0.15, 0.25, 0.4], seed=9)
    found = surrogacy(surrogate, frame, outcome, policy)
    assert found.p_value > 0.01
    assert found.slope == pytest.approx(1, abs=0.25)
    bins = calibration(surrogate.predict(frame), outcome)
    assert (np.abs(bins["told"] - bins["true"]) < 5 * bins["se"]).all()
    assert surrogate.gap < 0.1


def test_a_direct_effect_is_told_by_the_check_and_widens_the_gap(learned: Any) -> None:
    surrogate, *_ = learned
    frame, outcome, policy = world(1500, [0.1] * 5, [-0.4, -0.2, 0.0, 0.2, 0.4], seed=3)
    found = surrogacy(surrogate, frame, outcome, policy)
    assert found.p_value < 1e-6
    direct = {row.policy: row.direct for row in found.direct}
    assert direct["p0"] < direct["p2"] < direct["p4"]
    spread = np.std([row.true for row in found.direct], ddof=1)
    assert fit(frame, outcome, policy).gap == pytest.approx(spread, rel=0.35)


def test_no_listeners_own_outcome_teaches_their_prediction(learned: Any) -> None:
    surrogate, frame, outcome, policy = learned
    one = (frame["unit"] == "u7").to_numpy()
    changed = fit(frame, np.where(one, 21.0 - outcome, outcome), policy)
    before, after = surrogate.predict(frame), changed.predict(frame)
    assert (before[one] == after[one]).all()
    assert (before != after).any()


def test_a_prediction_depends_on_its_own_row_alone(learned: Any) -> None:
    surrogate, frame, *_ = learned
    some = [5, 3, 900]
    np.testing.assert_allclose(surrogate.predict(frame[some]), surrogate.predict(frame)[some], rtol=1e-12)


def test_the_gradient_is_the_slope_of_the_predictions(learned: Any) -> None:
    surrogate, frame, *_ = learned
    some, step = frame[:40], 1e-6
    gradient = surrogate.gradient(some)
    for k in (0, 3, 20):
        weights = surrogate.weights.copy()
        weights[:, k] += step
        moved = Surrogate(**{**vars(surrogate), "weights": weights}).predict(some)
        np.testing.assert_allclose((moved - surrogate.predict(some)) / step, gradient[:, k], atol=1e-4)


def test_an_effect_has_three_errors_and_fewer_listeners_say_less(learned: Any) -> None:
    surrogate, frame, outcome, policy = learned
    low, high = frame.filter(policy == "p0"), frame.filter(policy == "p3")
    effect = long_term_effect(surrogate, high, low)
    true = outcome[policy == "p3"].mean() - outcome[policy == "p0"].mean()
    assert effect.total.interval.covers(true)
    assert effect.within.interval.low > 0
    assert effect.total.se == pytest.approx(np.sqrt(effect.se_units**2 + effect.se_fit**2 + effect.se_gap**2))
    few = long_term_effect(surrogate, high[:100], low[:100])
    assert few.se_units > 2 * effect.se_units
    apart = long_term_effect(surrogate, high, low.with_columns(unit=pl.lit("other") + pl.col("unit")))
    assert apart.se_units > effect.se_units, "the same listeners in both arms cancel"
    with pytest.raises(BadInput):
        long_term_effect(surrogate, high[:1], low)


@pytest.mark.slow
def test_intervals_of_effects_hold_over_worlds_and_teachers() -> None:
    truth = world(60_000, [0.05, 0.25], seed=1)
    expected = truth[1][truth[2] == "p1"].mean() - truth[1][truth[2] == "p0"].mean()
    held = []
    for seed in range(120):
        taught = fit(*world(400, [0.0, 0.15, 0.3], seed=2 * seed + 2))
        frame, _, policy = world(400, [0.05, 0.25], seed=2 * seed + 3)
        effect = long_term_effect(taught, frame.filter(policy == "p1"), frame.filter(policy == "p0"))
        held.append(effect.within.interval.covers(expected))
    assert 0.89 <= np.mean(held) <= 0.995  # ridge and binomial noise of 120


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_fractional_logit_ends_at_its_optimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(80), rng.normal(size=(80, 3)) * rng.choice([0.1, 1, 30])])
    y = rng.uniform(size=80) if seed % 2 else (rng.uniform(size=80) < 0.1).astype(float)
    weights = fractional_logit(x, y, 0.5)
    slope = x.T @ (y - sigmoid(x @ weights)) - np.array([0, 0.5, 0.5, 0.5]) * weights
    assert np.abs(slope).max() < 1e-3 * max(1.0, np.abs(x).max())


def test_clustered_means_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    values, group, cluster = rng.normal(size=60), np.repeat([0, 1], 30), np.tile(np.arange(30), 2)
    values[30:] += values[:30]  # the same listeners, alike
    mean, covariance = clustered_means(values, group, cluster)
    contrast = np.array([-1, 1]) @ covariance @ np.array([-1, 1])
    paired = values[30:] - values[:30]
    assert mean[1] - mean[0] == pytest.approx(paired.mean())
    assert contrast == pytest.approx(paired.var(ddof=1) / 30)


def test_a_surrogate_is_kept_whole_and_damage_is_refused(learned: Any, tmp_path: Path) -> None:
    surrogate, frame, *_ = learned
    path = tmp_path / "surrogate.json"
    with pytest.raises(NotReady, match="recsys experiment surrogate"):
        load(path)
    assert save(path, surrogate) == version(surrogate)
    np.testing.assert_array_equal(load(path).predict(frame), surrogate.predict(frame))
    body = orjson.loads(path.read_bytes())
    body["gap"] = 0.0
    path.write_bytes(orjson.dumps(body))
    with pytest.raises(BadInput, match="altered"):
        load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match="cannot be read"):
        load(path)


def test_too_few_listeners_and_wrong_outcomes_are_refused() -> None:
    frame, outcome, policy = world(50, [0.0, 0.1])
    with pytest.raises(BadInput, match="listeners or more"):
        fit(frame, outcome, policy)
    with pytest.raises(BadInput, match="0 to 21"):
        fit(frame, outcome + 30, policy)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four weeks of listeners, half of whom listen more from the 15th day on."""
    rng, rows = np.random.default_rng(5), []
    rate = rng.uniform(0.2, 1.2, 300)
    for day in range(-14, 14):
        treated = (np.arange(300) % 2 == 0) & (day >= 0)
        for i in np.flatnonzero(
            rng.random(300) < np.where(treated, np.minimum(1.6 * rate, 0.95), rate * 0.6)
        ):
            user = f"{i:022d}"
            if day >= 0:
                arm = "treatment" if i % 2 == 0 else "control"
                arms = {"experiment": "ranker", "arm": arm, "overridden": False}
                exposed = orjson.dumps({"version": "1", "arms": [arms]}).decode()
                about = {"kind": "decision", "user_id": user, "request_id": f"{day}-{i}", "surface": "home"}
                rows.append({**about, "ts": DAY + timedelta(days=day), "exposed": exposed})
            rows.append(play(user, day, f"t{rng.integers(9)}"))
    home = Home.of(tmp_path_factory.mktemp("long-term")).make()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    Lake(home.lake).append("events", conform(frame.with_columns(day=pl.col("ts").dt.date()), "events"))
    write_experiment(home, "ranker", "2026-05-11", "2026-05-25")
    return home


def test_a_home_learns_from_its_log_and_tells_an_experiments_month(home: Home) -> None:
    run, where = CliRunner().invoke, ["--json", "--home", str(home.root)]
    done = run(app, ["experiment", "surrogate", "--days", "3", "--horizon", "9", *where])
    assert done.exit_code == 0, done.output
    assert orjson.loads(done.stdout)["explained"] > 0.1
    kept = load(path_of(home))
    assert any(name.startswith("log from ") for name in kept.policies)
    assert any(name.startswith("ranker/") for name in kept.policies)
    (found,) = orjson.loads(run(app, ["experiment", "long-term", "ranker", *where]).stdout)
    assert found["arm"] == "treatment"
    low = found["effect"]["within"]["interval"]["low"]
    assert low > 0, "who listens on more days is expected back on more"
    assert found["effect"]["units"][0] > 100


def test_a_horizon_within_the_first_days_is_refused(home: Home) -> None:
    asked = ["experiment", "surrogate", "--days", "9", "--horizon", "9", "--home", str(home.root)]
    assert isinstance(CliRunner().invoke(app, asked).exception, BadInput)


def test_a_log_that_is_too_short_teaches_nothing(home: Home) -> None:
    with pytest.raises(NotReady, match="28 days"):
        learn(home)
