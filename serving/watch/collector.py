"""Metrics that are read off the service's status at a scrape: freshness, drift, age of the releases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

OWN = ("freshness", "drift")
"""Parts of the status that have metrics of their own here."""


class StatusCollector(Collector):
    """Yields what the last status said; nothing before there was one."""

    def __init__(self) -> None:
        self.status: Mapping[str, Any] = {}

    def collect(self) -> Iterator[Metric]:
        yield from _freshness(self.status.get("freshness"))
        yield from _drift(self.status.get("drift", {}))
        yield from _ages(self.status.get("releases", {}))


def _freshness(told: Mapping[str, Any] | None) -> Iterator[Metric]:
    if told is None:
        return
    buckets = [(str(bound), count) for bound, count in told["buckets"]] + [("+Inf", told["count"])]
    name = "recsys_event_to_state_seconds"
    yield HistogramMetricFamily(
        name, "From receipt of an event to its listener's state", buckets, told["sum"]
    )
    newest = "From receipt to state of the newest event that was folded last"
    yield GaugeMetricFamily("recsys_freshness_seconds", newest, told["seconds"])


def _drift(by_release: Mapping[str, Any]) -> Iterator[Metric]:
    answers = GaugeMetricFamily("recsys_drift_answers", "Sampled answers in the window", labels=["release"])
    psi = GaugeMetricFamily(
        "recsys_feature_psi", "Population stability index of a feature", labels=["release", "feature"]
    )
    nulls = GaugeMetricFamily(
        "recsys_feature_null_rate", "Share of missing values", labels=["release", "feature"]
    )
    expected = GaugeMetricFamily(
        "recsys_feature_expected_null_rate",
        "The same in the release's reference",
        labels=["release", "feature"],
    )
    scores = GaugeMetricFamily(
        "recsys_score_psi", "Population stability index of a score", labels=["release", "score"]
    )
    for release, told in by_release.items():
        answers.add_metric([release], told["answers"])
        for name, of in told["features"].items():
            psi.add_metric([release, name], of["psi"])
            nulls.add_metric([release, name], of["null_rate"])
            expected.add_metric([release, name], of["expected_null_rate"])
        for name, of in told["scores"].items():
            scores.add_metric([release, name], of["psi"])
    if by_release:
        yield from (answers, psi, nulls, expected, scores)


def _ages(releases: Mapping[str, Any]) -> Iterator[Metric]:
    until = releases.get("until")
    if until:
        ages = GaugeMetricFamily(
            "recsys_release_age_seconds", "Since the newest event that a release has seen", labels=["release"]
        )
        for alias, ms in until.items():
            ages.add_metric([alias], time.time() - ms / 1000)
        yield ages
