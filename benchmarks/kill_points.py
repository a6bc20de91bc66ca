"""Exactly once through kill -9: a client posts and retries while a real server is killed at random points.

python -m benchmarks.kill_points --home var --kills 20      # works on a copy of the home; about two minutes
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.results import table, write
from recsys.home import Home
from tests.eventlog.crash import run
from tests.eventlog.samples import play
from tests.serving.http_crash import HttpService, copied, outcome


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = copied(Home.of(given.home), Path(folder))
        begin = time.perf_counter()
        posted = run(HttpService(home), given.kills, play, given.seed, longest=2.0)
        seconds = time.perf_counter() - begin
        found = asdict(outcome(home, posted))
    figures = {"kills": posted.kills, **found, "seconds": seconds}
    table(list(figures), [list(figures.values())])
    print(write("kill-points", figures))
    if found["lost"] or found["doubled"]:
        sys.exit("kill_points: an acknowledged event was lost, or one has more than one row")


if __name__ == "__main__":
    main()
