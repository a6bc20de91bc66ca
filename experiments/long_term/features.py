"""From signals to what the surrogate's regression reads: logarithms, and rates drawn towards what is usual.

shape = Shape.of(frame, days=7); x = shape.columns(frame)      # (n, len(shape.names)), standardised

A rate of few plays says little, so each is (count + STRENGTH * usual) / (base + STRENGTH), `usual` over all units that
taught (James & Stein's idea, with a fixed strength). What is usual, centres and scales belong to the surrogate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.analysis.moments import F64
from experiments.long_term.signals import BEFORE_DAYS, SIGNALS
from recsys.errors import BadInput

STRENGTH = 5.0
FURTHEST = 5.0
"""Standard deviations beyond which a column says no more."""
RATES = {
    "finish": ("finishes", "plays"),
    "skip": ("skips", "plays"),
    "save": ("saves", "plays"),
    "new track": ("new_tracks", "plays"),
    "different tracks": ("tracks", "plays"),
    "different artists": ("artists", "plays"),
    "new artist": ("new_artists", "artists"),
    "home": ("home_plays", "plays"),
    "home taken": ("home_plays", "seen"),
    "home stream": ("home_streams", "home_plays"),
    "home finish": ("home_finishes", "home_plays"),
    "finish before": ("before_finishes", "before_plays"),
    "skip before": ("before_skips", "before_plays"),
}
COUNTS = ("plays", "sessions", "hours", "saves", "follows", "not_interested", "pages", "before_plays")
SHARES = ("active", "late_active", "quiet", "longest_gap")


@dataclass(frozen=True)
class Shape:
    """How signals become columns; all numbers are those of the units that taught."""

    days: int
    usual: dict[str, float]  # of each rate, and "mood"
    center: F64
    scale: F64

    @classmethod
    def of(cls, frame: pl.DataFrame, days: int) -> Shape:
        """Learned from a frame of signals."""
        usual = {
            name: float(np.sum(frame[above].to_numpy()) / max(np.sum(frame[below].to_numpy()), 1.0))
            for name, (above, below) in RATES.items()
        }
        mood = frame["mood"].mean()
        usual["mood"] = float(mood) if isinstance(mood, float) else 0.0
        k = len(NAMES)
        raw = cls(days, usual, np.zeros(k), np.ones(k))._raw(frame)
        scale = raw.std(0)
        return cls(days, usual, raw.mean(0), np.where(scale > 1e-9, scale, 1.0))

    def columns(self, frame: pl.DataFrame) -> F64:
        """(n, k) standardised.

        Raises:
            BadInput: a signal is missing.
        """
        lacking = [name for name in SIGNALS if name not in frame.columns]
        if lacking:
            raise BadInput(
                f"the surrogate needs the signals {', '.join(lacking)}: make the frame with `signals`"
            )
        return np.clip((self._raw(frame) - self.center) / self.scale, -FURTHEST, FURTHEST)

    def _raw(self, frame: pl.DataFrame) -> F64:
        at = {name: frame[name].fill_null(float("nan")).to_numpy() for name in SIGNALS}
        shares = {name: at[name] / self.days for name in SHARES}
        before = at["before_active"] / BEFORE_DAYS
        mood = np.nan_to_num(at["mood"], nan=self.usual["mood"])
        columns: list[NDArray[np.floating]] = [np.log1p(at[name]) for name in COUNTS]
        columns += shares.values()
        columns += [
            (at[above] + STRENGTH * self.usual[name]) / (at[below] + STRENGTH)
            for name, (above, below) in RATES.items()
        ]
        active = shares["active"]
        columns += [
            mood,
            before,
            active**2,
            before**2,
            active * before,
            mood**2,
            active * mood,
            before * mood,
        ]
        return np.stack(columns, axis=1).astype(np.float64)


NAMES = (
    *COUNTS,
    *SHARES,
    *RATES,
    "mood",
    "active before",
    "active squared",
    "active before squared",
    "active x before",
    "mood squared",
    "active x mood",
    "before x mood",
)
"""Of the columns."""
