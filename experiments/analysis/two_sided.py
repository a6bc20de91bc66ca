"""Both sides randomised: pairs of listener and artist fall into four cells, and spillovers show between them.

result = two_sided(outcome, listener, artist, listener_treated, artist_treated)
Multiple randomisation designs (Bajari, Burdick, Imbens, Masoero, McQueen, Richardson & Rosen, Statistical Science
2023). A pair is treated where both sides are. Assumes that a pair's outcome depends on the two sides' assignments
through its own cell and, for spillovers, through its row or column alone (local interference). Pairs of one listener,
and of one artist, are alike: the error is the largest of those clustered by listener, by artist and both ways (Cameron,
Gelbach & Miller, JBES 2011; the maximum: MacKinnon, Nielsen & Webb 2024), since the two-way one alone can come out far
too small where one side's effects cancel, as they do in the interaction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.analysis.effects import Inference, infer
from experiments.analysis.moments import F64
from experiments.analysis.regression import Fit, fit_clustered
from recsys.errors import BadInput

Codes = NDArray[np.integer]


@dataclass(frozen=True)
class TwoSided:
    """Contrasts of cell means against pairs with neither side treated."""

    both: Inference  # both sides treated
    listener_spillover: Inference  # listener treated, artist not: what treated listeners do elsewhere
    artist_spillover: Inference  # artist treated, listener not
    interaction: Inference  # both - listener - artist: what needs both sides
    pairs: int
    listeners: int
    artists: int


def two_sided(
    outcome: F64,
    listener: Codes,
    artist: Codes,
    listener_treated: NDArray[np.integer],
    artist_treated: NDArray[np.integer],
    confidence: float = 0.95,
) -> TwoSided:
    """All arguments (n,), one row per pair; the pairs are fixed before the experiment, silent ones are 0.

    Raises:
        BadInput: one of the four cells is empty.
    """
    a, b = np.asarray(listener_treated, float), np.asarray(artist_treated, float)
    if len({(x, y) for x, y in np.unique(np.stack([a, b], 1), axis=0).tolist()}) < 4:
        raise BadInput("a two-sided analysis needs pairs in all four cells: was one side not randomised?")
    x = np.stack([np.ones(len(a)), a, b, a * b], axis=1)
    y = np.asarray(outcome, float)
    fits = [fit_clustered(y, x, listener), fit_clustered(y, x, artist), fit_clustered(y, x, listener, artist)]
    both, first, second, extra = (
        _largest(fits, np.array(w, float), confidence)
        for w in ((0, 1, 1, 1), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
    )
    return TwoSided(both, first, second, extra, len(a), len(np.unique(listener)), len(np.unique(artist)))


def _largest(fits: list[Fit], weights: F64, confidence: float) -> Inference:
    effect = fits[0].combine(weights)[0]
    se = max(fitted.combine(weights)[1] for fitted in fits)
    return infer(effect, se, min(fitted.df for fitted in fits), confidence)
