"""The tables of models: one definition of a metric, rows that come back as they were, tests that hold their level."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from benchmarks import peer_models
from benchmarks.model_curve import curves, levels, plot
from benchmarks.model_fits import Entry
from benchmarks.model_report import report
from benchmarks.model_rows import Hits, Point, Run, hits_of, load, save, single, tuning_of
from benchmarks.model_tables import Asked, TableSpec, asked
from benchmarks.models import Questions, train_and_ask
from benchmarks.paired import compare, sign_flip
from benchmarks.peers.meter import Meter, Split, best_unseen, quality
from recsys.evaluation.baselines import BASELINES
from recsys.evaluation.ragged import Ragged


@pytest.fixture
def spec(checkerboard):
    def ask(folder, valid):
        split = checkerboard.split
        start, end = (split.valid, split.test) if valid else (split.test, split.end)
        return asked(checkerboard, start, end, "next_track", 200, {"all": "all"})

    return TableSpec("toy", "Toy", "A toy.", "session", "ndcg@10", ("hr@10", "ndcg@10"), ("all",), (), ask)


def lists(rng, queries=50, depth=20, items=40):
    return np.stack([rng.permutation(items)[:depth] for _ in range(queries)]).astype(np.int32)


def test_the_peers_figures_are_defined_as_ours():
    rng = np.random.default_rng(0)
    top, target = lists(rng, 300), rng.integers(0, 40, 300)
    ours = Hits.of(top, single(target)).means()
    for name, value in quality(top.astype(np.int64), target).items():
        assert value == pytest.approx(ours[name], abs=1e-12)


def test_hits_give_the_metrics_of_several_targets():
    hits = Hits.of(
        np.array([[3, 1, 2, *range(10, 27)]], np.int32),
        Ragged(np.array([0, 4]), np.array([1, 2, 8, 9])),
    )
    ideal = sum(1 / np.log2(rank + 1) for rank in (1, 2, 3, 4))
    found = 1 / np.log2(3) + 1 / np.log2(4)
    assert hits.values("ndcg@10")[0] == pytest.approx(found / ideal)
    assert (hits.values("hr@10")[0], hits.values("mrr@10")[0], hits.values("recall@10")[0]) == (1, 0.5, 0.5)
    with pytest.raises(ValueError, match="no metric"):
        hits.values("auc@10")


def test_a_row_comes_back_as_it_was_kept(tmp_path):
    rng = np.random.default_rng(1)
    hits = Hits.of(lists(rng), single(rng.integers(0, 40, 50)))
    part = Hits(hits.hit[:20], hits.targets[:20])
    run = Run(
        "toy", "Model, best", "ours", 3, {"a": 1}, 2.5, 100.0, curve=[Point(0.5, 1.0, {"ndcg@10": 0.1})]
    )
    save(run, hits, {"first": part}, tmp_path)
    (back,) = load("toy", tmp_path)
    assert replace(back, metrics={}, commit="", at="") == run
    assert back.metrics["first"] == part.means()
    np.testing.assert_array_equal(hits_of(back, "all", tmp_path).hit, hits.hit)
    np.testing.assert_array_equal(hits_of(back, "first", tmp_path).targets, part.targets)


def test_sign_flips_give_the_exact_p_of_a_small_sample():
    rng = np.random.default_rng(2)
    units, difference = np.repeat(np.arange(8), 3), rng.normal(0.2, 1, 24)
    sums = np.bincount(units, weights=difference)
    exact = np.mean([abs(np.dot(s, sums)) >= abs(sums.sum()) - 1e-12 for s in product((-1, 1), repeat=8)])
    assert sign_flip(difference, units, 40_000) == pytest.approx(exact, abs=0.015)


def test_queries_of_one_session_do_not_count_as_many():
    """A session-wide difference repeated over its queries is no evidence: rejections stay near 5% of 200 samples."""
    rng = np.random.default_rng(3)
    units = np.repeat(np.arange(30), 20)
    clustered = [sign_flip(np.repeat(rng.normal(0, 1, 30), 20), units, 500) for _ in range(200)]
    naive = [sign_flip(np.repeat(rng.normal(0, 1, 30), 20), np.arange(600), 500) for _ in range(20)]
    assert np.mean(np.array(clustered) < 0.05) < 0.11
    assert np.mean(np.array(naive) < 0.05) > 0.4


def test_a_model_is_tuned_on_validation_and_asked_the_test_once(tmp_path, spec, checkerboard):
    fitted = []

    def fit(data, until, settings):
        fitted.append((until, settings))
        return BASELINES["markov" if settings["good"] else "popularity"](data, until)

    entry = Entry("ours", fit, ({"good": False}, {"good": True}), (0,))
    questions = Questions(spec, tmp_path)
    train_and_ask(spec, "Either", entry, 0, questions, tmp_path)
    train_and_ask(spec, "Either", entry, 0, questions, tmp_path)  # it is there already
    split = checkerboard.split
    assert [until for until, _ in fitted] == [split.valid, split.valid, split.test]
    (run,) = load("toy", tmp_path)
    assert run.settings == {"good": True}
    assert run.metrics["all"]["ndcg@10"] > 0.9
    tried = json.loads(tuning_of("toy", "Either", tmp_path).read_text())
    assert [point["settings"]["good"] for point in tried] == [False, True]


def test_the_report_says_which_differences_are_there(tmp_path, spec):
    questions = Questions(spec, tmp_path)
    for name, kind, fit in (
        ("Markov", "ours", "markov"),
        ("popularity", "simple", "popularity"),
        ("same", "simple", "markov"),
    ):
        entry = Entry(kind, lambda data, until, settings, fit=fit: BASELINES[fit](data, until))
        train_and_ask(spec, name, entry, 0, questions, tmp_path)
    lines = report(spec, tmp_path, tmp_path)
    assert lines[0].model in ("Markov", "same")
    assert lines[0].interval.low <= lines[0].metrics["ndcg@10"] <= lines[0].interval.high
    (written,) = tmp_path.glob("*-models-toy.json")
    tests = {test["other"]: test for test in json.loads(written.read_text())["figures"]["tests"]}
    assert tests["popularity"]["p"] < 0.01 < tests["same"]["p"]
    assert tests["same"]["difference"]["value"] == 0
    text = written.with_suffix(".md").read_text()
    assert "A toy." in text
    assert "| Markov |" in text


def test_the_units_of_music_are_sessions(checkerboard, spec):
    found: Asked = spec.ask(None, False)
    sessions = found.task.batch.histories.last(1).session
    pairs = set(zip(found.task.listener.tolist(), sessions.tolist(), strict=True))
    assert len(np.unique(found.units)) == len(pairs)


def test_the_difference_of_a_model_with_itself_is_nothing():
    values = np.random.default_rng(4).random(40)
    found = compare(values, values, np.arange(40) // 4, 500)
    assert (found.difference.value, found.p) == (0, 1)


def test_seconds_to_a_level_are_those_of_the_first_point_at_it():
    def run(seed, values):
        points = [Point(i, 100.0 * (i + 1), {"ndcg@10": v}) for i, v in enumerate(values)]
        return Run("ml1m", "m", "ours", seed, {}, 1, 1, curve=points)

    found = curves([run(0, [0.05, 0.11, 0.14]), run(1, [0.10, 0.12, 0.16]), run(2, [0.05, 0.12, 0.14])])
    assert levels(found) == [["m", "200", "300", "-", "-", "0.1400 of 300 s"]]
    assert plot(found)[:4] == b"\x89PNG"


def test_a_peers_run_becomes_a_row_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    target = rng.integers(0, 40, 30)
    work = tmp_path / "work"
    folder = peer_models.folder_of("RePlay SasRec, cross-entropy", 0, work)
    meter = Meter(folder, {"d": 64}, target, until_ndcg=0.17, budget_s=50)
    top = np.tile(np.arange(20), (30, 1))
    meter.used_s = 30.0
    meter.record(1, top)
    assert not meter.done or meter.points[-1]["ndcg@10"] >= 0.17
    again = Meter(folder, {"d": 64}, target, until_ndcg=2.0, budget_s=30)
    assert (again.used_s, again.done) == (30.0, True)
    with pytest.raises(SystemExit, match="other settings"):
        Meter(folder, {"d": 32}, target, until_ndcg=0.17, budget_s=50)

    monkeypatch.setattr(peer_models.ml1m, "load", lambda _: type("S", (), {"test": target}))
    run = peer_models.keep("RePlay SasRec, cross-entropy", 0, work, tmp_path, tmp_path / "rows")
    assert run is not None
    (row,) = load("ml1m", tmp_path / "rows")
    assert (row.kind, row.cpu_s, row.settings) == ("peer", 30.0, {"d": 64})
    assert row.metrics["all"]["ndcg@10"] == pytest.approx(row.curve[0].metrics["ndcg@10"])


def test_the_split_that_peers_read_holds_out_what_ours_does(tmp_path, monkeypatch):
    sequences = Ragged(np.array([0, 4, 9]), np.array([5, 1, 2, 3, 9, 8, 7, 6, 0], np.int32))
    monkeypatch.setattr(peer_models.ml1m, "load", lambda _: peer_models.ml1m.Split(sequences))
    peer_models.write_split(tmp_path, tmp_path / "split.npz")
    split = Split.read(tmp_path / "split.npz")
    assert [part.tolist() for part in split.train] == [[5, 1], [9, 8, 7]]
    assert [part.tolist() for part in split.seen] == [[5, 1, 2], [9, 8, 7, 6]]
    assert split.target.tolist() == [3, 0]
    scores = np.tile(np.arange(30.0), (2, 1))
    best = best_unseen(scores, [np.array([29, 28]), np.array([0])])
    assert best[:, 0].tolist() == [27, 29]
    assert not np.isin([28, 29], best[0]).any()
