"""The page of a report: what must be shown is shown, nothing is computed or loaded, and nobody's text is markup."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.report import numbers
from experiments.report.page import page, policy
from experiments.report.plots.canvas import Axis, tick_texts, ticks
from experiments.report.plots.effect import effect_plot
from experiments.report.plots.forest import axis_of
from experiments.report.record import Happening, Report
from experiments.report.wording import spread
from recsys.errors import NotReady
from tests.experiments.page_reader import PageReader
from tests.experiments.sample_reports import ALL, HOSTILE, plain, running

Json = dict[str, Any]


@pytest.fixture(scope="module")
def stored() -> dict[str, Json]:
    return {name: plain(make()) for name, make in ALL.items()}


@pytest.fixture(scope="module")
def pages(stored: dict[str, Json]) -> dict[str, str]:
    return {name: page(report, board="/experiments") for name, report in stored.items()}


@pytest.fixture(scope="module")
def read(pages: dict[str, str]) -> dict[str, PageReader]:
    return {name: PageReader(html) for name, html in pages.items()}


@pytest.mark.parametrize("name", ALL)
def test_every_state_has_a_well_formed_page_without_a_number_that_is_none(
    read: dict[str, PageReader], name: str
) -> None:
    found = read[name]
    assert not found.faults
    assert not re.findall(r"\b(nan|None|inf|Undefined|null)\b", found.text)
    for tag, attrs in found.elements:
        for attribute in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "points", "aria-label"):
            assert not re.search(r"\b(nan|None|inf)\b", attrs.get(attribute, "")), (tag, attrs)


def test_the_same_report_twice_gives_the_same_bytes() -> None:
    assert page(plain(running())).encode() == page(plain(running())).encode()


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a report, with where it stands."""
    if isinstance(value, str):
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from texts(part, f"{path}.{key}" if isinstance(value, dict) else path)


CODES = re.compile(
    r"\.(day|at|made_at|data_until|start|stop|next_look|first|decision|standing|direction|outcome|kind)$"
)


@pytest.mark.parametrize("name", ["running", "shipped", "broken", "many-arms", "draft"])
def test_every_text_of_the_report_is_on_the_page(
    stored: dict[str, Json], read: dict[str, PageReader], name: str
) -> None:
    shown = read[name].text.lower()
    said = [(path, text) for path, text in texts(stored[name]) if not CODES.search(path)]
    assert len(said) > 8
    lost = [
        (path, text) for path, text in said if text.lower() not in shown and not path.startswith(".targeting")
    ]
    assert not lost


@pytest.mark.parametrize("name", ["running", "many-arms"])
def test_every_metric_is_shown_with_all_its_numbers(
    stored: dict[str, Json], read: dict[str, PageReader], name: str
) -> None:
    shown = read[name].text
    for row in stored[name]["metrics"]:
        effect = row["effect"]
        for n in (effect["n_control"], effect["n_treatment"]):
            assert f"{n:,}" in shown
        for p in (row["p"], effect["p_value"], effect["p_adjusted"], row["breach_p"]):
            assert p is None or str(numbers.p_value(p)) in shown
        assert str(numbers.percent(effect["lift"], sign=True)) in shown
        assert str(numbers.chance(effect["bayes"]["chance_to_beat"])) in shown
        assert f"standard error {spread(effect, effect['se'])} df" in shown
        gain = effect["variance_reduction"]
        assert gain < 0.001 or f"{100 * gain:.1f}% {1 / (1 - gain):.2f} × units" in shown


def test_what_decides_whether_to_read_on_stands_first(read: dict[str, PageReader]) -> None:
    shown = read["running"].text
    order = [
        "Keep it running: skip_rate is open",
        "Did the arms get their share?",
        "Do the guardrails hold?",
        "· the question",
        "All metrics",
        "Does it differ between listeners?",
        "Does it wear off?",
        "The arms' shares over time",
        "Is it big enough?",
        "What was decided when",
        "How it was set up",
        "Warnings",
        "How to read this",
    ]
    places = [shown.index(text) for text in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("running", "keep_running"),
        ("shipped", "ship"),
        ("stopped", "do_not_ship"),
        ("broken", "broken"),
        ("draft", "no_data"),
    ],
)
def test_the_verdict_has_its_own_colour_and_sign(read: dict[str, PageReader], name: str, word: str) -> None:
    ((_, attrs),) = read[name].of_class("verdict")
    assert attrs["class"].split() == ["verdict", word]


