"""Settings of re-ranking; weights are in standard deviations of a request's own utilities, 0 switches a part off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class RerankSettings(BaseModel):
    """What happens to a shelf's order beside its utility, and on which shelves (docs/reranking.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shelves: tuple[str, ...] = ("made_for_you",)
    diversity: Literal["mmr", "dpp"] = "dpp"
    diversity_weight: Weight = 0.4  # per cosine of 1 (mmr), per nat of volume (dpp)
    calibration_weight: Weight = 0.0  # per nat of KL(listener's mix || shelf's)
    smoothing: Annotated[float, Field(gt=0, lt=1)] = (
        0.01  # α: part of the listener's mix blended into the shelf's
    )
    half_life: Annotated[float, Field(gt=0)] = 50.0  # plays after which one counts half in the listener's mix
    new_share: Share = 0.1  # slots for new tracks, at least
    new_days: Annotated[int, Field(ge=1)] = 30  # a track is new for so long
    tail_share: Share = 0.1  # slots for long-tail tracks, at least
    tail_quantile: Share = 0.5  # the long tail: the least played part of the catalog
    floor_loss: Share = 0.05  # of what the other slots are worth above a random draw; the floors lose no more

    @property
    def label(self) -> str:
        """What is switched on, for the name of a policy: `dpp0.4-new0.1-tail0.1`; empty where nothing is."""
        parts = {
            self.diversity: self.diversity_weight,
            "calibrated": self.calibration_weight,
            "new": self.new_share,
            "tail": self.tail_share,
        }
        return "-".join(f"{name}{value:g}" for name, value in parts.items() if value)
