"""The dashboard: each experiment with its state and what its newest report says; running ones first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from experiments.config import Config, load
from experiments.report.cards import Card, cards
from experiments.report.page import dashboard
from experiments.report.shelf import Shelf
from tests.experiments.page_reader import PageReader
from tests.experiments.sample_reports import HOSTILE, broken, many_arms, running, shipped

NOW = datetime(2026, 12, 20, 6, tzinfo=UTC)
QUESTION = "question: {primary: hours, mde: 0.02, stopping: {rule: always_valid}}"
ARMS = "arms: [{name: control, weight: 0.5}, {name: treatment, weight: 0.5, parameters: {home.epsilon: 0.1}}]"
YAML = f"""
layers: [{{name: a}}]
holdouts: [{{name: quiet-2026, salt: q, share: 0.02, layers: [a]}}]
experiments:
  - {{name: home-mixer, salt: s1, start: 2026-11-01, stop: 2026-11-29, {ARMS}, {QUESTION}}}
  - {{name: slow-radio, salt: s2, active: false, {ARMS.replace("home", "radio")}, {QUESTION}}}
  - {{name: later, salt: s3, start: 2027-01-01, stop: 2027-01-29, {ARMS}, {QUESTION}}}
  - {{name: cut, salt: s4, start: 2026-10-01, stop: 2026-10-29, stopped: 2026-10-05, {ARMS}, {QUESTION}}}
  - {{name: ranker, owner: Home team, salt: s5, start: 2026-12-01T08:00:00Z, stop: 2026-12-29T08:00:00Z, {ARMS},
     {QUESTION}}}
  - {{name: banner, salt: s6, coverage: 0.25, arms: [{{name: "on", weight: 1.0, value: true}}]}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "all.yaml"
    path.write_text(YAML)
    return load(path)


def board(config: Config, tmp_path: Path) -> dict[str, Card]:
    return {card.name: card for card in cards(config, Shelf.of(tmp_path), NOW)}


def test_states_and_days_follow_from_the_config_s_times(config: Config, tmp_path: Path) -> None:
    found = board(config, tmp_path)
    assert {name: (c.state, c.day, c.of) for name, c in found.items() if c.kind == "experiment"} == {
        "home-mixer": ("ended", 28, 28),
        "slow-radio": ("draft", None, None),
        "later": ("scheduled", None, 28),
        "cut": ("stopped", 5, 28),
        "ranker": ("running", 19, 28),
    }
    assert (found["banner"].kind, found["banner"].state, found["banner"].note) == (
        "flag",
        "running",
        "on 100%; for 25% of listeners",
    )
    assert found["quiet-2026"].note == "2% of listeners are kept out of experiments in a"


def test_a_test_whose_rule_has_so_many_days_is_over_when_they_are(tmp_path: Path) -> None:
    asks = "question: {primary: hours, mde: 0.02, stopping: {rule: fixed, days: 14}}"
    later = "stopped: 2026-12-18"
    (tmp_path / "rule.yaml").write_text(
        f"""
experiments:
  - {{name: by-rule, salt: s1, start: 2026-12-01, {ARMS}, {asks}}}
  - {{name: cut-late, salt: s2, start: 2026-12-01, {later}, {ARMS.replace("home", "radio")}, {asks}}}
"""
    )
    found = board(load(tmp_path / "rule.yaml"), tmp_path)
    assert (found["by-rule"].state, found["by-rule"].day, found["by-rule"].of) == ("ended", 14, 14)
    assert found["cut-late"].state == "ended"  # its rule was done before anybody cut it


def test_a_card_says_what_the_newest_report_says(config: Config, tmp_path: Path) -> None:
    shelf = Shelf.of(tmp_path)
    shelf.keep(broken().to_json().replace(b'"car-mode"', b'"ranker"'), "ranker", "20261218T080000Z")
    shelf.keep(running("always_valid").to_json(), "ranker", "20261219T080000Z")
    card, report = board(config, tmp_path)["ranker"], running("always_valid")
    row = report.metrics[0]
    assert (card.decision, card.sentence, card.units) == ("keep_running", report.verdict.sentence, 38_000)
    assert card.ratio == ("no_worse", "as planned")
    assert card.lift == pytest.approx(row.effect.lift)
    assert row.low is not None
    assert card.low == pytest.approx(row.low / row.effect.control_value)
    assert card.next_look == "2026-12-21"
    assert card.link == "ranker.html"


def test_the_worst_light_wins(config: Config, tmp_path: Path) -> None:
    report = running("always_valid")
    guards = [replace(r, standing="breached") if r.metric == "latency" else r for r in report.metrics]
    bad = replace(report, metrics=tuple(guards))
    Shelf.of(tmp_path).keep(bad.to_json(), "ranker", "20261219T080000Z")
    assert board(config, tmp_path)["ranker"].guardrails == ("breached", "latency breached")
    lost = replace(broken(), name="ranker")
    Shelf.of(tmp_path).keep(lost.to_json(), "ranker", "20261219T090000Z")
    assert board(config, tmp_path)["ranker"].ratio == ("breached", "mismatch")


def test_of_several_treatments_the_one_to_ship_is_shown(config: Config, tmp_path: Path) -> None:
    report = many_arms()
    chosen = replace(report, name="ranker", verdict=replace(report.verdict, arm="some"))
    Shelf.of(tmp_path).keep(chosen.to_json(), "ranker", "20261219T080000Z")
    card = board(config, tmp_path)["ranker"]
    assert card.arm == "some"
    assert card.lift == pytest.approx(report.row("retention", "some").effect.lift)


def test_an_experiment_that_left_the_config_stays_as_long_as_its_report(
    config: Config, tmp_path: Path
) -> None:
    Shelf.of(tmp_path).keep(replace(shipped(), name="older").to_json(), "older", "20261001T080000Z")
    card = board(config, tmp_path)["older"]
    assert (card.state, card.decision, card.of) == ("ended", "ship", 28)


def test_a_report_of_another_version_costs_only_its_own_line(config: Config, tmp_path: Path) -> None:
    Shelf.of(tmp_path).keep(b'{"name": "ranker", "verdict": {}}', "ranker", "20261219T080000Z")
    found = board(config, tmp_path)
    assert "another version" in found["ranker"].sentence
    assert "another version" in PageReader(dashboard(list(found.values()))).text


def test_running_ones_come_first_and_flags_and_holdouts_have_a_list_of_their_own(
    config: Config, tmp_path: Path
) -> None:
    Shelf.of(tmp_path).keep(running().to_json(), "ranker", "20261219T080000Z")
    html = dashboard(
        list(board(config, tmp_path).values()), {"Version of the config": config.version}, admin="/admin"
    )
    found = PageReader(html)
    assert not found.faults
    places = [found.text.index(name) for name in ("ranker", "home-mixer", "Flags and holdouts", "quiet-2026")]
    assert places == sorted(places)
    for text in (
        "day 19 of 28",
        "Home team",
        "Next look 21 Dec",
        config.version,
        "38,000 units",
        "recsys experiment report home-mixer",
    ):
        assert text in found.text
    links = {attrs["href"] for tag, attrs in found.elements if tag == "a"}
    assert links == {"/admin", "ranker.html"}


def test_an_empty_board_and_hostile_texts_are_fine() -> None:
    assert "No experiment runs" in PageReader(dashboard([])).text
    card = Card(
        HOSTILE,
        "experiment",
        "running",
        HOSTILE,
        HOSTILE,
        decision="ship",
        sentence=HOSTILE,
        metric=HOSTILE,
        standing="better",
        lift=0.1,
        low=0.0,
        high=None,
    )
    flag = Card(HOSTILE, "flag", "running", HOSTILE, note=HOSTILE)
    html = dashboard([card, flag], {HOSTILE: HOSTILE})
    assert HOSTILE not in html
    assert not PageReader(html).faults
