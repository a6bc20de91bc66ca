"""Settings of semantic ids and of the decoder over them; the config object is the constructor of a training run."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SemanticConfig(BaseModel):
    """Unknown keys are rejected. Sizes are in rows, lengths in plays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # codes
    levels: tuple[int, ...] = Field((64, 64, 64), min_length=1, description="codes of each level")
    siblings: int = Field(8, ge=1, description="tracks that share all levels, told apart by a last number")
    factors: int = Field(64, ge=1, description="size of the collaborative vectors made from the plays")
    collaborative_weight: float = Field(1.0, ge=0, description="of the collaborative part of a vector")
    content_weight: float = Field(0.5, ge=0, description="of artist, album, genre and audio beside it")
    plays_prior: float = Field(20.0, gt=0, description="plays from which a track's own vector counts half")
    balance_rounds: int = Field(30, ge=0, description="price rounds that even out the use of codes; 0: none")
    shuffled: bool = Field(False, description="codes dealt out at random: a control, never for use")

    # decoder
    embedding_dim: int = Field(64, ge=4)
    num_layers: int = Field(2, ge=0)
    num_heads: int = Field(2, ge=1)
    max_length: int = Field(64, ge=2, description="newest plays that the transformer reads one by one")
    hidden_dim: int = Field(128, ge=1, description="of the head of each level")
    beam: int = Field(256, ge=1, description="prefixes kept at each level; at least k are")
    popularity_power: float = Field(1.0, ge=0, le=1, description="of plays, in the prior of a branch")

    # training
    epochs: int = Field(2, ge=1)
    batch_size: int = Field(64, ge=1, description="windows a step")
    predictions: int = Field(16, ge=1, description="places in a window that predict")
    horizon: int = Field(30, ge=1, description="plays ahead that a target is drawn from")
    repeat_weight: float = Field(0.3, ge=0, description="of a target that the listener had played before")
    skip_weight: float = Field(0.7, ge=0, description="of a target that was skipped")
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    checkpoint_steps: int = Field(200, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.embedding_dim % (2 * self.num_heads):
            raise ValueError(
                "embedding_dim must be a multiple of 2 * num_heads (rotary positions turn pairs)"
            )
        if not self.collaborative_weight and not self.content_weight:
            raise ValueError("collaborative_weight and content_weight cannot both be 0")
        return self
