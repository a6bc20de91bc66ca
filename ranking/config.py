"""Settings of the ranker and of the one utility that joins its objectives; unknown keys are refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

OUTCOMES = ("finish", "skip", "save")
"""How a play ends: each is a probability given that the track is played from the surface that shows it."""
PLAY = "play"
"""Whether the listener turns to a retrieved track at all in the session that begins."""
OBJECTIVES = (*OUTCOMES, PLAY)


class UtilityWeights(BaseModel):
    """utility = Σ weight × probability; the first four as in recsys.rewards, so it is the reward of a played slot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    finish: float = 1.0
    streamed: float = 0.3  # 30 s or more, but not to the end: 1 - finish - skip
    skip: float = -0.5
    save: float = 1.0
    play: float = 2.0  # a track that the listener would turn to: relevance beyond the play itself


class RankerConfig(BaseModel):
    """How examples are drawn and boosters trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[str, ...] = Field(("two_tower", "sequence"), description="model scores used as features")
    queries: int = Field(4000, ge=1, description="moments sampled")
    mid_session: float = Field(
        0.2, ge=0, le=1, description="share of them inside a session, not at its start"
    )
    negatives_per_query: int = Field(40, ge=1, description="retrieved but not played tracks kept per query")
    impressions: int = Field(
        20_000, ge=0, description="logged and played slots sampled, whole pages at a time"
    )
    num_trees: int = Field(80, ge=1)
    num_leaves: int = Field(15, ge=2)
    learning_rate: float = Field(0.08, gt=0)
    min_data_in_leaf: int = Field(100, ge=1)
    feature_fraction: float = Field(0.6, gt=0, le=1)
    lambda_l2: float = Field(5.0, ge=0)
    calibration_share: float = Field(0.3, gt=0, lt=1, description="newest share of all rows, held out")
    weights: UtilityWeights = UtilityWeights()
    num_threads: int = Field(1, ge=1)
    seed: int = 0


class LightConfig(BaseModel):
    """The light scorer: a logistic regression on a handful of features."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[str, ...] = ("two_tower", "sequence")
    l2: float = Field(1.0, gt=0)
    steps: int = Field(30, ge=1, description="Newton steps at most")
