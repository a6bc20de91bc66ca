"""Audio features of the simulated tracks: noisy views of the hidden factors, and how much they give away."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.schemas import AUDIO

F32 = NDArray[np.float32]
_SCALES: dict[str, tuple[float, float, bool]] = {
    # feature: center, spread, whether squashed into 0..1
    "danceability": (0.3, 1.0, True),
    "energy": (0.4, 1.2, True),
    "valence": (0.0, 1.1, True),
    "acousticness": (-0.8, 1.6, True),
    "instrumentalness": (-2.0, 1.8, True),
    "speechiness": (-2.2, 0.9, True),
    "liveness": (-1.5, 0.8, True),
    "loudness": (-8.5, 3.2, False),
    "tempo": (120.0, 26.0, False),
}


def audio_features(latent: F32, mood: F32, rng: np.random.Generator) -> dict[str, Any]:
    """Audio features: a linear view of the factors plus as much noise again, in each feature's own range."""
    view = latent @ rng.standard_normal((latent.shape[1], len(AUDIO)))
    view[:, AUDIO.index("energy")] += 1.2 * mood[:, 0]
    view[:, AUDIO.index("valence")] += 1.2 * mood[:, 1]
    seen = view / view.std(0) + 0.8 * rng.standard_normal(view.shape)
    seen /= seen.std(0)
    columns = []
    for j, name in enumerate(AUDIO):
        center, spread, squashed = _SCALES[name]
        x = center + spread * seen[:, j]
        columns.append(1 / (1 + np.exp(-x)) if squashed else x)
    return {
        "audio": np.stack(columns, axis=1).astype(np.float32),
        "key": rng.integers(0, 12, len(latent)).astype(np.int8),
        "mode": (rng.random(len(latent)) < 0.6).astype(np.int8),
    }


def probe_r2(latent: F32, audio: F32) -> float:
    """Share of the factors' variance that a linear probe reads off the audio features (in sample)."""
    x = np.column_stack([np.ones(len(audio)), (audio - audio.mean(0)) / audio.std(0)])
    weights, *_ = np.linalg.lstsq(x, latent.astype(np.float64), rcond=None)
    rest = latent - x @ weights
    return float(1 - (rest**2).sum() / ((latent - latent.mean(0)) ** 2).sum())
