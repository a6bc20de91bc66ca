"""Planted mistakes: each is refused in one line that names the file, the line, and what is wrong."""
# ruff: noqa: E501 (the table of mistakes: a mistake a line)

from __future__ import annotations

import time
from pathlib import Path

import pytest

from experiments.config import load

BASE = """\
layers:
  - {name: ranking}
  - {name: per_artist, unit: artist}
metrics:
  - {name: saves, kind: mean, direction: increase}
holdouts:
  - {name: global, salt: global-2026, share: 0.05}
cohorts:
  - {name: testers, units: [tester-1]}
overrides:
  - {unit: tester-1, experiment: ranker, arm: treatment}
experiments:
  - name: ranker
    salt: ranker-1
    layer: {name: ranking, start: 0.0, end: 0.5}
    targeting: {country: {$in: [SE, NO]}}
    start: 2026-12-01
    stop: 2026-12-29
    ramp:
      - {at: 2026-12-01, share: 0.1}
      - {at: 2026-12-08, share: 1.0}
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, release: challenger}
    question:
      primary: hours
      guardrails: [{metric: skip_rate, margin: 0.02}]
      mde: 0.01
      stopping: {rule: group_sequential, looks: 4}
  - name: radio
    salt: radio-1
    layer: {name: ranking, start: 0.5, end: 1.0}
    start: 2026-12-01
    stop: 2026-12-29
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, release: challenger}
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

# what is replaced, by what, the line that must be named, a word of the message
MISTAKES = {
    "unknown section": ("experiments:\n", "experimnets:\n", 12, "no such key"),
    "unknown key of an experiment": ("    salt: ranker-1", "    slat: ranker-1", 14, "no such key"),
    "unknown key of an arm": ("0.5, release: challenger}\n    question", "0.5, relase: c}\n    question", 24, "no such key"),
    "unknown key of a question": ("      mde: 0.01", "      mde: 0.01\n      mdes: 0.02", 29, "no such key"),
    "unknown key of a layer": ("{name: ranking}", "{name: ranking, hsah: x}", 2, "no such key"),
    "key given twice": ("    salt: ranker-1", "    salt: ranker-1\n    salt: ranker-2", 15, "given twice"),
    "section given twice": ("cohorts:", "layers: []\ncohorts:", 8, "given twice"),
    "missing salt": ("    salt: ranker-1\n", "", 13, "salt: is missing"),
    "missing weight": ("{name: control, weight: 0.5}\n      - {name: treatment, weight: 0.5, release: challenger}\n    question", "{name: control}\n      - {name: treatment, weight: 0.5}\n    question", 23, "weight: is missing"),
    "missing effect size": ("      mde: 0.01\n", "", 25, "mde: is missing"),
    "missing stopping rule": ("      stopping: {rule: group_sequential, looks: 4}\n", "", 25, "stopping: is missing"),
    "weights below one": ("weight: 0.5, release: challenger}\n    question", "weight: 0.4}\n    question", 22, "sum to 1, not 0.9"),
    "weights above one": ("weight: 0.5, release: challenger}\n    question", "weight: 0.9}\n    question", 22, "sum to 1, not 1.4"),
    "negative weight": ("weight: 0.5, release: challenger}\n    question", "weight: -0.5}\n    question", 24, "greater than or equal to 0"),
    "weight as text": ("weight: 0.5, release: challenger}\n    question", 'weight: "half"}\n    question', 24, "valid number"),
    "weight not a number": ("weight: 0.5, release: challenger}\n    question", "weight: .nan}\n    question", 24, "valid number"),
    "weight true": ("weight: 0.5, release: challenger}\n    question", "weight: true}\n    question", 24, "valid number"),
    "two arms of one name": ("{name: treatment, weight: 0.5, release: challenger}\n    question", "{name: control, weight: 0.5}\n    question", 24, "same name"),
    "one arm and a question": ("      - {name: control, weight: 0.5}\n      - {name: treatment, weight: 0.5, release: challenger}\n    question", "      - {name: treatment, weight: 1}\n    question", 22, "two arms"),
    "two experiments of one name": ("name: radio", "name: ranker", 30, "is taken"),
    "experiment named like a holdout": ("name: radio", "name: global", 7, "is taken"),
    "same salt": ("    salt: radio-1\n    layer: {name: ranking, start: 0.5, end: 1.0}\n", "    salt: ranker-1\n", 31, "ranker has the same salt"),
    "salt of a layer": ("salt: radio-1", "salt: ranking", 31, "layer ranking has the same salt"),
    "salt of a holdout": ("salt: radio-1", "salt: global-2026", 31, "holdout global has the same salt"),
    "overlapping slices": ("start: 0.5, end: 1.0", "start: 0.4, end: 1.0", 32, "overlaps with ranker"),
    "unknown layer": ("name: ranking, start: 0.5", "name: rankign, start: 0.5", 32, "no layer is called rankign"),
    "layer of another unit": ("name: ranking, start: 0.5", "name: per_artist, start: 0.5", 32, "divides artists"),
    "slice backwards": ("start: 0.5, end: 1.0", "start: 0.9, end: 0.5", 32, "after start"),
    "slice beyond one": ("start: 0.5, end: 1.0", "start: 0.5, end: 1.5", 32, "less than or equal to 1"),
    "two choose the release": ("    layer: {name: ranking, start: 0.5, end: 1.0}\n", "", 34, "both choose releases"),
    "unknown metric": ("primary: hours", "primary: horus", 26, "no metric is called horus"),
    "unknown guardrail": ("metric: skip_rate", "metric: skiprate", 27, "no metric is called skiprate"),
    "primary also a guardrail": ("metric: skip_rate", "metric: hours", 27, "asked for twice"),
    "guardrail without margin": (", margin: 0.02", "", 27, "margin: is missing"),
    "negative margin": ("margin: 0.02", "margin: -0.02", 27, "greater than 0"),
    "effect size of zero": ("mde: 0.01", "mde: 0", 28, "greater than 0"),
    "unknown stopping rule": ("rule: group_sequential, looks: 4", "rule: when_significant", 29, "when_significant"),
    "one look of a sequence": ("looks: 4", "looks: 1", 29, "greater than or equal to 2"),
    "looks in a fixed test": ("rule: group_sequential, looks: 4", "rule: fixed, looks: 4", 29, "no such key"),
    "unknown spending": ("looks: 4", "looks: 4, spending: all_at_once", 29, "obrien_fleming"),
    "unknown control": ("      mde: 0.01", "      mde: 0.01\n      control: contorl", 29, "no arm is called contorl"),
    "ratio without denominator": ("kind: mean, direction: increase", "kind: ratio, direction: increase, numerator: x", 5, "denominator"),
    "quantile without which": ("kind: mean, direction: increase", "kind: quantile, direction: increase", 5, "which quantile"),
    "winsorized proportion": ("kind: mean, direction: increase", "kind: proportion, direction: increase, winsorize: {upper: 0.9}", 5, "not winsorized"),
    "no such day": ("    start: 2026-12-01\n    stop: 2026-12-29\n    ramp", "    start: 2026-11-31\n    stop: 2026-12-29\n    ramp", 17, "day"),
    "day first": ("    start: 2026-12-01\n    stop: 2026-12-29\n    ramp", "    start: 01.12.2026\n    stop: 2026-12-29\n    ramp", 17, "2026-12-01T08:00:00Z"),
    "time without zone": ("    stop: 2026-12-29\n    ramp", "    stop: 2026-12-29T08:00:00\n    ramp", 18, "2026-12-01T08:00:00Z"),
    "stop before start": ("    stop: 2026-12-29\n    ramp", "    stop: 2026-11-29\n    ramp", 18, "after start"),
    "falling ramp": ("share: 1.0", "share: 0.05", 21, "must not fall"),
    "ramp out of order": ("at: 2026-12-08", "at: 2026-12-01", 21, "grow from step to step"),
    "ramp after the stop": ("at: 2026-12-08", "at: 2027-12-08", 21, "between start and stop"),
    "ramp and coverage": ("    ramp:", "    coverage: 0.5\n    ramp:", 19, "either coverage or ramp"),
    "change of an unknown arm": ("    ramp:", "    weight_changes: [{at: 2026-12-02, weights: {control: 0.4, treatmnet: 0.6}}]\n    ramp:", 19, "control, treatment"),
    "unknown attribute": ("targeting: {country:", "targeting: {contry:", 16, "no attribute is called contry"),
    "unknown operator": ("{$in: [SE, NO]}", "{$inn: [SE, NO]}", 16, "no such operator"),
    "country in words": ("[SE, NO]", "[Sweden]", 16, "two capital letters"),
    "list instead of $in": ("{$in: [SE, NO]}", "[SE, NO]", 16, "$in"),
    "unknown tier": ("{country: {$in: [SE, NO]}}", "{tier: gold}", 16, "free, premium"),
    "unknown cohort": ("{country: {$in: [SE, NO]}}", "{cohort: {$in: [tester]}}", 16, "no cohort is called tester"),
    "bad regular expression": ("{country: {$in: [SE, NO]}}", '{id: {$regex: "(["}}', 16, "regular expression"),
    "cohort as a text": ("{country: {$in: [SE, NO]}}", "{cohort: {$eq: testers}}", 16, "cohort is a list"),
    "cohort as a group": ("{country: {$in: [SE, NO]}}", "{cohort: {$inGroup: testers}}", 16, "cohort is a list"),
    "group of countries": ("{country: {$in: [SE, NO]}}", "{country: {$inGroup: testers}}", 16, "write id"),
    "list operator on a text": ("{country: {$in: [SE, NO]}}", "{tier: {$all: [free]}}", 16, "tier is a text"),
    "id as a number": ("{country: {$in: [SE, NO]}}", "{id: 12}", 16, "an id is a text"),
    "unknown type": ("{country: {$in: [SE, NO]}}", "{country: {$type: strnig}}", 16, "$type is one of"),
    "order of a list": ("{country: {$in: [SE, NO]}}", "{country: {$gt: [1]}}", 16, "a number or a text"),
    "half a character": ("    salt: ranker-1", '    salt: ranker-1\n    owner: "\\ud800"', 15, "not valid Unicode"),
    "half a character as a key": ("    salt: ranker-1", '    salt: ranker-1\n    "\\udfff": 1', 15, "not valid Unicode"),
    "a number beyond all": ("    salt: ranker-1", "    salt: ranker-1\n    coverage: 1e999", 15, "too great"),
    "before the calendar": ("    stop: 2026-12-29\n    ramp", "    stop: 0001-01-01T00:00:00+14:00\n    ramp", 18, "no such time"),
    "a setting of a session too": ("    salt: radio-1\n    layer: {name: ranking, start: 0.5, end: 1.0}\n", "    salt: radio-1\n    unit: session\n", 35, "run one after the other"),
    "override of an unknown arm": ("ranker, arm: treatment", "ranker, arm: teratment", 11, "no arm teratment"),
    "override of an unknown experiment": ("experiment: ranker", "experiment: rnaker", 11, "no experiment is called rnaker"),
    "holdout of everybody": ("share: 0.05", "share: 1.0", 7, "less than 1"),
    "holdout of an unknown layer": ("share: 0.05", "share: 0.05, layers: [x]", 7, "no layer is called x"),
    "unknown unit": ("    salt: radio-1", "    salt: radio-1\n    unit: household", 32, "'listener', 'session' or 'artist'"),
    "unknown hash": ("    salt: radio-1", "    salt: radio-1\n    hash: md5", 32, "growthbook-1"),
    "SQL in a name": ("name: radio", """name: "radio'; DROP TABLE events; --\"""", 30, "match pattern"),
    "markup in a name": ("name: radio", "name: <script>alert(1)</script>", 30, "match pattern"),
    "path in a name": ("name: radio", "name: ../../etc/passwd", 30, "match pattern"),
    "escape sequence in a key": ("    salt: radio-1", '    salt: radio-1\n    "\\e[31mred\\nfake line 1: fine": 1', 32, "no such key"),
    "key of great length": ("    salt: radio-1", "    salt: radio-1\n    " + "k" * 900 + ": 1", 32, " ..."),
    "newline in a name": ("name: radio", 'name: "radio\\nfake: line"', 30, "match pattern"),
    "code in a tag": ("name: radio", 'name: !!python/object/apply:os.system ["true"]', 30, "tags are not allowed"),
    "an alias": ("metrics:\n", "metrics: &m\n", 4, "anchors and aliases"),
    "a merge key": ("    salt: radio-1", "    <<: {salt: radio-1}", 31, "no such key"),
    "a list as a key": ("    salt: radio-1", "    ? [a, b]\n    : radio-1", 31, "a key must be a text"),
    "a tab": ("    salt: radio-1", "\tsalt: radio-1", 31, "cannot start any token"),
    "an open bracket": ("units: [tester-1]}", "units: [tester-1}", 9, "expected"),
    "two documents": ("experiments:\n", "---\nexperiments:\n", 12, "another document"),
    "a control character": ("    salt: radio-1", "    salt: radio\x01", 31, "character"),
    "a section that is no list": ("cohorts:\n  - {name: testers, units: [tester-1]}", "cohorts: testers", 8, "a list is wanted"),
    "an experiment that is a text": ("  - name: radio\n    salt: radio-1\n", "  - radio\n  - name: radio\n    salt: radio-1\n", 30, "valid dictionary"),
}  # fmt: skip


