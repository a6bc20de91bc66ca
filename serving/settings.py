"""Typed settings of the served surfaces; an unknown key is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from recsys.rerank.settings import RerankSettings
from recsys.slate import Rules


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


class ReasonSettings(BaseModel):
    """When "because you finished X" is claimed, and what testing it may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least_drop: Annotated[int, Field(ge=1)] = 3  # places that a track must lose without X
    least_share: Annotated[float, Field(ge=0)] = 0.1  # and as a share of its rank with X
    later_hours: tuple[float, ...] = (0.0, 1.0, 24.0)  # it must lose them so long after X as well
    least_tracks: Annotated[int, Field(ge=1)] = 3  # fewer make no shelf
    most_tracks: Annotated[int, Field(ge=1)] = 60
    active_minutes: float = 30.0  # only listeners who asked for a home feed so recently are worth the work
    waiting: Annotated[int, Field(ge=1)] = 64  # listeners; beyond, the oldest is dropped
    busy_share: Annotated[float, Field(gt=0)] = (
        0.5  # CPUs in use by the process from which on nothing is tested
    )
    work_share: Annotated[float, Field(gt=0, le=1)] = 0.2  # of one CPU that testing may take


class ServiceSettings(BaseModel):
    """The whole service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: HomeSettings = HomeSettings()
    radio: RadioSettings = RadioSettings()
    reasons: ReasonSettings = ReasonSettings()
    source_budget_ms: float | None = 250.0
    poll_seconds: float = 0.2  # how often the background threads look for new events
    lake_seconds: float = 30.0  # how often new events move to the lake
