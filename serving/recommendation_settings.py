"""Settings of recommendations from seeds; an unknown key is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from recsys.slate import Rules

MAX_SEEDS = 5


class RecommendationSettings(BaseModel):
    """Recommendations from seeds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: Annotated[float, Field(ge=0, le=1)] = 0.05  # share of slots drawn uniformly from the pool
    pool: Annotated[int, Field(ge=100)] = 500  # tracks most like the seeds that are chosen from
    target_weight: Annotated[float, Field(ge=0)] = 1.0  # of a standard deviation away from the targets
    rules: Rules = Rules(artist_cap_shelf=3, artist_cap_slate=0)
