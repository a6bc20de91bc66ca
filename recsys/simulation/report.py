"""Marginals of a log against published and real ones: `recsys simulate --report`.

    rows = marginals(Lake(home.lake)); print(table(rows)); render(rows, home.reports / "marginals.png")

Works on any events table: a log without play lengths or artists (an imported one) leaves those lines out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.lake import Lake
from recsys.plays import SESSION_GAP_MS
from recsys.simulation.ratios import data_of, like_thirty_music, ndcg

LAMERE = 'Lamere 2014, "The Skip" (Spotify, billions of plays), musicmachinery.com'
THIRTY = "30Music test slices (Turrin et al., RecSys 2015 posters), measured"
LASTFM = "Last.fm sequences (Kumar et al. 2019 / RMTPP), measured"
LISTENERS = 5_000
"""Listeners read, at most: the report needs a sample, however large the lake."""


@dataclass(frozen=True)
class Marginal:
    """One line: what a log shows beside what is known of real listening."""

    name: str
    value: float
    reference: float
    tolerance: float
    """Relative; `ratio` lines use a factor of two instead."""
    source: str
    ratio: bool = False

    @property
    def ok(self) -> bool:
        if self.ratio:
            return self.reference / 2 <= self.value <= self.reference * 2
        return abs(self.value / self.reference - 1) <= self.tolerance


def marginals(lake: Lake, ratios: bool = True) -> list[Marginal]:
    """Lines for the events of a lake (a seeded sample of its listeners).

    Args:
        ratios: also fit the quick baselines and compare their ratios (half a minute).
    """
    return marginals_of(sample_plays(lake), ratios)


def sample_plays(lake: Lake) -> pl.DataFrame:
    """Plays of up to LISTENERS listeners: user, session, track, artist, timestamp (s, start), ms, duration, device."""
    known = lake.scan("listeners") if lake.has("listeners") else lake.scan("events")
    users = known.select(pl.col("user_id").unique()).collect()["user_id"].sort().shuffle(seed=0)[:LISTENERS]
    tracks = lake.scan("tracks").select("track_id", "artist_id", "duration_ms").collect()
    events = lake.scan("events").filter(
        pl.col("kind") == "play_end", pl.col("user_id").is_in(users.implode())
    )
    return (
        events.select("user_id", "session_id", "track_id", "ts", "ms_played", "reason_end", "device")
        .collect()
        .join(tracks, on="track_id", how="left")
        .select(
            user="user_id",
            session="session_id",
            track="track_id",
            artist="artist_id",
            timestamp=(pl.col("ts").dt.epoch("ms") - pl.col("ms_played").fill_null(0)) // 1000,
            ms="ms_played",
            duration="duration_ms",
            finished=pl.col("reason_end") == "trackdone",
            device="device",
        )
        .sort("user", "timestamp")
        .with_columns(session=pl.coalesce("session", _by_pauses()))
    )


def _by_pauses() -> pl.Expr:
    """Session names for a log without any: a pause longer than SESSION_GAP_MS starts a new one."""
    pause = pl.col("timestamp").diff().fill_null(0) > SESSION_GAP_MS // 1000
    return pl.concat_str("user", pause.cum_sum().over("user").cast(pl.String), separator=" ")


def thirty_music_plays(path: Path) -> pl.DataFrame:
    """The real slices (shared/data/thirtymusic_slices.parquet) in the form of `sample_plays`, with their `slice`."""
    unknown = {name: pl.lit(None, kind) for name, kind in (("ms", pl.Int32()), ("duration", pl.Int32()))}
    return pl.read_parquet(path).with_columns(
        **unknown, finished=pl.lit(None, pl.Boolean()), device=pl.lit(None, pl.String())
    )


def scrobbles(plays: pl.DataFrame) -> pl.DataFrame:
    """Plays that Last.fm would count: at least half of the track or four minutes (30Music holds no others)."""
    if plays["ms"].null_count() == len(plays):
        return plays
    enough = pl.min_horizontal(pl.col("duration") / 2, pl.lit(240_000))
    return plays.filter((pl.col("ms") >= enough) & (pl.col("duration") > 30_000))


def marginals_of(plays: pl.DataFrame, ratios: bool = True) -> list[Marginal]:
    """The same from a frame as `sample_plays` gives it; `ms` may be null throughout.

    Windows of five days are drawn from it, unless a column `slice` names them.
    """
    heard = scrobbles(plays)
    lines = _skips(plays) if plays["ms"].null_count() < len(plays) else []
    window = heard if "slice" in heard.columns else like_thirty_music(heard)
    lines += _sessions(heard) + _repeats(heard, window)
    return lines + (_ratios(window) if ratios else [])


def _skips(plays: pl.DataFrame) -> list[Marginal]:
    early, before_30, finished = plays.select(
        (pl.col("ms") < 5_000).mean(), before=(pl.col("ms") < 30_000).mean(), all=pl.col("finished").mean()
    ).row(0)
    mobile, desktop = (
        1 - plays.filter(pl.col("device") == d).select(pl.col("finished").mean()).item()
        for d in ("mobile", "desktop")
    )
    return [
        Marginal("skipped before 5 s", early, 0.2414, 0.2, LAMERE),
        Marginal("skipped before 30 s", before_30, 0.3505, 0.2, LAMERE),
        Marginal("finished", finished, 0.514, 0.2, LAMERE),
        Marginal("skipped on mobile", mobile, 0.511, 0.2, LAMERE),
        Marginal("skipped on desktop", desktop, 0.401, 0.2, LAMERE),
    ]


def _sessions(heard: pl.DataFrame) -> list[Marginal]:
    following = heard.with_columns(
        pl.col("artist", "track", "timestamp").shift(-1).over("session").name.prefix("next_")
    ).drop_nulls("next_track")
    gap, same, loop = following.select(
        gap=(pl.col("next_timestamp") - pl.col("timestamp")).median(),
        same=(pl.col("artist") == pl.col("next_artist")).mean(),
        loop=(pl.col("track") == pl.col("next_track")).mean(),
    ).row(0)
    length = heard.group_by("session").len().select(mean=pl.col("len").mean(), median=pl.col("len").median())
    return [
        Marginal("next by the same artist", same, 0.4885, 0.2, THIRTY),
        Marginal("next is the same track", loop, 0.0319, 0.2, THIRTY),
        Marginal("gap between starts, median s", gap, 256.0, 0.2, THIRTY),
        Marginal("tracks a session, mean", length["mean"][0], 12.43, 0.2, THIRTY),
        Marginal("tracks a session, median", length["median"][0], 8.0, 0.2, THIRTY),
    ]


def _repeats(heard: pl.DataFrame, window: pl.DataFrame) -> list[Marginal]:
    def share(frame: pl.DataFrame, what: str, *by: str) -> float:
        return 1 - frame.select(*by, what).n_unique() / len(frame)

    top = sum(_top_share(part["track"]) for part in window.partition_by("slice")) / window["slice"].n_unique()
    days = heard.select(pl.col("timestamp").max() - pl.col("timestamp").min()).item() / 86_400
    long_run = heard.filter(pl.len().over("user") >= 20, "slice" not in heard.columns and days > 20)
    lines = [
        Marginal("repeat share of tracks, 5 days", share(window, "track", "user"), 0.156, 0.2, THIRTY),
        Marginal("repeat share of artists, 5 days", share(window, "artist", "user"), 0.59, 0.2, THIRTY),
        Marginal("share of the top 1% of tracks, 5 days", top, 0.0745, 0.2, THIRTY),
    ]
    if len(long_run):
        lines.append(
            Marginal(
                "repeat share of artists, long run", share(long_run, "artist", "user"), 0.887, 0.2, LASTFM
            )
        )
    return lines


def _top_share(track: pl.Series) -> float:
    counts = track.value_counts(sort=True)["count"].to_numpy()
    return float(counts[: max(len(counts) // 100, 1)].sum() / counts.sum())


def _ratios(window: pl.DataFrame) -> list[Marginal]:
    """Baselines' NDCG@10 relative to Markov, against the same on the real slices (measured by `ratios.ndcg`)."""
    found = ndcg(data_of(window))
    real = {"popularity": 0.00080, "markov": 0.1199, "rules": 0.1306, "als": 0.0338}
    pairs = [("markov", "popularity"), ("rules", "markov"), ("als", "markov"), ("als", "popularity")]
    lines = [
        Marginal(
            f"NDCG@10 {a} : {b}", found[a] / max(found[b], 1e-6), real[a] / real[b], 1.0, THIRTY, ratio=True
        )
        for a, b in pairs
    ]
    return [*lines, Marginal("targets unseen in training", found["unseen"], 0.397, 0.2, THIRTY)]