def test_a_broken_test_says_so_before_every_effect(read: dict[str, PageReader]) -> None:
    assert len(read["broken"].of_class("do-not-read")) == 4
    assert "platform: car" in read["broken"].text
    assert read["broken"].of_class("mismatch")
    assert not read["running"].of_class("do-not-read")


def test_no_text_of_a_person_becomes_markup(read: dict[str, PageReader], pages: dict[str, str]) -> None:
    html = pages["hostile"]
    assert HOSTILE not in html
    assert html.count("&lt;script&gt;") > 20
    tags = {tag for tag, _ in read["hostile"].elements}
    assert not tags & {"script", "img", "iframe", "object", "base", "form"}
    assert not [attrs for _, attrs in read["hostile"].elements if any(a.startswith("on") for a in attrs)]


@pytest.mark.parametrize("name", ALL)
def test_the_file_needs_nothing_else(read: dict[str, PageReader], pages: dict[str, str], name: str) -> None:
    assert not re.findall(r"https?://|@import|url\(", pages[name])
    for tag, attrs in read[name].elements:
        assert tag not in ("script", "link")
        assert not {"src", "style"} & set(attrs)
        assert attrs.get("href", "#").startswith(("#", "/experiments"))


def test_the_policy_allows_exactly_the_page_s_own_style(pages: dict[str, str]) -> None:
    html = pages["draft"]
    style = re.findall(r"<style>(.*?)</style>", html, re.S)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy()
    (meta,) = [a for tag, a in PageReader(html).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert meta["content"] == policy()


def plot(report: Report, **changed: Any) -> PageReader:
    row = plain(report)["metrics"][0]
    given = {"metric": "skip_rate", "end": report.stop, "next_look": report.verdict.next_look} | changed
    return PageReader(effect_plot(row["trail"], **given))


def test_planned_looks_are_marked_and_only_they_carry_an_interval_that_may_be_believed() -> None:
    found = plot(running("group_sequential"))
    assert len(found.of_class("look")) == 2  # days 7 and 14 of 19
    upright = [a for _, a in found.of_class("whisker") if "x1" in a]
    assert len(upright) == 2
    assert len(found.of_class("naive")) == 3  # an area and its two edges, behind
    assert not found.of_class("believed")


def test_an_always_valid_rule_has_a_band_and_a_fixed_one_no_interval_before_its_end() -> None:
    assert len(plot(running("always_valid")).of_class("believed")) == 3
    early = plot(running("fixed"))
    assert not early.of_class("believed")
    assert not early.of_class("whisker")
    assert "planned end" in plot(running("fixed"), next_look=None).text


def test_the_day_on_which_the_bound_was_crossed_is_marked_once(stored: dict[str, Json]) -> None:
    trail = [dict(p) for p in stored["running"]["metrics"][0]["trail"]]
    for p in trail[13:]:
        p["outcome"] = "lower"
    found = PageReader(effect_plot(trail, metric="skip_rate"))
    assert len(found.of_class("crossed")) == 1
    assert len(found.of_class("ring")) == 1
    assert "lower, 14 Dec" in found.text


def test_a_margin_is_a_line_on_the_side_that_is_bad(stored: dict[str, Json]) -> None:
    row = stored["running"]["metrics"][1]  # hours: higher is better
    found = PageReader(effect_plot(row["trail"], metric="hours", margin=-row["margin"]))
    (margin,), (zero,) = (found.of_class(name) for name in ("margin", "zero"))
    assert float(margin[1]["y1"]) > float(zero[1]["y1"])  # below zero: y grows downwards
    assert "too bad" in found.text


def test_a_missing_number_is_a_dash_that_says_why(read: dict[str, PageReader]) -> None:
    dashes = read["first-day"].of_class("missing")
    assert dashes
    assert all(attrs["title"] for _, attrs in dashes)
    assert "the control's value is zero or not known" in read["first-day"].text


def test_a_report_of_another_version_is_refused_with_the_way_out(stored: dict[str, Json]) -> None:
    old = {key: value for key, value in stored["running"].items() if key != "history"}
    with pytest.raises(NotReady, match="recsys experiment report ranker"):
        page(old)


def test_a_cohort_of_one_level_is_named_and_not_drawn() -> None:
    report = running()
    alone = replace(report, cohorts=report.cohorts[:1], interactions=())
    found = PageReader(page(plain(alone)))
    assert "nothing can differ: skip_rate by country (SE)" in found.text
    assert "skip_rate by country Interaction" not in found.text


def test_a_long_history_shows_its_end_and_keeps_the_rest() -> None:
    many = tuple(Happening(f"2026-12-{n:02d}", f"look {n} goes on") for n in range(1, 25))
    shown = PageReader(page(plain(replace(running(), history=many)))).text
    places = [
        shown.index(text) for text in ("14 earlier", "look 1 goes on", "look 14 goes on", "look 24 goes on")
    ]
    assert places == sorted(places)


def test_a_report_without_a_guardrail_says_what_that_means() -> None:
    report = running()
    alone = replace(report, metrics=report.metrics[:1])
    assert "nothing would have been noticed" in PageReader(page(plain(alone))).text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: numbers.amount(0.31237, 0.0021), "0.3124"),
        (lambda: numbers.amount(-0.31237, 0.0021, True), "−0.3124"),
        (lambda: numbers.amount(1234567.8, 3400), "1,234,568"),
        (lambda: numbers.amount(0.00004, 0.0021, True), "0.0000"),
        (lambda: numbers.amount(14.2), "14.20"),
        (lambda: numbers.percent(0.0213, sign=True), "+2.1%"),
        (lambda: numbers.percent(0.00041), "0.041%"),
        (lambda: numbers.percent(0.0), "0.0%"),
        (lambda: numbers.p_value(0.00003), "< .0001"),
        (lambda: numbers.p_value(0.00042), ".0004"),
        (lambda: numbers.p_value(0.0321), ".032"),
        (lambda: numbers.p_value(1.0), "1.000"),
        (lambda: numbers.chance(0.99999), "> 99.9%"),
        (lambda: numbers.chance(0.5), "50.0%"),
        (lambda: numbers.count(81234), "81,234"),
        (lambda: numbers.day("2026-12-01T08:00:00+00:00"), "1 Dec 2026"),
        (lambda: numbers.when("2026-12-01T08:00:00+00:00"), "1 Dec 2026, 08:00 UTC"),
        (lambda: numbers.when("soon"), "soon"),
        (lambda: numbers.sentence("hours goes on"), "hours goes on."),
    ],
)
def test_numbers_are_written_as_people_read_them(call: Callable[[], str], text: str) -> None:
    assert call() == text


