"""What the crowd did with each track before a time: popularity by window and country, skip and finish rates.

stats = item_stats(dataset.plays, dataset.country, items, as_of=split.valid)

Saved in the release; training takes one cut or several (`StatsSeries`), each from plays that had ended by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.errors import Leak, ReleaseRefused
from recsys.items import MS_PER_DAY, Items
from recsys.plays import I16, I64, Outcome, Plays

WINDOWS_DAYS = (1, 7, 28)
PRIOR_PLAYS = 20.0
FILE = "item_stats.npz"


@dataclass(frozen=True)
class ItemStats:
    """Facts about n tracks as of one time."""

    as_of: int  # UTC ms; plays that ended later were not seen
    popularity: NDArray[np.float32]  # (n, 3) log(1 + plays per million) over WINDOWS_DAYS
    territory: NDArray[
        np.float32
    ]  # (n, countries+1) the same in each country, 28 days; last column: everywhere
    skip_rate: NDArray[np.float32]  # (n,) smoothed towards the mean of all plays
    finish_rate: NDArray[np.float32]  # (n,)

    def __len__(self) -> int:
        return len(self.skip_rate)

    def padded(self, size: int) -> ItemStats:
        """With tracks that nobody has played yet after the others, `size` in all: no popularity, rates as expected."""
        more = size - len(self)
        unheard = int(np.argmin(self.territory[:, -1]))  # without plays the rates are those of the prior
        return ItemStats(
            as_of=self.as_of,
            popularity=np.pad(self.popularity, ((0, more), (0, 0))),
            territory=np.pad(self.territory, ((0, more), (0, 0))),
            skip_rate=np.append(self.skip_rate, np.full(more, self.skip_rate[unheard])),
            finish_rate=np.append(self.finish_rate, np.full(more, self.finish_rate[unheard])),
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / FILE, **self.__dict__)

    @classmethod
    def load(cls, folder: Path) -> ItemStats:
        """Raises ReleaseRefused where the file is missing or damaged."""
        try:
            with np.load(folder / FILE) as stored:
                arrays = {name: stored[name] for name in cls.__dataclass_fields__}
        except Exception as error:  # numpy and zipfile raise a dozen types for a damaged file
            raise ReleaseRefused(
                f"{FILE} cannot be read ({error}): rebuild or roll back the release"
            ) from None
        return cls(int(arrays.pop("as_of")), **arrays)


@dataclass(frozen=True)
class StatsSeries:
    """Cuts in ascending time; a row sees the newest one that is not after it."""

    cuts: tuple[ItemStats, ...]

    def number(self, now: I64) -> I64:
        """(b,) number of the cut that each time may see.

        Raises:
            Leak: a time before the first cut.
        """
        at = np.searchsorted([cut.as_of for cut in self.cuts], now, side="right") - 1
        if (at < 0).any():
            raise Leak("item statistics are newer than a row that would use them: add an earlier cut")
        return np.asarray(at, np.int64)


def series(plays: Plays, country: I16, items: Items, times: Sequence[int]) -> StatsSeries:
    return StatsSeries(tuple(item_stats(plays, country, items, t) for t in sorted(times)))


def item_stats(plays: Plays, country: I16, items: Items, as_of: int) -> ItemStats:
    """Statistics from the plays that had ended by `as_of`.

    Args:
        plays: all listeners. country: (listeners,) number in items.countries.
    """
    n = len(items)
    age = (as_of - plays.start) / MS_PER_DAY
    seen = (plays.start + plays.ms_played <= as_of) & (age <= max(WINDOWS_DAYS)) & (plays.track >= 0)
    track, age, outcome = plays.track[seen], age[seen], plays.outcome[seen]
    where = country[plays.owner[seen]]
    popularity = [_per_million(np.bincount(track[age <= days], minlength=n)) for days in WINDOWS_DAYS]
    counts = np.bincount(track, minlength=n)
    places = len(items.countries)
    by_place = np.bincount(track.astype(np.int64) * (places + 1) + where, minlength=n * (places + 1)).reshape(
        n, places + 1
    )
    by_place[:, places] = counts
    return ItemStats(
        as_of=as_of,
        popularity=np.stack(popularity, axis=1),
        territory=_per_million(by_place),
        skip_rate=_rate(track[outcome == Outcome.SKIP], counts),
        finish_rate=_rate(track[outcome == Outcome.FINISH], counts),
    )


def _per_million(counts: NDArray[np.integer]) -> NDArray[np.float32]:
    total = np.maximum(counts.sum(axis=0), 1)
    return np.asarray(np.log1p(counts / total * 1e6), np.float32)


def _rate(track: NDArray[np.integer], counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """Share of each track's plays that are in `track`, with PRIOR_PLAYS plays of the overall share added."""
    overall = len(track) / max(int(counts.sum()), 1)
    hits = np.bincount(track, minlength=len(counts))
    return ((hits + PRIOR_PLAYS * overall) / (counts + PRIOR_PLAYS)).astype(np.float32)
