"""How a listener takes a track: the one definition that both the log generator and the truth use.

    score z  = base + patience + taste·track + mood·track + quality + familiarity − fatigue + novelty
    P(skip before 30 s) = σ(SKIP − z);  P(late skip | not skipped) = σ(LATE − z);  P(save | finish) = σ(z − SAVE)

Familiarity is two decaying traces of past plays (slow and fast), a two-exponential stand-in for the power-law
base-level activation of ACT-R (Anderson & Schooler 1991; for music: Reiter-Haas et al., RecSys 2021); fatigue is
a third, short one, from which a track recovers within days.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.simulation.rng import F64

TASTE, MOOD, QUALITY = 3.6, 0.30, 0.28
FAMILIAR, FATIGUE, CURIOUS = 0.50, 0.70, 0.35
BASE = 1.40
DEVICE_SHIFT = np.array([-0.15, 0.30, 0.20, 0.0])
"""Mobile, desktop, speaker, car: listeners with a hand on the phone skip more (Lamere 2014)."""
SKIP, LATE, SAVE = 1.15, 0.55, 5.0
SLOW_DAYS, FAST_DAYS, FATIGUE_DAYS = 30.0, 4.0, 0.8
REWARD_FINISH, REWARD_PARTIAL, REWARD_SKIP, REWARD_SAVE = 1.0, 0.3, -0.5, 1.0
EARLY_SECONDS_SHARE = 0.69
"""Of the skips before 30 s, those before 5 s: 24.14 / 35.05 (Lamere 2014, "The Skip")."""

Float = NDArray[np.floating]


def score(
    cosine: Float,
    mood: Float,
    quality: Float,
    slow: Float,
    fatigue: Float,
    novelty: Float,
    patience: Float,
) -> F64:
    """z of plays, broadcast over the arguments.

    Args:
        cosine: session preference · track latent. mood: session mood · track mood.
        slow: decayed count of this listener's plays of the track (0: unknown). fatigue: the same, short-lived.
        novelty: the listener's appetite for the unknown, 0..1. patience: the listener's own shift.
    """
    known = FAMILIAR * (1.3 - novelty) * np.log1p(slow)
    tired = FATIGUE * np.maximum(fatigue - 1.0, 0.0)
    curious = CURIOUS * (novelty - 0.5) * (slow <= 0)
    z = BASE + patience + TASTE * (cosine - 0.5) + MOOD * mood + QUALITY * quality + known - tired + curious
    return np.asarray(z, np.float64)


def sigmoid(x: F64) -> F64:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), np.float64)


def outcome_probabilities(z: F64, known: NDArray[np.bool_]) -> tuple[F64, F64, F64]:
    """P(finish), P(skip before 30 s), P(save) of a play with score z; a known track is not saved again."""
    skip = sigmoid(SKIP - z)
    late = sigmoid(LATE - z) * 0.75
    finish = (1 - skip) * (1 - late)
    save = finish * sigmoid(z - SAVE) * np.where(known, 0.0, 1.0)
    return finish, skip, save


def utility(z: F64, known: NDArray[np.bool_]) -> F64:
    """Expected reward of one play: finish 1, stream .3, skip before 30 s −.5, save +1."""
    finish, skip, save = outcome_probabilities(z, known)
    partial = 1 - finish - skip
    out: F64 = REWARD_FINISH * finish + REWARD_PARTIAL * partial + REWARD_SKIP * skip + REWARD_SAVE * save
    return out


def examine(slot: NDArray[np.integer] | int) -> F64:
    """P(a listener looks at the home slot): position bias 1/(1 + slot)**0.5 (Joachims et al. 2017's form)."""
    return np.asarray((1.0 + np.asarray(slot)) ** -0.5, np.float64)


def click(z: F64) -> F64:
    """P(an examined home slot is played)."""
    return 0.55 * sigmoid(z - 0.9)


def retrieval_weight(slow: Float, fast: Float, fatigue: Float, cosine: Float) -> F64:
    """Weight with which a known track comes to mind: activation, damped while tired of it, drawn by taste."""
    activation = (slow + fast) ** 0.75
    out: F64 = activation * np.exp(-0.6 * np.maximum(fatigue - 1.0, 0.0) + 4.0 * (cosine - 0.5))
    return out


def leading_vector(tastes: Float, weights: Float, lead: NDArray[np.integer]) -> Float:
    """(n, d) unit preference of a session: .8 its leading taste, .2 the listener's long-term mixture."""
    rows = np.arange(len(lead))
    mixed = 0.8 * tastes[rows, lead] + 0.2 * np.einsum("nk,nkd->nd", weights, tastes)
    out: Float = mixed / np.sqrt(np.einsum("nd,nd->n", mixed, mixed))[:, None]
    return out


def hour_mood(hour: NDArray[np.floating]) -> F64:
    """(n, 2) mean wish for energy and valence at a local hour: lively in the afternoon, calm at night."""
    energy = 0.7 * np.cos(2 * np.pi * (hour - 15.0) / 24)
    return np.stack([energy, 0.2 * energy], axis=1)
