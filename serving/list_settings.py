"""Settings of the list surfaces, one class each; an unknown key is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from recsys.slate import Rules

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: Share = 0.05  # share of slots drawn uniformly from what is allowed


class MixSettings(_Settings):
    """Daily mixes."""

    mixes: Annotated[int, Field(ge=1, le=6)] = 6  # at most
    tracks: Annotated[int, Field(ge=1, le=100)] = 100  # drawn for each mix; a request shows the first `limit`
    familiar: Share = 0.4  # of a mix at least: tracks that the listener has played
    fresh: Share = 0.4  # of a mix at least: tracks not in the listener's window
    apart: Annotated[float, Field(ge=-1, le=1)] = 0.5  # groups of artists closer than this cosine are one mix
    least: Share = 0.04  # share of the listener's plays that a mix must stand for
    half_life: Positive = 100.0  # plays after which a play counts half
    thin: Annotated[int, Field(ge=0)] = 20  # fewer plays than this before the day began: today's count too
    pool: Count = 200  # tracks not played before that each mix may choose from
    near_weight: float = 1.0  # likeness to the middle of the mix
    taste_weight: float = 0.5  # the ranker's utility
    temperature: Positive = 0.1
    rules: Rules = Rules(artist_cap_shelf=10, artist_cap_slate=0, artist_gap=2)


class DiscoverySettings(_Settings):
    """The weekly discovery list."""

    tracks: Annotated[int, Field(ge=1, le=50)] = 30
    new_artists: Share = 0.8  # of the list at least: artists who are not in the listener's window
    memory: Count = 1_500  # tracks of earlier lists that may not come again
    thin: Annotated[int, Field(ge=0)] = 20
    ranked: Count = 400
    pool: Count = 400  # tracks by new artists that are considered
    near_weight: float = 0.5
    taste_weight: float = 1.0
    temperature: Positive = 0.05
    rules: Rules = Rules(artist_cap_shelf=1, artist_cap_slate=0, artist_gap=0)


class RadarSettings(_Settings):
    """The release radar."""

    tracks: Annotated[int, Field(ge=1, le=50)] = 50
    days: Count = 28  # age of a release that is still new
    thin: Annotated[int, Field(ge=0)] = 20
    rules: Rules = Rules(artist_cap_shelf=3, artist_cap_slate=0, artist_gap=1)


class BecauseSettings(_Settings):
    """Because you listened to X."""

    ranked: Count = 240
    near_weight: float = 1.0  # likeness to X
    taste_weight: float = 0.3
    rules: Rules = Rules(artist_cap_shelf=3, artist_cap_slate=0, artist_gap=1)


class SimilarSettings(_Settings):
    """Similar tracks and similar artists: a list that clients expect nearest first, so nothing is explored."""

    epsilon: Share = 0.0
    pool: Count = 200


class ContinuationSettings(_Settings):
    """Playlist continuation; the weights were chosen on held-out sessions (docs/surfaces.md)."""

    session_weight: float = 1.0  # the transformer, reading the list as what was just played
    together_weight: float = 1.0  # played soon after any track of the list
    taste_weight: float = 1.0  # the two-tower model, reading the listener's window and then the list
    near_weight: float = 0.0  # likeness to the middle of the list
    rules: Rules = Rules(artist_cap_shelf=0, artist_cap_slate=0)


class NextUpSettings(_Settings):
    """The next-up queue."""

    session_weight: float = 1.0  # the transformer over the window, the current track and the queue
    taste_weight: float = 1.0  # the two-tower model over the same
    near_weight: float = 2.0  # likeness to the current track and the queue
    skip_weight: float = 3.0  # likeness to what was skipped in this session
    rules: Rules = Rules(artist_cap_shelf=0, artist_cap_slate=0, artist_gap=2)


class ListSettings(BaseModel):
    """All list surfaces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mixes: MixSettings = MixSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    radar: RadarSettings = RadarSettings()
    because: BecauseSettings = BecauseSettings()
    similar: SimilarSettings = SimilarSettings()
    continuation: ContinuationSettings = ContinuationSettings()
    next_up: NextUpSettings = NextUpSettings()
