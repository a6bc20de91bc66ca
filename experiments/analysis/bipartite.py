"""Listeners are randomised, artists have the outcome: effects over a graph between the two sides.

result = bipartite(listener, artist, weight, treated, outcome)
An artist's exposure is the share of its earlier listening that comes from treated listeners. Assumes that an artist's
outcome is linear in its own exposure and nothing else of the assignment (Harshaw, Sävje, Eisenstat, Mirrokni & Pouget-
Abadie, EJS 2023), that edges were fixed before the experiment, and that listeners were assigned independently (or by
cluster). The slope is then the effect on an artist of treating every listener against none. Artists that share
listeners have correlated exposures: errors are summed over listeners (shift-share errors, Adão, Kolesár & Morales,
QJE 2019), not over artists, which would be far too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from experiments.analysis.effects import Inference, infer
from experiments.analysis.moments import F64
from recsys.errors import BadInput

Codes = NDArray[np.integer]


@dataclass(frozen=True)
class Bipartite:
    """`effect`: all listeners treated against none, on the mean artist. `effective`: 1 / sum of squared mean shares,
    how many equal listeners the exposures amount to; intervals need hundreds. `naive_se`: what ignoring shared
    listeners would have said."""

    effect: Inference
    naive_se: float
    artists: int
    effective: float
    exposure_sd: float


def bipartite(
    listener: Codes,
    artist: Codes,
    weight: F64,
    treated: NDArray[np.integer],
    outcome: F64,
    controls: F64 | None = None,
    cluster: Codes | None = None,
    confidence: float = 0.95,
) -> Bipartite:
    """Edges (m,): listener number, artist number, positive weight. `treated` (listeners,) 0 or 1, `outcome` (artists,).

    `controls` (artists, q) were fixed before the experiment, such as the earlier outcome. `cluster` (listeners,):
    listeners that were assigned together. Artists without edges are left out.

    Raises:
        BadInput: exposures that hardly vary, or fewer than 3 artists with edges.
    """
    shares = csr_array((weight.astype(float), (artist, listener)), shape=(len(outcome), len(treated)))
    whole = np.asarray(shares.sum(axis=1)).ravel()
    known = whole > 0
    if known.sum() < 3:
        raise BadInput("a bipartite analysis needs at least 3 artists with edges to listeners")
    shares = csr_array(shares[np.flatnonzero(known)].multiply(1 / whole[known][:, None]))
    shock = treated - treated.mean()
    exposure, y = shares @ treated.astype(float), outcome[known].astype(float)
    held = np.ones((len(y), 1)) if controls is None else np.column_stack([np.ones(len(y)), controls[known]])
    moved = _without(exposure, held)
    square = float(moved @ moved)
    if square < 1e-12 * len(y):
        raise BadInput("exposures do not vary between artists: no effect can be told from this graph")
    slope = float(moved @ _without(y, held)) / square
    rest = _without(y, held) - slope * moved
    scores = shock * (shares.T @ rest)
    if cluster is not None:
        scores = np.bincount(np.unique(cluster, return_inverse=True)[1], weights=scores)
    se = float(np.sqrt(scores @ scores)) / square
    mean_share = np.asarray(shares.mean(axis=0)).ravel()
    return Bipartite(
        infer(slope, se, confidence=confidence),
        float(np.sqrt((moved * rest) @ (moved * rest))) / square,
        len(y),
        float(1 / (mean_share @ mean_share)),
        float(exposure.std()),
    )


def _without(values: F64, held: F64) -> F64:
    """Residuals of a regression on `held`."""
    slopes = np.linalg.lstsq(held, values, rcond=None)[0]
    residuals: F64 = values - held @ slopes
    return residuals
