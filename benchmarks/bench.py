"""`make bench`: the figures that the README quotes. Needs a demo home (`make demo` makes one under ./var).

Runs the simulator, calibration, kill -9, the stage table, the HTTP runs and the bandits' speed one after the other,
about 18 minutes in all; each can be run alone, with other options: see the modules beside this one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", default="var")
    given = parser.parse_args()
    if not (Path(given.home) / "releases").exists():
        sys.exit(f"bench: no release under {given.home}: run `make demo` first, or give --home")
    for module, options in (
        ("simulation", []),
        ("calibration", ["--home", given.home]),
        ("kill_points", ["--home", given.home]),
        ("stages", ["--home", given.home]),
        ("http_home", ["--home", given.home]),
        ("bandit_speed", []),
    ):
        print(f"\n== benchmarks.{module}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *options], check=True)


if __name__ == "__main__":
    main()