def refusal(folder: Path, text: str) -> str:
    path = folder / "experiments.yaml"
    path.write_text(text)
    with pytest.raises(Exception) as error:
        load(path)
    assert type(error.value).__module__ in ("experiments.source", "recsys.errors"), repr(error.value)
    return str(error.value)


def test_without_a_mistake_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(BASE)
    assert [e.name for e in load(path).running] == ["ranker", "radio"]


def test_at_least_fifty_mistakes_are_planted() -> None:
    assert len(MISTAKES) >= 50


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    old, new, line, says = MISTAKES[name]
    assert BASE.count(old) >= 1, "nothing was planted"
    text = BASE.replace(old, new, 1)
    message = refusal(tmp_path, text)
    assert f"experiments.yaml line {line}:" in message
    assert says in message
    assert message.isprintable()
    assert len(message) < 800


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        pytest.param(BOMB + "experiments: *i\n", 1, "anchors", id="billion laughs"),
        pytest.param("experiments: " + "[" * 5_000 + "]" * 5_000 + "\n", 1, "nested", id="deep nesting"),
        pytest.param("experiments: " + "{a: " * 5_000 + "}" * 5_000 + "\n", 1, "nested", id="deep mappings"),
        pytest.param("experiments: []\n" + "# filler\n" * 120_000, 1, "larger", id="huge file"),
        pytest.param("- just a list\n", 1, "sections", id="no sections"),
        pytest.param("just a text\n", 1, "sections", id="only a text"),
        pytest.param(
            "experiments:\n  - {name: " + "9" * 5_000 + "}\n", 2, "too great", id="a number of 5,000 digits"
        ),
    ],
)
def test_a_hostile_file_is_refused_quickly(text: str, line: int, says: str, tmp_path: Path) -> None:
    begin = time.process_time()
    message = refusal(tmp_path, text)
    assert time.process_time() - begin < 2
    assert f"experiments.yaml line {line}:" in message
    assert says in message
    assert len(message) < 1_000
