"""Our estimates against those that the Open Bandit Pipeline gave for the same arrays (benchmarks/ope_agreement.py)."""

import json
from pathlib import Path

import pytest

from benchmarks.ope_agreement import ours

REFERENCE = json.loads((Path(__file__).parent / "obp.json").read_text())
FIGURES = ours(REFERENCE["data"])


@pytest.mark.parametrize("estimator", list(REFERENCE["obp"]["figures"]))
def test_an_estimate_is_that_of_the_open_bandit_pipeline(estimator: str) -> None:
    assert FIGURES[estimator] == pytest.approx(REFERENCE["obp"]["figures"][estimator], abs=1e-6)


def test_the_figures_are_of_the_named_version_and_differ_where_it_is_said() -> None:
    assert REFERENCE["obp"]["version"] == "0.5.10"
    odd = REFERENCE["obp"]["oddities"]
    assert odd["dr_shrunk at lambda 0"] is None, "0 / 0 there"
    assert abs(odd["mips, two dimensions (product of their marginals)"] - FIGURES["mips"]) > 0.1