WIDE = st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-9)


@given(WIDE, st.floats(1e-6, 1e9))
def test_ticks_lie_inside_and_their_labels_differ(low: float, width: float) -> None:
    high = low + width
    if high - low < 1e-6 * abs(low):
        return  # closer together than the labels of any plot
    values = ticks(low, high)
    slack = 1e-6 * (high - low)
    assert 1 <= len(values) <= 8
    assert all(low - slack <= v <= high + slack for v in values)
    assert len(set(tick_texts(values))) == len(values)


@given(st.lists(WIDE, min_size=1, max_size=30))
def test_an_axis_of_rows_holds_zero_and_places_everything_in_order(values: list[float]) -> None:
    axis = axis_of(values)
    assert axis.holds(0.0)
    places = [axis.clip(v, axis.low) for v in sorted(values)]
    assert places == sorted(places)
    assert all(-1e-6 <= p <= 100 + 1e-6 for p in places)


def test_a_turned_axis_has_high_values_at_the_top() -> None:
    axis = Axis(-1.0, 3.0, 200.0, turned=True)
    assert (axis.at(3.0), axis.at(-1.0), axis.at(1.0)) == (0.0, 200.0, 100.0)


def test_long_names_go_on_in_the_next_line_after_an_underscore_only() -> None:
    assert numbers.breaks("skip_rate_<b>") == "skip_<wbr>rate_<wbr>&lt;b&gt;"
    html = page(plain(running()))
    assert '<th scope="row" class="name">skip_<wbr>rate' in html
    assert "_<wbr>" not in "".join(
        f"{k}{v}" for _, attrs in PageReader(html).elements for k, v in attrs.items()
    )
