"""Every case of GrowthBook's public SDK test file, bar the three that a later SDK answers otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.bucketing import bucket, bucket_ranges, choose, equal_weights, in_namespace
from experiments.conditions import matches
from experiments.growthbook import sticky, urls
from experiments.growthbook.context import Context
from experiments.growthbook.decrypt import decrypt
from experiments.growthbook.features import evaluate
from experiments.growthbook.run import redirect, run

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "growthbook-sdk-cases-js-0.8.0.json"
EITHER = {
    "missing attribute with comparison operators",
    "comparing numbers and strings",
    "comparing numbers and strings - v2",
}
"""Either answer is fine: a later choice of the SDK. Ours is the file's."""


def read() -> dict[str, list[Any]]:
    return dict(json.loads(FILE.read_text())) if FILE.exists() else {}


CASES = read()
needs_cases = pytest.mark.skipif(
    not CASES, reason=f"no {FILE.name} beside this checkout: the SDK cases are not checked"
)


def of(kind: str) -> Any:
    """The cases of a kind as parameters; one that is skipped where the file is absent."""
    rows = CASES.get(kind, [["the file of cases is absent"]])
    return pytest.mark.parametrize("case", rows, ids=[f"{i}-{row[0]}" for i, row in enumerate(rows)])


@needs_cases
def test_every_kind_of_case_in_the_file_is_covered_here() -> None:
    assert sum(len(rows) for kind, rows in CASES.items() if kind != "specVersion") == 517
    source = Path(__file__).read_text()
    assert all(f'@of("{kind}")' in source for kind in CASES if kind != "specVersion")


@needs_cases
@of("evalCondition")
def test_conditions(case: list[Any]) -> None:
    name, condition, attributes, expected, *groups = case
    assert matches(condition, attributes, *groups) is expected or name in EITHER


@needs_cases
@of("hash")
def test_hashes(case: list[Any]) -> None:
    seed, value, version, expected = case
    assert bucket(seed, value, version) == expected


@needs_cases
@of("getBucketRange")
def test_bucket_ranges(case: list[Any]) -> None:
    _, (arms, coverage, weights), expected = case
    flat = [edge for span in bucket_ranges(arms, coverage, weights) for edge in span]
    assert flat == pytest.approx([edge for span in expected for edge in span], abs=1e-9)


@needs_cases
@of("chooseVariation")
def test_choices(case: list[Any]) -> None:
    _, place, ranges, expected = case
    assert choose(place, ranges) == expected


@needs_cases
@of("inNamespace")
def test_namespaces(case: list[Any]) -> None:
    _, user, namespace, expected = case
    assert in_namespace(user, *namespace) is expected


@needs_cases
@of("getEqualWeights")
def test_equal_weights(case: list[Any]) -> None:
    arms, expected = case
    assert equal_weights(arms) == pytest.approx(expected)


@needs_cases
@of("getQueryStringOverride")
def test_query_strings(case: list[Any]) -> None:
    _, key, url, variations, expected = case
    assert urls.forced_by(url, key, variations) == expected


@needs_cases
@of("run")
def test_experiments(case: list[Any]) -> None:
    _, context, experiment, value, inside, hashed = case
    outcome = run(Context.of(context), experiment)
    assert (outcome.value, outcome.in_experiment, outcome.hash_used) == (value, inside, hashed)


@needs_cases
@of("feature")
def test_features(case: list[Any]) -> None:
    _, context, name, expected = case
    assert evaluate(Context.of(context), name).to_json() == expected


@needs_cases
@of("contextualBandit")
def test_contextual_bandits(case: list[Any]) -> None:
    _, context, name, expected = case
    assert evaluate(Context.of(context), name).to_json() == expected


@needs_cases
@of("stickyBucket")
def test_sticky_buckets(case: list[Any]) -> None:
    _, payload, stored, name, expected, documents = case
    context = Context.of(payload, sticky.documents(stored, payload["attributes"]))
    outcome = evaluate(context, name).outcome
    assert (None if outcome is None else outcome.to_json()) == expected
    assert context.sticky == documents


@needs_cases
@of("urlRedirect")
def test_redirects(case: list[Any]) -> None:
    _, payload, expected = case
    found = redirect(Context.of(payload))
    results = [] if found is None else [found]
    assert [
        {"inExperiment": o.in_experiment, "urlRedirect": o.value["urlRedirect"], "urlWithParams": address}
        for _, o, address in results
    ] == expected


@needs_cases
@of("decrypt")
def test_decryption(case: list[Any]) -> None:
    pytest.importorskip("cryptography")
    _, payload, key, expected = case
    assert decrypt(payload, key) == expected
