"""Settings of the two-tower model; the config object is the constructor of a training run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TwoTowerConfig(BaseModel):
    """Unknown keys are rejected. Times are in days, sizes in rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_dim: int = Field(64, ge=2, description="size of a vector; the last coordinate is popularity")
    hidden_dim: int = Field(128, ge=1)
    num_heads: int = Field(4, ge=1, description="ways of pooling a listener's tracks")
    max_length: int = Field(256, ge=1, description="most recent distinct tracks the user tower reads")
    batch_size: int = Field(384, ge=2, description="sessions a step")
    positives: int = Field(16, ge=1, description="distinct tracks drawn from each session")
    uniform_negatives: int = Field(2048, ge=1)
    hard_negatives: int = Field(0, ge=0, description="draws a row from a frozen copy's best tracks")
    hard_top: int = Field(200, ge=1, description="best tracks of the frozen copy that can be drawn")
    hard_temperature: float = Field(1.0, gt=0, description="of the softmax over them")
    hard_from: float = Field(0.3, ge=0, lt=1, description="share of the steps before the first copy is taken")
    hard_refresh: int = Field(200, ge=1, description="steps from one copy to the next")
    learning_rate: float = Field(0.006, gt=0)
    weight_decay: float = Field(1e-5, ge=0)
    epochs: int = Field(4, ge=1)
    budget_s: float | None = Field(None, gt=0, description="stop after this many seconds, whatever `epochs`")
    id_dropout: float = Field(0.1, ge=0, lt=1)
    album_dropout: float = Field(0.0, ge=0, le=1, description="of tracks without their id: album dropped too")
    artist_dropout: float = Field(
        0.0, ge=0, le=1, description="of tracks without their id: artist dropped too"
    )
    newborn: bool = Field(
        True, description="new tracks are shown by content until their first day of plays ends"
    )
    min_plays: int = Field(1, ge=0, description="tracks with fewer training plays have no id vector")
    skip_weight: float = Field(0.7, ge=0, le=1, description="weight of a skipped play as a positive")
    mid_session: float = Field(0.2, ge=0, le=1, description="share of queries moved inside the session")
    incremental_epochs: int = Field(
        2, ge=1, description="passes over the new days, from an earlier model's weights"
    )
    incremental_learning_rate: float = Field(0.002, gt=0)
    replay: float = Field(1.0, ge=0, description="older sessions drawn for each new one, then")
    half_life_days: float = Field(45.0, gt=0, description="older sessions are drawn less often")
    seed: int = 0
