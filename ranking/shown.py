"""Pages that an earlier recommender showed, slot by slot, with what the listener did: columns of dense numbers.

shown = load_shown(lake, data, since, until)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl

from ranking.config import OUTCOMES
from ranking.labels import dense_rows
from recsys.dataset import Dataset, trainable
from recsys.features.registers import in_taste
from recsys.lake import Lake
from recsys.plays import I8, I64
from recsys.rewards import attribute
from recsys.types import DEVICES, SURFACES, local_hour


@dataclass(frozen=True)
class Shown:
    """m slots of b pages; page j owns rows offsets[j]:offsets[j+1], tracks ascending."""

    user: I64  # (b,) listener number
    now: I64  # (b,) UTC ms
    hour: I8  # (b,) local hour
    device: I8  # (b,) number in DEVICES
    surface: I8  # (b,) number in SURFACES
    offsets: I64  # (b+1,)
    track: I64  # (m,)
    slot: I64  # (m,) position as logged
    labels: dict[str, I8]  # outcome -> (m,)
    played: I8  # (m,)

    def __len__(self) -> int:
        return len(self.user)

    def take(self, pages: I64) -> Shown:
        """Some pages, in the given order."""
        lengths = np.diff(self.offsets)[pages]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.repeat(self.offsets[pages] - offsets[:-1], lengths) + np.arange(offsets[-1])
        by_page = {name: getattr(self, name)[pages] for name in ("user", "now", "hour", "device", "surface")}
        by_row = {name: getattr(self, name)[rows] for name in ("track", "slot", "played")}
        labels = {o: v[rows] for o, v in self.labels.items()}
        return replace(self, offsets=offsets, labels=labels, **by_page, **by_row)

    def that_were_played(self) -> Shown:
        """Only the slots that were played, and only pages with such slots."""
        kept = self.played > 0
        page = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        counts = np.bincount(page[kept], minlength=len(self))
        rows = {name: getattr(self, name)[kept] for name in ("track", "slot", "played")}
        labels = {o: v[kept] for o, v in self.labels.items()}
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return replace(self, offsets=offsets, labels=labels, **rows).take(np.flatnonzero(counts))

    def sample(self, slots: int, seed: int) -> Shown:
        """A uniform sample of whole pages with about `slots` slots in all, in order of time."""
        pages = np.argsort(self.now, kind="stable")
        keep = int(slots * len(self) / max(len(self.track), 1))
        if len(pages) > keep:
            rng = np.random.default_rng([seed, 2])
            pages = pages[np.sort(rng.choice(len(pages), keep, replace=False))]
        return self.take(pages)


def load_shown(lake: Lake, data: Dataset, since: int, until: int) -> Shown:
    """Pages shown in [since, until), judged by what had happened before `until`.

    Reads the lake version that `data` was read from; unknown listeners and tracks are left out.
    """
    first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (since, until))
    events = trainable(in_taste(lake.scan("events", data.versions.get("events")))).filter(
        pl.col("day").is_between(first.date(), last.date()), pl.col("ts") >= first, pl.col("ts") < last
    )
    return shown_of(dense_rows(attribute(events), data))


def shown_of(rows: pl.DataFrame) -> Shown:
    """From impression rows with dense `user` and `track` beside the columns of `recsys.rewards.attribute`."""
    rows = rows.with_columns(pl.col("ts").min().over("request_id")).sort("request_id", "track")
    first = rows["request_id"].is_first_distinct().to_numpy()
    opens = np.flatnonzero(first)
    pages = rows[opens]
    now = pages["ts"].dt.epoch("ms").to_numpy().astype(np.int64)
    zones = pages["tz"].fill_null("UTC").to_list()
    devices = {name: i for i, name in enumerate(DEVICES)}
    surfaces = {name: i for i, name in enumerate(SURFACES)}
    return Shown(
        user=pages["user"].to_numpy().astype(np.int64),
        now=now,
        hour=np.array([local_hour(t, z) for t, z in zip(now.tolist(), zones, strict=True)], np.int8),
        device=_numbers(pages["device"], devices),
        surface=_numbers(pages["surface"], surfaces),
        offsets=np.append(opens, len(rows)).astype(np.int64),
        track=rows["track"].to_numpy().astype(np.int64),
        slot=rows["position"].to_numpy().astype(np.int64),
        labels={o: rows[REWARD_COLUMN[o]].to_numpy().astype(np.int8) for o in OUTCOMES},
        played=rows["played"].to_numpy().astype(np.int8),
    )


REWARD_COLUMN = {"finish": "finished", "skip": "skipped", "save": "saved"}


def _numbers(values: pl.Series, known: dict[str, int]) -> I8:
    return values.replace_strict(known, default=-1, return_dtype=pl.Int8).to_numpy()
