"""The simulated listeners: what does not change from day to day, and taste on any given day in closed form.

Every quantity of listener i is a hash of (seed, i): a shard of listeners is the same however it was cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.simulation.audio import F32
from recsys.simulation.catalog import CODES, COUNTRIES, LATENT, Catalog
from recsys.simulation.profiles import Profile
from recsys.simulation.rng import F64, keys, normals, pick_rows, stream, uniforms

TASTES = 4
DEVICES = ("mobile", "desktop", "speaker", "car")
MODES = ("album", "artist", "library", "discover")
OFFSET_H = np.array([offset for _, offset, _ in COUNTRIES.values()])
"""Hours from UTC to local time, by country number."""


@dataclass(frozen=True)
class Listeners:
    """n listeners; all arrays have n rows."""

    index: NDArray[np.int64]  # number of the listener in the world
    country: NDArray[np.int64]
    join_day: NDArray[np.int64]
    rate: F64  # sessions a day while satisfied
    novelty: F64  # 0..1, appetite for the unknown
    patience: F64  # shift of every play's score
    taste: F32  # (n, TASTES, LATENT) unit vectors on day 0
    drift: F32  # (n, TASTES, LATENT) unit vectors: where each taste is heading
    leaf: NDArray[np.int64]  # (n, TASTES) home genre of each taste
    logit: F64  # (n, TASTES) long-term strength of each taste
    period: F64  # (n, TASTES) days of its slow swing
    phase: F64  # (n, TASTES) of that swing, 0..1
    hour: F64  # (n, TASTES) local hour at which it is strongest
    device_logit: F64  # (n, TASTES, len(DEVICES))
    mode: F64  # (n, len(MODES)) probabilities of the kinds of session
    consent: NDArray[np.bool_]  # (n, 3) personalization, analytics, ads

    def __len__(self) -> int:
        return len(self.index)

    def tastes_on(self, rows: NDArray[np.integer], day: int) -> F32:
        """(m, TASTES, LATENT) taste vectors of the given rows on one day: they drift slowly, by day/60."""
        moved = self.taste[rows] + np.float32(0.6 * day / 60) * self.drift[rows]
        length = np.sqrt(np.einsum("nkd,nkd->nk", moved, moved))
        out: F32 = moved / length[:, :, None]
        return out

    def taste_weights(
        self, rows: NDArray[np.integer], day: int, hour: NDArray[np.floating], device: NDArray[np.integer]
    ) -> F64:
        """(m, TASTES) chance of each taste leading a session at this local hour on this device."""
        swing = 0.8 * np.sin(2 * np.pi * (day / self.period[rows] + self.phase[rows]))
        clock = 0.9 * np.cos(2 * np.pi * (hour[:, None] - self.hour[rows]) / 24)
        place = self.device_logit[rows, :, device]
        weight = np.exp(self.logit[rows] + swing + clock + place)
        out: F64 = weight / weight.sum(1, keepdims=True)
        return out


def make_listeners(profile: Profile, catalog: Catalog, index: NDArray[np.int64]) -> Listeners:
    """The listeners with the given numbers."""
    n = len(index)
    u = uniforms(keys(stream(profile.seed, "listener"), index), 40)
    g = normals(keys(stream(profile.seed, "listener-normal"), index), 40)
    shares = np.array([share for _, _, share in COUNTRIES.values()])
    country = pick_rows(np.broadcast_to(shares, (n, len(CODES))), u[0])
    novelty = 1 / (1 + np.exp(0.4 - 0.9 * g[0]))
    anchor = _anchors(catalog, country, u[4 : 4 + TASTES])
    return Listeners(
        index=index,
        country=country,
        join_day=_join_days(profile, u[1], u[2]),
        rate=np.clip(0.44 * np.exp(0.8 * g[1]), 0.02, 2.5),
        novelty=novelty,
        patience=0.5 * g[2],
        taste=_vectors(profile, "taste", index, catalog.artist_latent[anchor], 0.85),
        drift=_vectors(profile, "drift", index, np.zeros((n, TASTES, LATENT), np.float32), 0.0),
        leaf=catalog.artist_leaf[anchor].astype(np.int64),
        logit=1.2 * g[3 : 3 + TASTES].T,
        period=20 + 40 * u[8 : 8 + TASTES].T,
        phase=u[12 : 12 + TASTES].T,
        hour=24 * u[16 : 16 + TASTES].T,
        device_logit=0.5 * g[8 : 8 + TASTES * 4].T.reshape(n, TASTES, len(DEVICES)),
        mode=_modes(novelty, g[24:28].T),
        consent=(u[[20, 21, 22]] > np.array([[0.03], [0.03], [0.3]])).T,
    )


def _join_days(profile: Profile, u: F64, v: F64) -> NDArray[np.int64]:
    """70% are there from the first day, 17% join before the split and 13% after it."""
    early = 1 + np.floor(v * (profile.split_day - 1))
    late = profile.split_day + 1 + np.floor(v * max(profile.days - profile.split_day - 2, 1))
    return np.select([u < 0.70, u < 0.87], [0, early], late).astype(np.int64)


def _anchors(catalog: Catalog, country: NDArray[np.int64], u: F64) -> NDArray[np.int64]:
    """(n, TASTES) artist around whom each taste is built; those of one's own country come up more."""
    out = np.empty(u.T.shape, np.int64)
    for c in range(len(CODES)):
        rows = country == c
        weight = catalog.artist_weight.astype(np.float64) ** 0.7 * np.where(catalog.artist_home == c, 4, 1)
        cumulative = np.cumsum(weight)
        out[rows] = np.searchsorted(cumulative, u.T[rows] * cumulative[-1], side="right")
    return np.minimum(out, len(catalog.artist_weight) - 1)


def _vectors(profile: Profile, name: str, index: NDArray[np.int64], center: F32, share: float) -> F32:
    g = normals(keys(stream(profile.seed, name), index), TASTES * LATENT)
    noise = g.T.reshape(len(index), TASTES, LATENT) / np.sqrt(LATENT)
    moved = share * center + np.sqrt(1 - share**2) * noise
    out: F32 = (moved / np.sqrt((moved * moved).sum(-1, keepdims=True))).astype(np.float32)
    return out


def _modes(novelty: F64, g: F64) -> F64:
    """(n, modes) how a listener's sessions divide into album, artist, library and discovery sessions."""
    base = np.log(np.array([0.43, 0.22, 0.15, 0.20]))
    tilt = np.stack([0 * novelty, 0 * novelty, -1.5 * (novelty - 0.45), 1.5 * (novelty - 0.45)], axis=1)
    weight = np.exp(base + 0.6 * g + tilt)
    out: F64 = weight / weight.sum(1, keepdims=True)
    return out