def table(rows: list[Marginal]) -> str:
    """The lines as text; a line out of tolerance is marked RED."""
    head = f"{'marginal':36} {'log':>9} {'real':>9} {'within':>7}      source"
    body = [
        f"{r.name:36} {r.value:9.4g} {r.reference:9.4g} {'x2' if r.ratio else f'±{r.tolerance:.0%}':>7} "
        f"{'ok ' if r.ok else 'RED'}  {r.source}"
        for r in rows
    ]
    return "\n".join([head, *body])


def render(rows: list[Marginal], path: Path) -> None:
    """Draws each line's value relative to its reference, on a log axis, into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.6), layout="constrained")
    for y, row in enumerate(rows):
        low, high = (0.5, 2.0) if row.ratio else (1 - row.tolerance, 1 + row.tolerance)
        axes.plot([low, high], [y, y], color="#c9d3e0", linewidth=9, solid_capstyle="butt", zorder=1)
        color = "#1f6f43" if row.ok else "#c0392b"
        axes.plot(row.value / row.reference, y, "o", color=color, markersize=7, zorder=3)
        axes.annotate(f"{row.value:.3g}  (real {row.reference:.3g})", (1.01, y), xycoords=("axes fraction", "data"),
                      va="center", fontsize=8, color="#333333")  # fmt: skip
    axes.axvline(1, color="#555555", linewidth=0.8, zorder=2)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 0.8, 1, 1.25, 2, 4]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    spread = [r.value / r.reference for r in rows]
    axes.set_xlim(min(0.4, *spread) * 0.9, max(2.5, *spread) * 1.1)
    axes.set_yticks(range(len(rows)), [r.name for r in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("log : real (grey: tolerance)")
    axes.set_title("The log beside real listening", loc="left", fontsize=11)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
