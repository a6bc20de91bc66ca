"""Cold start on MovieLens-1M: films hidden from training, ranked by title and genre content.

    python -m benchmarks.cold_ml1m ../shared/data [--splits 3] [--hide 0.1] [--last 64] [--epochs 2]

Each split hides a random tenth of the films: their ratings leave training and every history. The query is a listener
after the last `--last` of the other films in order; the targets are all the hidden films that the listener rated among
those. Two kinds of list: all films not in the history (the full catalog), and the hidden films alone. Content is what
the file of films holds: words of the title and genres as the sound of a track (their 9 leading components, Halko et
al. 2011), the first genre as parent, all of them as genre, the decade as artist, the year as release day.

The file keeps the order alone, so each listener's films are laid out 8 a day, two minutes apart; films are not music,
and a day here is no day. Recall@10 and @100 with 95% intervals over listeners of all splits together.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl

from benchmarks.cold_rankers import VARIANTS, Ranker, cold_head, knn, newest
from benchmarks.results import table, write
from models.two_tower import TwoTowerConfig, cold
from models.two_tower.train import train
from recsys.dataset import Dataset, Split
from recsys.evaluation.bootstrap import Resampler
from recsys.items import MS_PER_DAY, Items
from recsys.plays import Outcome, Plays
from recsys.schemas import AUDIO, TRACKS, conform
from recsys.topk import largest_rows
from recsys.types import QueryBatch, session_numbers

A_DAY, MINUTES = 8, 2
KS = (10, 100)
START_DAY = 20_000


def films(path: Path) -> tuple[Items, dict[int, int]]:
    """The catalog, and the dense number of each film."""
    frame = pl.read_parquet(path).sort("item")
    year = frame["title"].str.extract(r"\((\d{4})\)\s*$").cast(pl.Int32).fill_null(1995)
    genres = frame["genres"].str.split("|")
    rows = pl.DataFrame(
        {
            "track_id": [f"{i:022d}" for i in frame["item"]],
            "title": frame["title"],
            "artist_id": [f"decade{y // 10:016d}" for y in year],
            "genre": [f"{g[0]}/{'|'.join(g)}" for g in genres.to_list()],
            "release_date": pl.Series([(y - 1970) * 365 for y in year], dtype=pl.Int32).cast(pl.Date),
        }
    )
    sound = components(frame["title"].to_list(), genres.to_list(), year.to_numpy())
    rows = rows.with_columns(pl.Series(name, sound[:, j]) for j, name in enumerate(AUDIO))
    artists = rows.select("artist_id", name="artist_id").unique()
    items = Items.of(conform(rows, "tracks").select(list(TRACKS)), conform(artists, "artists"), None)
    return items, {film: items.number(f"{film:022d}") for film in frame["item"]}


def components(titles: list[str], genres: list[list[str]], year: np.ndarray) -> np.ndarray:
    """(n, 9) leading components of one-hot genres and decades and of the words of the titles (tf-idf)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import MultiLabelBinarizer

    tags = MultiLabelBinarizer().fit_transform(
        [[*g, str(y // 10)] for g, y in zip(genres, year, strict=True)]
    )
    words = TfidfVectorizer(stop_words="english", min_df=2, token_pattern=r"[A-Za-z]{3,}").fit_transform(
        titles
    )
    both = np.hstack([tags, 0.5 * words.toarray()])
    return np.asarray(TruncatedSVD(len(AUDIO), random_state=0).fit_transform(both))


def ratings(path: Path, number: dict[int, int], items: Items, last: int) -> Dataset:
    """Each user's last films in order, as plays."""
    frame = pl.read_parquet(path).sort("user", "pos")
    frame = frame.filter(pl.col("pos").rank("ordinal", descending=True).over("user") <= last)
    nth = frame.select(pl.int_range(pl.len()).over("user")).to_series().to_numpy()
    users, owner = np.unique(frame["user"].to_numpy(), return_inverse=True)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner))]).astype(np.int64)
    start = (START_DAY + nth // A_DAY) * MS_PER_DAY + nth % A_DAY * MINUTES * 60_000
    rows, zero = len(frame), np.zeros(len(frame), np.int8)
    played = np.full(rows, 60_000, np.int32)
    track = np.array([number[film] for film in frame["item"]], np.int32)
    session = session_numbers(start, played, offsets)
    plays = Plays(
        offsets, track, start, np.full(rows, Outcome.FINISH, np.int8), played, session, zero, zero, zero
    )
    end = int(start.max() // MS_PER_DAY + 1) * MS_PER_DAY
    names = [f"u{user:021d}" for user in users]
    return Dataset(items, plays, names, np.zeros(len(users), np.int16), Split(end, end, end), {})


def one_split(data: Dataset, hide: float, seed: int, config: TwoTowerConfig) -> dict[str, Any]:
    """Recalls of each ranker, by kind of list, for every listener with a hidden film."""
    hidden = np.random.default_rng(seed).random(len(data.items)) < hide
    without = cold.without(data.plays, hidden)
    known = Dataset(
        data.items, without.where(without.track >= 0), data.user_ids, data.country, data.split, {}
    )
    began = process_time()
    tower = train(known, data.split.end, config)
    head = cold.fit(tower, known, data.split.end, seed)
    cpu = process_time() - began
    targets = [data.plays.track[a:b][hidden[data.plays.track[a:b]]] for a, b in _rows(data.plays)]
    asked = np.flatnonzero([len(t) > 0 for t in targets])
    zero = np.zeros(len(asked), np.int8)
    now = np.full(len(asked), data.split.end)
    batch = QueryBatch(known.plays.take(asked), now, zero, np.zeros(len(asked), np.int16), zero)
    popular = _of_genre(known)
    tuned, rest = asked[::5], np.setdiff1d(asked, asked[::5])  # a fifth chooses the content kNN's variant
    out: dict[str, Any] = {"cpu_s": cpu, "hidden": int(hidden.sum()), "listeners": rest, "recall": {}}
    for pool_name, pool in (("full catalog", np.ones(len(hidden), bool)), ("hidden films", hidden)):
        at, rows = np.searchsorted(asked, tuned), np.searchsorted(asked, rest)
        tries = [_recall(knn(data.items, v), batch, at, targets, asked, pool)[:, 1].mean() for v in VARIANTS]
        best = VARIANTS[int(np.argmax(tries))]
        out[f"knn, {pool_name}"] = str(best)
        rankers: dict[str, Ranker] = {
            "newest year": newest(data.items),
            "popularity of the genre": popular,
            "content kNN": knn(data.items, best),
            "two_tower": tower.score,
            "cold head": cold_head(head, pool),
        }
        for name, ranker in rankers.items():
            out["recall"][pool_name, name] = _recall(ranker, batch, rows, targets, asked, pool)
    return out


def _rows(plays: Plays) -> list[tuple[int, int]]:
    return list(zip(plays.offsets[:-1].tolist(), plays.offsets[1:].tolist(), strict=True))


def _of_genre(data: Dataset) -> Ranker:
    """Mean plays of the known films of a film's genres, whoever asks."""
    plays = np.bincount(data.plays.track, minlength=len(data.items)).astype(float)
    kind, known = cold.kinds(data.items)[2], plays > 0
    size = int(kind.max()) + 1
    sums = np.bincount(kind[known], plays[known], minlength=size) + 5 * plays[known].mean()
    score = (sums / (np.bincount(kind[known], minlength=size) + 5))[kind].astype(np.float32)
    return lambda batch: np.repeat(score[None], len(batch), axis=0)


def _recall(
    ranker: Ranker,
    batch: QueryBatch,
    rows: np.ndarray,
    targets: list[np.ndarray],
    asked: np.ndarray,
    pool: np.ndarray,
) -> np.ndarray:
    """(rows, len(KS)) share of each listener's hidden films in the first k, those in the history left out."""
    out = np.zeros((len(rows), len(KS)))
    for low in range(0, len(rows), 256):
        part = batch.take(rows[low : low + 256])
        scores = np.where(pool, ranker(part), -np.inf).astype(np.float32)
        scores[part.histories.owner, part.histories.track] = -np.inf
        best = largest_rows(scores, max(KS))
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, 1)
        for j, row in enumerate(rows[low : low + 256]):
            hit = np.isin(best[j], targets[asked[row]])
            out[low + j] = [hit[:k].sum() / len(targets[asked[row]]) for k in KS]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with ml1m_sasrec.parquet and ml1m_items.parquet")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--hide", type=float, default=0.1)
    parser.add_argument("--last", type=int, default=64, help="films a listener, the last in order")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--name", default="cold-ml1m")
    given = parser.parse_args()
    items, number = films(given.data / "ml1m_items.parquet")
    data = ratings(given.data / "ml1m_sasrec.parquet", number, items, given.last)
    config = TwoTowerConfig(
        epochs=given.epochs, max_length=64, uniform_negatives=512, id_dropout=0.3, half_life_days=1e4
    )
    done = [one_split(data, given.hide, seed, config) for seed in range(given.splits)]
    rows = []
    for pool, name in done[0]["recall"]:
        values = np.concatenate([split["recall"][pool, name] for split in done])
        draw = Resampler.of(np.concatenate([split["listeners"] for split in done]))
        for j, k in enumerate(KS):
            found = draw.mean(values[:, j])
            each = [float(split["recall"][pool, name][:, j].mean()) for split in done]
            rows.append([pool, name, k, found.value, found.low, found.high, each])
    head = ["list", "ranker", "k", "recall", "low", "high", "splits"]
    table(head, rows)
    facts = [{key: split[key] for key in split if key not in ("recall", "listeners")} for split in done]
    figures = {"rows": [dict(zip(head, row, strict=True)) for row in rows], "splits": facts}
    print(write(given.name, {**figures, "settings": config.model_dump(), "last": given.last}))


if __name__ == "__main__":
    main()
