"""Drift against a reference: quiet without a shift, loud with one; and the file that a release carries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.candidates import Candidates
from recsys.errors import ReleaseRefused
from recsys.pipeline import Result
from recsys.schemas import Surface
from recsys.types import Context, Query, QueryBatch, UserState
from serving.watch.drift import ACT, LEAST, WATCH, WINDOW, Drift, psi
from serving.watch.reference import FILE, ROWS, Histogram, Reference, binned, of_rows, thinned

NAMES = ("plays", "popularity", "duration", "audio", "surface")
SCORES = ("utility",)


def rows(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """One answer's candidates: counts with many zeros, long tails, missing values, and a listener's own level."""
    level = rng.normal()
    pair = np.stack(
        [
            rng.poisson(0.3, n).astype(np.float32),
            rng.lognormal(level, 1.0, n),
            np.where(rng.random(n) < 0.1, np.nan, rng.normal(200, 40, n)),
            rng.normal(size=n),
            np.full(n, np.nan),
        ],
        axis=1,
    ).astype(np.float32)
    return pair, rng.normal(size=n)


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(0)
    drawn = [rows(rng, ROWS) for _ in range(1000)]
    pair = np.concatenate([p for p, _ in drawn])
    return of_rows(NAMES[:-1], pair[:, :-1], {"utility": np.concatenate([u for _, u in drawn])}, 1000)


def answers(
    monitor: Drift, n: int, seed: int = 1, change=lambda pair, utility: (pair, utility), **query
) -> None:
    rng = np.random.default_rng(seed)
    for i in range(n):
        pair, utility = change(*rows(rng, 200))
        candidates = Candidates(np.arange(200), np.array([0, 200]), {"pair": pair, "utility": utility})
        asked = Query(f"{i:032x}", Surface.HOME, 0, i, 10, UserState("0" * 22), Context())
        batch = QueryBatch(None, np.zeros(1), None, None, None, (replace(asked, **query),))  # type: ignore[arg-type]
        monitor.observe(batch, Result([], "full", candidates, {}, {}, {}, {}))


def told(reference: Reference, **kwargs) -> dict:
    monitor = Drift(reference, NAMES, every=1)
    answers(monitor, 600, **kwargs)
    return monitor.report()


def test_traffic_like_the_reference_stays_below_the_first_threshold(reference: Reference) -> None:
    report = told(reference)
    assert report["answers"] == 600
    assert set(report["features"]) == set(NAMES[:-1])
    assert max(of["psi"] for of in report["features"].values()) < WATCH / 2
    assert report["scores"]["utility"]["psi"] < WATCH / 2
    assert report["features"]["duration"]["null_rate"] == pytest.approx(0.1, abs=0.01)
    assert report["features"]["duration"]["expected_null_rate"] == pytest.approx(0.1, abs=0.01)


def shifted(column: int, to) -> dict:
    def change(pair: np.ndarray, utility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pair[:, column] = to(pair[:, column])
        return pair, utility

    return {"change": change}


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("audio", lambda x: np.zeros_like(x)),
        ("popularity", lambda x: 3 * x),
        ("duration", lambda x: np.full_like(x, np.nan)),
        ("plays", lambda x: x + 1),
    ],
)
def test_a_planted_shift_is_seen_in_its_feature_and_in_no_other(reference: Reference, name: str, to) -> None:
    report = told(reference, **shifted(NAMES.index(name), to))
    assert report["features"][name]["psi"] > ACT
    assert all(of["psi"] < WATCH for other, of in report["features"].items() if other != name)


def test_a_column_that_goes_missing_is_told_as_missing(reference: Reference) -> None:
    report = told(reference, **shifted(2, lambda x: np.full_like(x, np.nan)))
    assert report["features"]["duration"]["null_rate"] == 1.0


def test_a_score_that_moves_is_seen(reference: Reference) -> None:
    report = told(reference, change=lambda pair, utility: (pair, utility + 1))
    assert report["scores"]["utility"]["psi"] > ACT


def test_nothing_is_said_of_few_answers_or_of_other_surfaces(reference: Reference) -> None:
    monitor = Drift(reference, NAMES, every=1)
    answers(monitor, LEAST - 1)
    answers(monitor, 300, surface=Surface.RADIO)
    report = monitor.report()
    assert report["answers"] == LEAST - 1
    assert report["features"] == {}


def test_the_window_forgets_and_so_a_shift_that_ended_ends(reference: Reference) -> None:
    monitor = Drift(reference, NAMES, every=1)
    answers(monitor, 300, **shifted(3, np.zeros_like))
    assert monitor.report()["features"]["audio"]["psi"] > ACT
    for part in range(WINDOW // 300 + 1):
        answers(monitor, 300, seed=2 + part)
        report = monitor.report()
    assert report["answers"] <= WINDOW + 100
    assert report["features"]["audio"]["psi"] < WATCH


def test_one_answer_in_four_is_sampled_whichever_replica_asks(reference: Reference) -> None:
    monitor = Drift(reference, NAMES)
    answers(monitor, 400)
    assert monitor.report()["answers"] == 100


def test_a_reference_comes_back_from_its_file_and_a_release_without_one_has_none(
    reference: Reference, tmp_path: Path
) -> None:
    assert Reference.read(tmp_path) is None
    reference.save(tmp_path)
    assert Reference.read(tmp_path) == reference
    assert reference.without_scores().scores == {}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"features": {}}', '{"features": 1, "scores": 2, "requests": 3}']
)
def test_a_damaged_reference_refuses_the_release(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ReleaseRefused, match=r"reference\.json cannot be read"):
        Reference.read(tmp_path)


@given(arrays.arrays(np.float64, st.integers(0, 60), elements=st.floats(width=32)))
def test_every_value_lies_in_exactly_one_bin_and_the_same_values_have_no_drift(values: np.ndarray) -> None:
    histogram = Histogram.of(values)
    assert sum(histogram.counts) == len(values)
    assert len(histogram.counts) == len(histogram.edges) + 2 <= 11
    assert np.array_equal(binned(values, np.array(histogram.edges)), histogram.counts)
    assert psi(histogram, np.array(histogram.counts)) == pytest.approx(0, abs=1e-12)
    assert len(range(len(values))[thinned(len(values))]) <= ROWS
