"""From a frame and a target to a report: what is estimated, what is refused and in which words."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from bandits.ope import plots
from bandits.ope.diagnostics import Limits
from bandits.ope.evaluate import evaluate
from bandits.ope.frame import Target, prepare
from bandits.ope.reward_model import crossed
from benchmarks.ope_worlds import Draw, SlateWorld, bilinear, crooked, unsupported
from recsys.errors import BadInput


@pytest.fixture(scope="module")
def drawn() -> Draw:
    return bilinear(1).draw(np.random.default_rng(0))


@pytest.fixture(scope="module")
def slates() -> Draw:
    return SlateWorld.of("cascade", 8).draw(np.random.default_rng(0))


def test_every_estimator_answers_and_the_right_ones_are_near_the_truth(drawn: Draw) -> None:
    report = evaluate(drawn.frame, drawn.target, bounds={"ips": (0, 4)}, **drawn.options)
    assert [e.estimator for e in report.estimates if e.refused] == []
    for name in ("dm", "ips", "snips", "dr", "switch_dr", "dr_shrunk"):
        found = report.of(name)
        assert abs(found.value - drawn.truth) < 4 * found.error
        low, high = found.intervals["asymptotic"]
        assert low < found.value < high
    low, high = report.of("ips").intervals["bernstein"]
    assert low < drawn.truth < high


def test_slates_of_several_slots_are_weighed_whole(slates: Draw) -> None:
    report = evaluate(slates.frame, slates.target, **slates.options)
    assert report.level == "slate"
    for name in ("slate_ips", "reward_interaction_ips", "cascade_dr"):
        assert abs(report.of(name).value - slates.truth) < 4 * report.of(name).error
    assert report.of("cascade_dr").error < report.of("slate_ips").error
    assert "sum of rewards of a slate" in report.estimand


def test_the_order_of_rows_changes_nothing(slates: Draw) -> None:
    plain = evaluate(slates.frame, slates.target, ["slate_ips", "reward_interaction_ips"])
    order = np.random.default_rng(1).permutation(len(slates.frame))
    mixed = Target("target", np.asarray(slates.target.probability)[order])
    again = evaluate(slates.frame[order], mixed, ["slate_ips", "reward_interaction_ips"])
    for a, b in zip(plain.estimates, again.estimates, strict=True):
        assert b.value == pytest.approx(a.value, abs=1e-12)
        assert b.error == pytest.approx(a.error, abs=1e-12)


def test_too_small_an_effective_sample_is_refused_with_the_way_out() -> None:
    world = bilinear(4, sharpness=4.0, logging=2.0, epsilon=0.05, reverse=True, listeners=60)
    drawn = world.draw(np.random.default_rng(0))
    report = evaluate(drawn.frame, drawn.target, **drawn.options)
    for e in report.estimates:
        assert e.refused is not None
        assert "fewer than 200: log more" in e.refused
        assert np.isnan(e.value)
    told = evaluate(drawn.frame, drawn.target, ["ips"], limits=Limits(min_effective=0, min_listeners=0))
    assert np.isfinite(told.of("ips").value)


def test_few_listeners_are_refused_however_many_decisions_they_made() -> None:
    n = 2000
    frame = pl.DataFrame(
        {
            "request_id": range(n),
            "listener": [i % 12 for i in range(n)],
            "item": 0,
            "propensity": 0.5,
            "reward": 1.0,
        }
    )
    report = evaluate(frame, Target("same", [0.5] * n), ["ips"])
    assert "12 listeners count as 12" in str(report.of("ips").refused)


def test_support_violations_are_refused_where_known_and_warned_about_where_they_show() -> None:
    known = unsupported(5, True).draw(np.random.default_rng(0))
    report = evaluate(known.frame, known.target, **known.options)
    for name in ("dm", "ips", "snips", "dr", "switch_dr", "dr_shrunk"):
        assert "never places" in str(report.of(name).refused)
    assert report.of("mips").refused is None, "every category is logged"
    hidden = unsupported(5, False).draw(np.random.default_rng(0))
    found = evaluate(hidden.frame, hidden.target, ["ips"]).of("ips")
    assert "below 1" in found.warnings[0]


def test_a_wrong_reward_model_is_warned_about() -> None:
    drawn = crooked(3).draw(np.random.default_rng(1))
    report = evaluate(drawn.frame, drawn.target, ["dm", "dr"], **drawn.options)
    assert "differs from dr" in report.of("dm").warnings[0]
    assert report.of("dr").warnings == []


def test_what_the_data_lack_is_said(drawn: Draw) -> None:
    bare = Target("bare", drawn.target.probability)
    report = evaluate(drawn.frame.drop("likelihood"), bare)
    assert "whole distribution" in str(report.of("dr").refused)
    assert "likelihood" in str(report.of("mips").refused)
    assert report.of("ips").refused is None
    lacking = evaluate(drawn.frame, drawn.target, ["dm"])
    assert "features" in str(lacking.of("dm").refused)


def test_another_model_may_be_given_and_its_own_error_is_not_claimed(drawn: Draw) -> None:
    from sklearn.linear_model import LinearRegression

    report = evaluate(drawn.frame, drawn.target, ["dm", "dr"], model=LinearRegression, **drawn.options)
    ours = evaluate(drawn.frame, drawn.target, ["dm", "dr"], **drawn.options)
    assert report.of("dm").value == pytest.approx(ours.of("dm").value, abs=2e-3)
    assert "own error" in report.of("dm").warnings[-1]
    assert report.of("dm").error < ours.of("dm").error


def test_what_is_no_off_policy_data_is_left_out_and_counted(drawn: Draw) -> None:
    n = len(drawn.frame)
    rung = ["light" if i < 10 else "full" for i in range(n)]
    logged = [i >= 15 for i in range(n)]
    frame = drawn.frame.with_columns(rung=pl.Series(rung), logged=pl.Series(logged))
    report = evaluate(frame, drawn.target, ["ips"])
    assert report.dropped == {"below the full rung": 10, "not logged": 5}
    assert report.decisions == n - 15
    rest = evaluate(drawn.frame[15:], Target("t", np.asarray(drawn.target.probability)[15:]), ["ips"])
    assert report.of("ips").value == rest.of("ips").value


def broken(drawn: Draw, **columns: Any) -> pl.DataFrame:
    return drawn.frame.with_columns(**columns)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"propensity": pl.lit(0.0)}, "within \\(0, 1\\]"),
        ({"reward": pl.lit(None, pl.Float64)}, "no finite reward"),
        ({"request_id": pl.lit(1)}, "comes twice"),
        ({"item": pl.lit(99)}, "not among the eligible"),
        ({"logging": pl.col("logging") * 0.5}, "does not sum to 1"),
        ({"propensity": pl.lit(0.5)}, "differ by up to"),
        ({"slot": pl.lit(1)}, "without gaps"),
    ],
)
def test_a_frame_that_contradicts_itself_is_refused(drawn: Draw, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        evaluate(broken(drawn, **columns), drawn.target)


def test_missing_columns_levels_and_estimators_are_named(drawn: Draw) -> None:
    with pytest.raises(BadInput, match="columns listener"):
        prepare(drawn.frame.drop("listener"), drawn.target)
    with pytest.raises(BadInput, match="choose among"):
        evaluate(drawn.frame, drawn.target, ["slate_ips"])
    with pytest.raises(BadInput, match="slot or slate"):
        evaluate(drawn.frame, drawn.target, level="page")
    with pytest.raises(BadInput, match="one entry a row"):
        evaluate(drawn.frame, Target("short", [0.5]))


def test_sequences_need_times_and_come_with_them(drawn: Draw) -> None:
    with pytest.raises(BadInput, match="column ts"):
        evaluate(drawn.frame, drawn.target, ["ips"], period=10)
    frame = drawn.frame.with_columns(ts=pl.int_range(pl.len()))
    found = evaluate(frame, drawn.target, ["ips"], period=len(frame) // 2, bounds={"ips": (0, 4)}).of("ips")
    assert found.intervals["sequence"][0] < drawn.truth < found.intervals["sequence"][1]
    assert found.intervals["betting"][0] < drawn.truth < found.intervals["betting"][1]


def test_the_report_is_readable_as_a_table_as_json_and_as_pictures(drawn: Draw) -> None:
    report = evaluate(drawn.frame, drawn.target, ["ips", "dr", "mips"])
    text = report.table()
    assert "the logging policy itself" in text
    assert "dr: refused: needs" in text
    body = json.loads(report.to_json())
    assert body["estimates"][0]["value"] == pytest.approx(report.of("ips").value)
    assert body["estimates"][1]["value"] is None
    assert body["estimand"].startswith("one-step value of target")
    for picture in (plots.overlap(report), plots.forest(report)):
        assert picture.startswith(b"\x89PNG")


def test_the_lift_is_paired_with_the_logging_policys_own_value(drawn: Draw) -> None:
    found = evaluate(drawn.frame, drawn.target, ["snips"]).of("snips")
    low, high = found.lift_interval
    assert low < found.lift < high
    assert high - low < 2 * 1.96 * found.error, (
        "paired differences are narrower than the estimate itself here"
    )


def test_crossed_features_hold_both_and_every_product() -> None:
    made = crossed(np.array([[2.0, 3.0]]), np.array([[5.0], [7.0]]))(np.array([0, 0]), np.array([1, 0]))
    assert made.tolist() == [[2, 3, 7, 14, 21], [2, 3, 5, 10, 15]]
