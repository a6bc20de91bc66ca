"""Typed settings of the served surfaces; an unknown key is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bandits.choice import ExplorationSettings
from recsys.rerank.settings import RerankSettings
from recsys.separation import Gaps
from recsys.slate import Rules
from serving.learning.settings import LearnedSettings
from serving.list_settings import ListSettings
from serving.recommendation_settings import RecommendationSettings


class HomeSettings(BaseModel):
    """The home feed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: Annotated[float, Field(ge=0, le=1)] = 0.05  # share of slots drawn uniformly from what is allowed
    exploration: ExplorationSettings = ExplorationSettings()  # how the others are drawn (docs/exploration.md)
    ranked: Annotated[int, Field(ge=1)] = 200  # candidates that are fully ranked (docs/ranking.md)
    shelf_floor: Annotated[int, Field(ge=0)] = 12  # candidates that each shelf's own source keeps at least
    rules: Rules = Rules(artist_cap_shelf=2, artist_cap_slate=4)
    rerank: RerankSettings = RerankSettings()
    learned: LearnedSettings = LearnedSettings()  # instead of `exploration`, where something has been learned


class RadioSettings(BaseModel):
    """Radio: docs/radio.md says what each does to a station."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: Annotated[float, Field(ge=0, le=1)] = 0.05
    ranked: Annotated[int, Field(ge=1)] = 160  # candidates that the full ranker scores
    neighbourhood: Annotated[int, Field(ge=1)] = (
        1000  # tracks nearest to the seeds that belong to a station ...
    )
    neighbourhood_share: Annotated[float, Field(gt=0, le=1)] = 0.05  # ... and the most of a catalog that may
    seed_weight: float = 1.0  # likeness to the station's seeds
    taste_weight: float = 0.5  # the ranker's utility for this listener
    skip_weight: float = 0.5  # closeness to what the listener skipped in this station
    artist_weight: float = 0.6  # skips and likes of its artist in this station
    genre_kept: Annotated[float, Field(gt=0, le=1)] = 0.75  # of a genre's share that each skip of it leaves
    skips_felt: Annotated[int, Field(ge=0)] = 8  # skips of one genre that count
    like_pull: float = 0.3  # how far what is liked moves the station from its seeds
    skips_kept: Annotated[int, Field(ge=1)] = 15  # newest skips whose neighbours are avoided
    dial_weight: float = 1.0  # what knowing a track is worth at the ends of the dial
    smooth_weight: Annotated[float, Field(ge=0)] = (
        0.3  # what the greatest jump in tempo, key and energy costs
    )
    gaps: Gaps = Gaps()
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


class LiveSettings(BaseModel):
    """How releases follow the catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    merge_rows: Annotated[int, Field(ge=1)] = 1_000  # tracks beside the index from which it is built again
    retry_seconds: Annotated[float, Field(ge=0)] = 0.5  # how long an unreadable catalog is left alone


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


class ShadowSettings(BaseModel):
    """Which release answers live requests unseen, and what that may cost (serving/shadow.py)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: str | None = None  # alias or version
    share: Annotated[float, Field(ge=0, le=1)] = 0.0  # of requests
    waiting: Annotated[int, Field(ge=1)] = 64  # requests; beyond, they are dropped
    work_share: Annotated[float, Field(gt=0, le=1)] = 0.2  # of one CPU that shadow answers may take


class ServiceSettings(BaseModel):
    """The whole service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: HomeSettings = HomeSettings()
    radio: RadioSettings = RadioSettings()
    reasons: ReasonSettings = ReasonSettings()
    lists: ListSettings = ListSettings()
    recommendations: RecommendationSettings = RecommendationSettings()
    live: LiveSettings = LiveSettings()
    source_budget_ms: float | None = 250.0  # each source and each stage; None: no limits at all
    ladder: LadderSettings = LadderSettings()
    shedding: SheddingSettings = SheddingSettings()
    shadow: ShadowSettings = ShadowSettings()
    poll_seconds: float = 0.2  # how often the background threads look for new events
    lake_seconds: float = 30.0  # how often new events move to the lake
