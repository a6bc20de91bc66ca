"""Real music as a Dataset: 30Music slices on one time line, to check the baselines against known figures.

python -m recsys.evaluation.real ../shared/data/thirtymusic_slices.parquet   # prints the table

The five windows of 2014 are shifted so that their last days coincide (listeners of different windows stay
different). Training before that day and testing on it is then one honest split by time: last day of each
window.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from recsys.dataset import MS_PER_DAY, Dataset, Split, dense
from recsys.ids import public_id
from recsys.items import Items
from recsys.plays import Outcome
from recsys.schemas import TRACKS, conform
from recsys.types import DEVICES, SURFACES

REFERENCE = {"popularity": 0.0008, "markov": 0.1115, "rules": 0.1222, "rules_artist": 0.1285}
"""NDCG@10 of the next track on the last day of each window, measured before this project on the same file."""
_USUAL_MS = 240_000  # no durations in the log: a play lasts to the next one, at most this long


def thirtymusic(path: Path | str) -> Dataset:
    """The file's plays with columns (user, session, track, artist, timestamp [s], slice)."""
    log = aligned(pl.read_parquet(path).unique(maintain_order=True))
    tracks = log.group_by("track_id").agg(pl.col("artist_id").first()).with_columns(title=pl.col("track_id"))
    artists = log.select("artist_id", name="artist_id").unique()
    items = Items.of(conform(tracks, "tracks").select(list(TRACKS)), conform(artists, "artists"), None)
    users = log["user_id"].unique().sort()
    plays, country = dense(log, items, users)
    end = int(log["start"].max()) + 1  # type: ignore[arg-type]
    split = Split(end - 2 * MS_PER_DAY, end - MS_PER_DAY, end)
    return Dataset(items, plays, users.to_list(), country, split, {})


def aligned(log: pl.DataFrame) -> pl.DataFrame:
    """Rows as dataset.plays_frame gives them, each window shifted so that all end at the last one's end."""
    shift = pl.col("timestamp").max() - pl.col("timestamp").max().over("slice")
    start = (pl.col("timestamp") + shift) * 1000
    pause = pl.col("start").shift(-1).over("user_id") - pl.col("start")
    return (
        log.select(
            user_id=_ids("user", pl.format("{}:{}", "slice", "user"), log),
            track_id=_ids("track", pl.col("track"), log),
            artist_id=_ids("artist", pl.col("artist"), log),
            start=start,
        )
        .sort("user_id", "start", "track_id")
        .with_columns(ms_played=pause.clip(0, _USUAL_MS).fill_null(_USUAL_MS).cast(pl.Int32))
        .with_columns(
            outcome=pl.lit(int(Outcome.PARTIAL), pl.Int8),
            hour=(pl.col("start") // 3_600_000 % 24).cast(pl.Int8),
            device=pl.lit(DEVICES.index("unknown"), pl.Int8),
            surface=pl.lit(SURFACES.index("library"), pl.Int8),
            conn_country=pl.lit(None, pl.String),
        )
    )


def _ids(kind: str, key: pl.Expr, log: pl.DataFrame) -> pl.Series:
    keys = log.select(key.cast(pl.String).alias("key"))["key"]
    names = keys.unique()
    return keys.replace_strict(names, [public_id("30music", f"{kind}:{k}") for k in names])


def reproduce(path: Path | str, cap: int = 5000, seed: int = 0) -> dict[str, float]:
    """NDCG@10 of every reference baseline on next_track, targets seen and unseen together."""
    from recsys.evaluation.baselines import BASELINES
    from recsys.evaluation.evaluate import evaluate
    from recsys.evaluation.tasks import build_tasks

    data = thirtymusic(path)
    tasks = build_tasks(data, data.split.test, data.split.end, names=("next_track",), cap=cap, seed=seed)
    models = {name: BASELINES[name](data, data.split.test) for name in REFERENCE}
    rows = evaluate(models, tasks, ks=(10,))
    return {r.model: r.value for r in rows if r.metric == "ndcg" and r.cohort == "all"}


if __name__ == "__main__":
    measured = reproduce(sys.argv[1])
    print(f"{'NDCG@10':<14}{'here':>8}{'reference':>11}")
    for model, value in measured.items():
        print(f"{model:<14}{value:>8.4f}{REFERENCE[model]:>11.4f}")
    print(f"\n{np.round(measured['rules'] / measured['markov'], 3)} = rules : markov")
