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


class LadderSettings(BaseModel):
    """How long one answer may take (ms), and what happens to a part that keeps overrunning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rung_ms: Annotated[float, Field(gt=0)] = 400.0  # any rung but the last
    ladder_ms: Annotated[float, Field(gt=0)] = 800.0  # all rungs but the last together
    last_ms: Annotated[float, Field(gt=0)] = 2_000.0  # the last rung; after that there is no answer
    trips: Annotated[int, Field(ge=1)] = 3  # overruns in the last ten calls that leave a part out
    retry_seconds: Annotated[float, Field(gt=0)] = 5.0  # until it is tried again; doubled up to a minute
    state_ms: Annotated[float, Field(gt=0)] = 100.0  # a look into the listener states


class SheddingSettings(BaseModel):
    """How a replica meets more requests than it can answer in full."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: Annotated[int, Field(ge=1)] = 4  # recommendations at work at once; more only share the cores
    queue: Annotated[int, Field(ge=0)] = 256  # that wait; beyond, 503
    light_ms: Annotated[float, Field(gt=0)] = 50.0  # wait in a standing queue that costs the first rung
    least_ms: Annotated[float, Field(gt=0)] = 200.0  # wait that leaves the last rung only
    interval_ms: Annotated[float, Field(gt=0)] = 100.0  # a queue that never drained so long is standing


class ServiceSettings(BaseModel):
    """The whole service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: HomeSettings = HomeSettings()
    radio: RadioSettings = RadioSettings()
    source_budget_ms: float | None = 250.0  # each source and each stage; None: no limits at all
    ladder: LadderSettings = LadderSettings()
    shedding: SheddingSettings = SheddingSettings()
    poll_seconds: float = 0.2  # how often the background threads look for new events
    lake_seconds: float = 30.0  # how often new events move to the lake
