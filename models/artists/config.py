"""Settings of similar artists."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ArtistConfig(BaseModel):
    """Chosen on validation data of HetRec Last.fm and 30Music (docs/models.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: int = Field(default=200, ge=1)  # neighbours of each artist
    basket: int = Field(
        default=200, ge=2
    )  # a listener's or session's most played artists count, up to this many
    second_step: float = Field(default=1.0, ge=0)  # weight of two steps of the walk beside one
    prior: float = Field(default=10.0, ge=0)  # listeners that the vectors' opinion is worth
    temperature: float = Field(default=0.2, gt=0)  # of the cosines in the prior
