"""Our numbers beside those that public implementations gave on the same inputs (kept with their versions)."""

from __future__ import annotations

import json

import pytest

from benchmarks.agreement_sequential import FILE, differences


def test_all_methods_of_the_same_definition_agree_to_a_millionth() -> None:
    found = differences(json.loads(FILE.read_text()))
    assert len(found) == 12
    assert {name: d for name, d in found.items() if d > 1e-6} == {}


def test_the_reference_says_which_versions_answered() -> None:
    versions = json.loads(FILE.read_text())["versions"]
    assert "unknown" not in versions.values()
    assert set(versions) == {"statsmodels", "savvi", "ssrm-test", "gbstats", "confseq", "gsdesign"}


@pytest.mark.parametrize("peer", ["statsmodels", "savvi", "ssrm_test", "gbstats", "confseq", "gsdesign"])
def test_every_peer_s_answers_are_kept(peer: str) -> None:
    assert json.loads(FILE.read_text())[peer]
