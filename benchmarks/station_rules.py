"""What docs/radio.md promises of a station, checked slot by slot from ids and the lake's availability table.

Shares no code with the selector: benchmarks/stations.py walks the stations, `Rules.broken` judges them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from recsys.items import MS_PER_DAY, Items
from recsys.separation import Gaps
from recsys.types import Context, UserState
from serving.surfaces.stations import Station


@dataclass(frozen=True)
class Heard:
    """One slot as a listener's client saw it, with the page it came on."""

    track_id: str
    relaxed: frozenset[str]


@dataclass
class Walk:
    """One station on its way: whose it is, what came, what may not come any more."""

    kind: str
    user: UserState
    context: Context
    station: Station
    heard: list[Heard] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


class Rules:
    """What docs/radio.md promises, read from ids and the lake's availability table."""

    def __init__(self, items: Items, availability: pl.DataFrame, gaps: Gaps) -> None:
        frame = items.frame
        self.gaps = gaps
        self.facts = {
            row["track_id"]: row
            for row in frame.select(
                "track_id",
                "artist_id",
                "album_id",
                "explicit",
                "release_date",
                title=pl.col("title").str.to_lowercase(),
            ).to_dicts()
        }
        self.open: dict[str, list[tuple[str | None, int | None, int | None]]] = {}
        times = [pl.col(name).dt.epoch("ms") for name in ("available_from", "available_until")]
        for track_id, *window in availability.select("track_id", "country", *times).iter_rows():
            self.open.setdefault(track_id, []).append((window[0], window[1], window[2]))

    def broken(self, walk: Walk, place: int, now: int, withdrawn: set[str]) -> list[str]:
        """The rules that the slot at `place` breaks without its page having named the relaxation."""
        slot = walk.heard[place]
        fact, out = self.facts[slot.track_id], list[str]()
        if not self._open(slot.track_id, walk.context.country, now):
            out.append("territory")
        if (
            fact["release_date"] is not None
            and fact["release_date"].toordinal() - 719_163 > now // MS_PER_DAY
        ):
            out.append("embargo")
        if fact["explicit"] and not walk.context.explicit:
            out.append("explicit")
        if slot.track_id in withdrawn:
            out.append("withdrawn")
        if slot.track_id in walk.refused:
            out.append("not_interested")
        if slot.track_id in {h.track_id for h in walk.heard[:place]} and "repeats" not in slot.relaxed:
            out.append("repeats")
        for name, gap in (
            ("artist", self.gaps.artist),
            ("album", self.gaps.album),
            ("title", self.gaps.title),
        ):
            column = "title" if name == "title" else f"{name}_id"
            recent = {self.facts[h.track_id][column] for h in walk.heard[max(place - gap, 0) : place]}
            if fact[column] and fact[column] in recent and f"{name}_gap" not in slot.relaxed:
                out.append(f"{name}_gap")
        return out

    def _open(self, track_id: str, country: str | None, now: int) -> bool:
        windows = self.open.get(track_id)
        return windows is None or any(
            (place is None or place == country)
            and (since is None or since <= now)
            and (until is None or now < until)
            for place, since, until in windows
        )
