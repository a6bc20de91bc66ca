"""Reading a config: files and folders, versions, times, the schema; what it refuses is in test_config_mistakes."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from experiments.assign import assign
from experiments.config import DEFAULT, Config, load
from experiments.source import Refused
from recsys.errors import BadInput
from recsys.types import Assignment

GOOD = """\
experiments:
  - name: ranker
    salt: ranker-1
    coverage: 0.5
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, release: challenger, parameters: {home.epsilon: 0.1}}
"""
WHOLE = """\
layers:
  - {name: ranking}
holdouts:
  - {name: global, salt: global-2026, share: 0.05}
metrics:
  - {name: saves, kind: mean, direction: increase, winsorize: {upper: 0.99}, baseline: {mean: 1.2, sd: 3.0}}
  - {name: hours_per_play, kind: ratio, direction: increase, numerator: hours, denominator: plays}
cohorts:
  - {name: testers, units: [aaaaaaaaaaaaaaaaaaaaaa, ünïcödé]}
attributes:
  - {name: app_version}
overrides:
  - {unit: aaaaaaaaaaaaaaaaaaaaaa, experiment: ranker, arm: treatment, until: 2027-01-01, reason: QA}
experiments:
  - name: ranker
    description: The new ranker saves skips.
    owner: ranking
    salt: ranker-1
    hash: growthbook-2
    unit: listener
    layer: {name: ranking, start: 0.0, end: 0.5}
    targeting:
      country: {$in: [SE, NO]}
      tier: premium
      $or: [{platform: mobile}, {cohort: {$in: [testers, new]}}, {id: {$inGroup: testers}}]
      app_version: {$vgte: 2.10.0}
    ramp:
      - {at: 2026-12-01T08:00:00Z, share: 0.01}
      - {at: 2026-12-03T08:00:00+01:00, share: 1.0}
    weight_changes:
      - {at: 2026-12-05, weights: {control: 0.4, treatment: 0.6}}
    start: 2026-12-01
    stop: 2026-12-29
    surfaces: [home]
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, release: challenger}
    question:
      primary: hours
      secondary: [saves, hours_per_play]
      guardrails:
        - {metric: skip_rate, margin: 0.02}
        - {metric: latency, margin: 20, scale: absolute}
      mde: 0.01
      stopping: {rule: group_sequential, looks: 4, spending: pocock}
  - name: new-page
    salt: new-page
    holdouts: false
    arms:
      - {name: "on", weight: 1, value: true}
"""


def written(folder: Path, text: str, name: str = "experiments.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_shipped_file_runs_no_experiment() -> None:
    config = load(DEFAULT)
    assert assign(config, "someone", 0) == Assignment(version=config.version)


def test_the_example_in_the_shipped_file_is_valid(tmp_path: Path) -> None:
    lines = [line[2:] for line in DEFAULT.read_text().splitlines() if line.startswith("# ")]
    text = "\n".join(lines[lines.index("layers:") :])
    assert [e.name for e in load(written(tmp_path, text)).running] == ["challenger"]


def test_an_empty_file_runs_no_experiment(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")).running == []


def test_everything_that_may_stand_in_a_file_is_read(tmp_path: Path) -> None:
    config = load(written(tmp_path, WHOLE))
    ranker = config.experiment("ranker")
    assert ranker is not None
    assert ranker.question is not None
    assert [config.metric(name) is not None for name in ranker.question.metrics] == [True] * 5
    assert not ranker.is_flag
    flag = config.experiment("new-page")
    assert flag is not None
    assert flag.is_flag
    assert str(ranker.ramp[1].at) == "2026-12-03 07:00:00+00:00"
    assert ranker.targeting["country"] == {"$in": ["SE", "NO"]}, "NO is Norway, and not false"


def test_a_folder_of_files_is_one_config(tmp_path: Path) -> None:
    head, tail = WHOLE.split("experiments:\n", 1)
    written(tmp_path, head, "shared.yaml")
    first, second = tail.split("  - name: new-page", 1)
    written(tmp_path, "experiments:\n" + first, "a.yaml")
    written(tmp_path, "experiments:\n  - name: new-page" + second, "b.yaml")
    single = tmp_path / "single"
    single.mkdir()
    assert load(tmp_path) == load(written(single, WHOLE))


def test_a_mistake_between_files_names_the_file_it_stands_in(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "a.yaml")
    written(tmp_path, "# one more\n\n" + GOOD.replace("name: ranker", "name: other"), "b.yaml")
    with pytest.raises(Refused, match=r"b\.yaml line 5: experiments\[1\]\.salt: ranker has the same salt"):
        load(tmp_path)


def test_mistakes_of_several_files_are_all_told(tmp_path: Path) -> None:
    written(tmp_path, GOOD + "  x: [\n", "a.yaml")
    written(tmp_path, "experiments: *all\n", "b.yaml")
    with pytest.raises(Refused, match="and 1 more") as error:
        load(tmp_path)
    assert [p.path.name for p in error.value.problems] == ["a.yaml", "b.yaml"]


def test_the_version_is_of_what_is_said_and_not_of_how(tmp_path: Path) -> None:
    first = load(written(tmp_path, GOOD)).version
    assert load(written(tmp_path, "# a word\n" + GOOD.replace("0.5}", "0.50 }"))).version == first
    assert load(written(tmp_path, GOOD.replace("ranker-1", "ranker-2"))).version != first


def test_the_schema_can_be_exported_and_accepts_what_is_accepted(tmp_path: Path) -> None:
    schema = Config.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.load(WHOLE, yaml.BaseLoader), {"type": "object"})
    from experiments.source import Sources

    jsonschema.validate(Sources.read(written(tmp_path, WHOLE)).data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"experimnets": []}, schema)


def test_a_config_survives_being_written_as_json(tmp_path: Path) -> None:
    config = load(written(tmp_path, WHOLE))
    assert Config.model_validate_json(config.model_dump_json(exclude_defaults=True)) == config


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        load(tmp_path / "nowhere.yaml")
