"""How many tracks one worker can train on: memory of the sequence model's tables, measured beside a formula.

python -m benchmarks.embedding_table --sizes 100000,200000,400000,800000

Each size is a process of its own that trains a few steps on random plays. The tables are replicated in every worker, so
the limit is a worker's memory, and before it the message of gradients that workers exchange at each step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from benchmarks.results import table, write

DIM = 64
STEPS = 6
LISTENERS, PLAYS = 400, 100


def formula_bytes(tracks: int, dim: int, workers: int) -> float:
    """What the track tables need in one worker, in bytes.

    A row is `dim` numbers and a bias, of 4 bytes. It is kept as weight, gradient and the two moments of AdamW; with
    several workers also in the message of gradients and in the sum that comes back.
    """
    return 4.0 * tracks * (dim + 1) * (4 if workers == 1 else 6)


def measure(tracks: int) -> dict[str, float]:
    """Highest resident memory of this process, in bytes: before the tables, and after some steps of training."""
    from models.sequence.config import SequenceConfig
    from models.sequence.train import train

    data = _world(tracks)
    config = SequenceConfig(
        embedding_dim=DIM, steps=STEPS, mixing_steps=0, batch_size=16, num_threads=1, checkpoint_steps=10_000
    )
    before = _resident()
    highest = 0

    def watch(_done: int, _total: int) -> None:
        nonlocal highest
        highest = max(highest, _resident())

    train(data, data.split.end, config, progress=watch)
    return {"tracks": tracks, "before": before, "highest": highest}


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def _world(tracks: int) -> Any:
    """A catalog and random plays of a part of it."""
    from recsys.dataset import Dataset, Split
    from recsys.items import Items
    from recsys.plays import Outcome, Plays
    from recsys.schemas import conform
    from recsys.types import session_numbers

    names = pl.select(pl.format("t{}", pl.int_range(tracks).cast(pl.String).str.zfill(8))).to_series()
    frame = pl.DataFrame({"track_id": names, "title": names, "artist_id": pl.repeat("a", tracks, eager=True)})
    artists = pl.DataFrame({"artist_id": ["a"], "name": ["a"]})
    items = Items.of(conform(frame, "tracks"), conform(artists, "artists"), None)
    rng, rows = np.random.default_rng(0), LISTENERS * PLAYS
    offsets = np.arange(LISTENERS + 1, dtype=np.int64) * PLAYS
    start = np.tile(np.arange(PLAYS, dtype=np.int64), LISTENERS) * 240_000
    played = np.full(rows, 200_000, np.int32)
    zero = np.zeros(rows, np.int8)
    plays = Plays(
        offsets=offsets,
        track=rng.integers(0, tracks, rows).astype(np.int32),
        start=start,
        outcome=np.full(rows, Outcome.FINISH, np.int8),
        ms_played=played,
        session=session_numbers(start, played, offsets),
        hour=zero,
        device=zero,
        surface=zero,
    )
    end = int(start.max()) + 1
    users = [f"u{i}" for i in range(LISTENERS)]
    return Dataset(items, plays, users, np.zeros(LISTENERS, np.int16), Split(end, end, end), {})


def _row(tracks: int, before: int, highest: int) -> list[object]:
    return [f"{tracks:,}", before / 1e6, (highest - before) / 1e6, formula_bytes(tracks, DIM, 1) / 1e6]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="100000,200000,400000,800000")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(orjson.dumps(measure(given.one)).decode())
        return
    rows = []
    for size in map(int, given.sizes.split(",")):
        command = [sys.executable, "-m", "benchmarks.embedding_table", "--one", str(size)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
        )
        rows.append(orjson.loads(done.stdout.splitlines()[-1]))
        print(f"{size:,} tracks measured", file=sys.stderr)
    slope = float(np.polyfit([r["tracks"] for r in rows], [r["highest"] - r["before"] for r in rows], 1)[0])
    figures = {
        "rows": rows,
        "bytes_per_track": slope,
        "formula_per_track": formula_bytes(1, DIM, 1),
        "formula_per_track_in_a_team": formula_bytes(1, DIM, 2),
    }
    head = ["tracks", "before, MB", "training, MB", "formula, MB"]
    table(head, [_row(r["tracks"], r["before"], r["highest"]) for r in rows])
    print(f"{slope:.0f} bytes a track measured, {formula_bytes(1, DIM, 1):.0f} by the formula")
    print(write("embedding-table", figures))


if __name__ == "__main__":
    main()
