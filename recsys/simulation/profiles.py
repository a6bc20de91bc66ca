"""Sizes of simulated worlds: `PROFILES["tiny" | "demo" | "large"]`; `profile.model_copy(update={"seed": 7})`."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field


class Profile(BaseModel):
    """Size and seed of one world. The window starts in January so that no listed time zone changes its clock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    listeners: int = Field(ge=1)
    tracks: int = Field(ge=100)
    artists: int = Field(ge=10)
    days: int = Field(ge=5, le=60)
    parents: int = Field(12, ge=2, le=12, description="parent genres")
    leaves: int = Field(5, ge=2, le=8, description="leaf genres per parent")
    library: int = Field(128, ge=16, description="tracks a listener remembers")
    chunk: int = Field(8192, ge=1, description="listeners stepped together; changes memory, never a row")
    start: date = date(2025, 1, 6)
    seed: int = Field(0, ge=0)

    @property
    def split_day(self) -> int:
        """First day of the evaluation window: the last fifth of the days."""
        return self.days - max(self.days // 5, 1)


PROFILES: dict[str, Profile] = {
    "tiny": Profile(
        name="tiny", listeners=500, tracks=2_000, artists=260, days=30, parents=6, leaves=3, library=96
    ),
    "demo": Profile(name="demo", listeners=5_000, tracks=20_000, artists=2_200, days=60),
    "large": Profile(
        name="large", listeners=100_000, tracks=300_000, artists=30_000, days=60, leaves=8, library=128
    ),
}
