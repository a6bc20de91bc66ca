"""Real music through the product's own commands: import -> train -> release -> evaluate -> serve.

    python -m benchmarks.real_music ../shared/data/thirtymusic_slices.parquet

The log is five windows of five days (30Music test slices). They are shifted by whole seconds so that all end at
one UTC midnight; the last day is then the test window of `recsys evaluate`, the day before validates. Baselines
learn from everything before the test day; the release's retrieval models from one day less, as always.
`known_tracks` are targets with plays before the test window, `new_tracks` those without.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.http_home import RECSYS, server
from benchmarks.results import table, write

DAY_S = 86_400
COHORTS = ("all", "known_tracks", "new_tracks")


def aligned(source: Path, target: Path) -> None:
    """Writes the log with all windows ending together."""
    log = pl.read_parquet(source).unique(maintain_order=True)
    end = (log["timestamp"].max() // DAY_S + 1) * DAY_S - 1  # type: ignore[operator]
    log.select(
        user_id=pl.format("{}:{}", "slice", "user"),
        track_id=pl.format("track {}", "track"),
        artist=pl.format("artist {}", "artist"),
        timestamp=pl.col("timestamp") + end - pl.col("timestamp").max().over("slice"),
    ).sort("timestamp").write_parquet(target)


def recsys(*words: str) -> Any:
    """Runs one command of the CLI; its JSON answer."""
    done = subprocess.run([*RECSYS, *words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure(source: Path, home: Path) -> dict[str, Any]:
    """Every command once; the rows of `next_track`, and what the served answer looked like."""
    place, seconds = ("--home", str(home), "--json"), {}
    home.mkdir(parents=True, exist_ok=True)
    aligned(source, home / "log.parquet")

    def timed(name: str, *words: str) -> Any:
        begin = time.perf_counter()
        answer = recsys(*words, *place)
        seconds[name] = round(time.perf_counter() - begin, 1)
        return answer

    columns = "user=user_id,track=track_id,artist=artist,ts=timestamp"
    summary = timed("import", "import", "parquet", str(home / "log.parquet"), "--map", columns)
    for part in ("two-tower", "sequence", "ranker"):
        timed(part, "train", part)
    timed("release", "index")
    rows = timed("evaluate", "evaluate")
    with server(home, "ray") as address:
        listener = summary.pop("user_ids")[0]
        with urllib.request.urlopen(f"{address}/v1/home?user_id={listener}&limit=5") as answer:
            page = json.load(answer)
    kept = [r for r in rows if r["cohort"] in COHORTS and r["metric"] in ("ndcg", "recall")]
    served = {
        shelf["id"]: len(shelf["items"]) for shelf in page["shelves"]
    }  # counts only: the log is not ours
    return {"import": summary, "seconds": seconds, "rows": kept, "rung": page["rung"], "served": served}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="thirtymusic_slices.parquet")
    parser.add_argument("--home", type=Path, help="keep the home here; default: a folder that is removed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(given.source, given.home or Path(folder))
    found = {
        (r["model"], r["cohort"]): r["value"]
        for r in figures["rows"]
        if (r["task"], r["metric"], r["k"]) == ("next_track", "ndcg", 10)
    }
    models = sorted({m for m, _ in found}, key=lambda m: -found[m, "all"])
    table(
        ["next_track, NDCG@10", *COHORTS], [[m, *(found.get((m, c), "-") for c in COHORTS)] for m in models]
    )
    print(write("real-music", figures))


if __name__ == "__main__":
    main()
