"""The same numbers as GrowthBook's engine, spotify-confidence and statsmodels where the definition is the same.

Their figures were written by `python -m benchmarks.agreement` in their own environments; versions are in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.agreement import PEERS, data
from benchmarks.agreement_ours import ours

REFERENCE: dict[str, Any] = orjson.loads((Path(__file__).parent / "peers.json").read_bytes())
OURS = ours(REFERENCE["data"])


@pytest.mark.parametrize("peer", PEERS)
def test_every_figure_agrees_to_a_millionth(peer):
    figures = REFERENCE["peers"][peer]["figures"]
    assert len(figures) >= 7
    apart = {
        name: (OURS[name], value)
        for name, value in figures.items()
        if OURS[name] != pytest.approx(value, rel=1e-6)
    }
    assert not apart


def test_every_peer_s_version_is_on_record():
    assert all(peer in REFERENCE["peers"][peer]["versions"] for peer in PEERS)


def test_the_data_on_record_are_as_the_command_makes_them():
    fresh = data()
    assert fresh["arms"][0].keys() == REFERENCE["data"]["arms"][0].keys()
    assert len(fresh["arms"][1]["y"]) == len(REFERENCE["data"]["arms"][1]["y"])


def test_what_peers_get_wrong_is_on_record_and_not_ours():
    gb, confidence = (REFERENCE["peers"][name]["oddities"] for name in ("gbstats", "spotify-confidence"))
    assert gb["lift on a negative baseline"] < 0  # the treatment was better
    assert gb["one-sided 'lesser' upper bound"] < gb["one-sided 'lesser' estimate"]
    assert confidence["its interval's lower end"] > confidence["its interval's upper end"]
    narrower = REFERENCE["peers"]["statsmodels"]["oddities"]["score interval high"]
    assert (
        narrower < OURS["score high"] - 5e-4
    )  # see test_analysis_effects: ours is at the likelihood's maximum
    assert (
        confidence["null hypothesis of a 10% margin on a baseline of about -20"] > 0
    )  # a margin that demands a gain
