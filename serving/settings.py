"""Typed settings of the served surfaces; an unknown key is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from recsys.rerank.settings import RerankSettings
from recsys.slate import Rules
from serving.list_settings import ListSettings
from serving.recommendation_settings import RecommendationSettings


class HomeSettings(BaseModel):
    """The home feed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: Annotated[float, Field(ge=0, le=1)] = 0.05  # share of slots drawn uniformly from what is allowed
    ranked: Annotated[int, Field(ge=1)] = 200  # candidates that are fully ranked (docs/ranking.md)
    shelf_floor: Annotated[int, Field(ge=0)] = 12  # candidates that each shelf's own source keeps at least
    rules: Rules = Rules(artist_cap_shelf=2, artist_cap_slate=4)
    rerank: RerankSettings = RerankSettings()


class RadioSettings(BaseModel):
    """Radio."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: Annotated[float, Field(ge=0, le=1)] = 0.05
    ranked: Annotated[int, Field(ge=1)] = 240
    seed_weight: float = 1.0  # likeness to the station's seeds
    taste_weight: float = 0.5  # the ranker's utility for this listener
    skip_weight: float = 1.0  # likeness to what the listener skipped in this station
    rules: Rules = Rules(artist_cap_shelf=0, artist_cap_slate=0, artist_gap=3)
    page: Annotated[int, Field(ge=1, le=50)] = 10


class ServiceSettings(BaseModel):
    """The whole service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: HomeSettings = HomeSettings()
    radio: RadioSettings = RadioSettings()
    lists: ListSettings = ListSettings()
    recommendations: RecommendationSettings = RecommendationSettings()
    source_budget_ms: float | None = 250.0
    poll_seconds: float = 0.2  # how often the background threads look for new events
    lake_seconds: float = 30.0  # how often new events move to the lake
