"""How many candidates the full ranker should score on home: true value of the served slates and NDCG@10 by cut.

python -m benchmarks.ranked_cut --home var --cuts 60 100 160 240 320
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.results import table, write
from recsys.dataset import load
from recsys.evaluation.bootstrap import Resampler
from recsys.evaluation.true_value import difference, slate_values
from recsys.home import Home
from recsys.lake import Lake
from serving.loaded import LoadedRelease
from serving.offline import served_slates
from serving.recommender import Recommender
from serving.registry import CHAMPION, Registry
from serving.settings import HomeSettings, ServiceSettings


def measure(home: Home, cuts: list[int], probes: int) -> dict[str, dict[str, Any]]:
    """True value by cut with its interval, and its paired difference to the largest cut."""
    release = LoadedRelease.load(Registry(home).get(CHAMPION).folder)
    settings = {str(cut): ServiceSettings(home=HomeSettings(ranked=cut)) for cut in cuts}
    slates = {cut: served_slates(Recommender(release, given)) for cut, given in settings.items()}
    values = slate_values(home, load(Lake(home.lake)), {}, slates, probes, k=10, seed=0)
    scale, draw = values.oracle - values.random, Resampler.of(values.listener, seed=0)
    most = str(max(cuts))
    return {
        cut: {
            "true_value": vars(draw.ratio(values.policies[cut] - values.random, scale)),
            f"over_{most}": vars(difference(values, cut, most)),
        }
        for cut in slates
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--cuts", type=int, nargs="+", default=[60, 100, 160, 240, 320])
    parser.add_argument("--probes", type=int, default=1000)
    given = parser.parse_args()
    figures = measure(Home.of(given.home), given.cuts, given.probes)
    rows = [
        [cut, *(f"{f['value']:.4f} [{f['low']:.4f}, {f['high']:.4f}]" for f in found.values())]
        for cut, found in figures.items()
    ]
    table(["ranked", "true value", "over the largest"], rows)
    print(write("ranked-cut", figures))


if __name__ == "__main__":
    main()
