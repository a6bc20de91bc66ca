"""Settings of the sequence model; the config object is the constructor's only argument besides data."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.sequence.blocks import EncoderConfig
from models.sequence.precision import Precision


class SequenceConfig(BaseModel):
    """Hyperparameters. Trained by steps or epochs a run is reproducible; by `budget_s` it is not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_dim: int = Field(64, ge=4)
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(2, ge=1)
    max_length: int = Field(50, ge=2, description="plays in a window")
    dropout: float = Field(0.1, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, lt=1, description="share of tracks shown by content alone")
    num_negatives: int = Field(512, ge=1, description="sampled negatives shared by a batch")
    uniform_share: float = Field(0.5, gt=0, le=1, description="of the negatives; the rest by popularity")
    full_softmax_below: int = Field(2_000, ge=0, description="catalogs up to this size: exact softmax")
    skip_target_weight: float = Field(1.0, ge=0, description="loss weight of a next play that was skipped")
    batch_size: int = Field(64, ge=1, description="windows in a step")
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    epochs: int = Field(1, ge=0, description="passes over the log before the mixing stage")
    steps: int | None = Field(None, ge=0, description="steps of the first stage; overrides epochs")
    budget_s: float | None = Field(None, gt=0, description="wall seconds for both stages; overrides both")
    mixing_share: float = Field(0.25, gt=0, lt=1, description="newest share of plays, kept for mixing")
    mixing_steps: int = Field(
        600, ge=0, description="at most; never more than one pass over the newest plays"
    )
    mixing_batch_size: int = Field(16, ge=1, description="windows in a step of the mixing stage")
    mixing_learning_rate: float = Field(3e-3, gt=0)
    head_rules: int = Field(32, ge=1, description="candidates from co-occurrence, a position")
    head_repeats: int = Field(24, ge=1, description="candidates from the own history, a position")
    head_kin: int = Field(
        32, ge=1, description="candidates by the last play's artist, and as many by others just heard"
    )
    mixing_negatives: int = Field(512, ge=1, description="sampled candidates shared by a mixing step")
    mixing_unplayed: int = Field(128, ge=0, description="the same, of tracks that nobody has played")
    rule_window: int = Field(10, ge=1, description="plays that vote for their successors")
    rule_decay: float = Field(0.8, gt=0, le=1)
    rule_keep: int = Field(64, ge=1, description="successors kept per track")
    checkpoint_steps: int = Field(200, ge=1)
    num_threads: int = Field(2, ge=1, description="in training; sums depend on it, so it is a setting")
    workers: int = Field(1, ge=1, description="processes that share each step; more than one train on Ray")
    seed: int = 0
    precision: Precision = Field(
        "auto", description="of matrix factors in training; auto: bfloat16 if native"
    )
    packed: bool = Field(
        True, description="several short windows to a row of tokens, so that none is padding"
    )

    @model_validator(mode="after")
    def _encoder_fits(self) -> Self:
        self.encoder()
        return self

    def encoder(self) -> EncoderConfig:
        """The shape of the blocks."""
        return EncoderConfig(
            embedding_dim=self.embedding_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            max_length=self.max_length,
            dropout=self.dropout,
        )
