"""The whole table on a checkerboard: names, order of models, bounded blocks, and files that come out the
same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recsys.evaluation import evaluate as module
from recsys.evaluation.baselines import BASELINES
from recsys.evaluation.evaluate import counts_before, evaluate, top_lists
from recsys.evaluation.report import add_curves, write_html
from recsys.evaluation.table import read_json, render, to_json, write_json
from recsys.evaluation.tasks import build_tasks


@pytest.fixture(scope="module")
def models(checkerboard):
    return {n: BASELINES[n](checkerboard, checkerboard.split.test) for n in ("popularity", "markov", "rules")}


@pytest.fixture(scope="module")
def tasks(checkerboard):
    return build_tasks(
        checkerboard, checkerboard.split.test, checkerboard.split.end, names=("next_track", "home"), cap=150
    )


@pytest.fixture(scope="module")
def rows(checkerboard, models, tasks):
    plays = counts_before(checkerboard, checkerboard.split.test)
    return evaluate(models, tasks, ks=(5, 10), plays_per_track=plays, bootstrap=100)


def test_rows_have_the_names_that_others_rely_on(rows):
    assert set(to_json(rows)[0]) == {"model", "task", "cohort", "metric", "k", "value", "low", "high"}
    assert {r.metric for r in rows} == {"recall", "ndcg", "mrr", "coverage", "gini", "novelty", "diversity"}
    assert {r.task for r in rows} == {"next_track", "home"}
    assert {"all", "heavy", "known_tracks"} <= {r.cohort for r in rows}


def test_intervals_hold_their_estimate(rows):
    for row in rows:
        if np.isfinite(row.value):
            assert row.low - 1e-9 <= row.value <= row.high + 1e-9, row


def test_the_chain_beats_popularity_on_a_cycle(rows):
    ndcg = {
        r.model: r.value
        for r in rows
        if (r.task, r.metric, r.k, r.cohort) == ("next_track", "ndcg", 5, "all")
    }
    assert ndcg["markov"] > 0.95 > 0.4 > ndcg["popularity"]


def test_the_table_does_not_depend_on_the_block_size(models, tasks, rows, checkerboard, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 24 * 7)
    plays = counts_before(checkerboard, checkerboard.split.test)
    assert to_json(evaluate(models, tasks, ks=(5, 10), plays_per_track=plays, bootstrap=100)) == to_json(rows)


def test_ineligible_tracks_are_never_listed(models, toy, checkerboard):
    items = toy.items(closed=5)
    dataset = toy.dataset(checkerboard.plays, items)
    (task,) = build_tasks(dataset, dataset.split.test, dataset.split.end, names=("home",))
    lists = top_lists(models, task, 24).lists
    brazil = task.batch.country == items.country_number("BR")
    for top in lists.values():
        assert not (top[brazil] == 5).any()
        assert (top[~brazil] == 5).any(axis=1).all()


def test_progress_ends_at_the_total(models, tasks):
    seen = []
    evaluate(models, tasks, ks=(5,), bootstrap=10, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == 3 * sum(len(t) for t in tasks)
    assert seen == sorted(seen)


def test_json_is_read_back_as_written_and_two_runs_are_equal(rows, models, tasks, checkerboard, tmp_path):
    write_json(rows, tmp_path / "a.json")
    plays = counts_before(checkerboard, checkerboard.split.test)
    write_json(evaluate(models, tasks, ks=(5, 10), plays_per_track=plays, bootstrap=100), tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert to_json(read_json(tmp_path / "a.json")) == json.loads((tmp_path / "a.json").read_text())


def test_the_text_table_lists_the_best_model_first(rows):
    text = render(rows)
    assert text.index("markov") < text.index("popularity")
    assert "ndcg@5" in text


def test_the_html_report_holds_every_model_and_its_plots(rows, models, tasks, tmp_path):
    curves = {}
    evaluate(models, tasks, ks=(10,), bootstrap=10, keep=lambda top: add_curves(top, curves))
    page = tmp_path / "report.html"
    write_html(rows, page, title="Checkerboard", curves=curves)
    html = page.read_text()
    assert html.count("data:image/png;base64,") == 5  # bars and curves for each task, one cohort figure
    assert all(name in html for name in models)
    assert "<script" not in html
