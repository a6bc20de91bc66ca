"""Shapes of the list surfaces' requests and answers; see serving/api/schemas.py for what they share."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from recsys.schemas import Device, Tier
from recsys.types import Context
from serving.api.schemas import ARTIST, TRACK, USER, Answer, Item, PublicId, Shown, context

MixLimit = Annotated[int, Query(ge=1, le=100, description="how many tracks a mix, at most")]
NearSeed = Annotated[
    str | None,
    Query(
        pattern="^(track|artist):[0-9A-Za-z]{22}$",
        description="`track:ID` or `artist:ID`; absent: the track that the listener finished last",
        examples=[f"track:{TRACK}"],
    ),
]


class KeptAnswer(Answer):
    """A list that stays for the listener's local day or week."""

    period: str = Field(
        examples=["2026-03-01", "2026-W09"], description="the local day or ISO week it is for"
    )
    stored: bool = Field(
        description="served again: request id, release, positions and propensities are those of the first answer"
    )
    dropped: int = Field(
        ge=0, description="tracks of the first answer that are withdrawn, closed or rejected by now"
    )


class Mix(BaseModel):
    """One mix."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(examples=["mix_1"])
    title: str = Field(examples=["Downtempo mix: The Long Exposure · Ada Vento · Marrow"])
    items: list[Item]


class MixesAnswer(KeptAnswer):
    """Today's mixes, the listener's largest taste first; no track is in two of them."""

    mixes: list[Mix]


class DiscoveryAnswer(KeptAnswer):
    """This week's discovery list."""

    items: list[Item]


class Release(Item):
    """A new release."""

    release_date: str | None = Field(examples=["2026-02-20"])


class RadarAnswer(KeptAnswer):
    """Today's release radar."""

    days: int = Field(description="how old a release may be; older ones come only under the rung `newest`")
    items: list[Release]


class BecauseAnswer(Answer):
    """Because you listened to X."""

    seed: str | None = Field(examples=[f"track:{TRACK}"], description="X; null where there is none")
    title: str = Field(examples=["Because you listened to Night Bus"])
    items: list[Item]


class SimilarAnswer(Answer):
    """The nearest tracks, best first."""

    track_id: str
    items: list[Item]


class SimilarArtist(BaseModel):
    """A neighbour of an artist."""

    model_config = ConfigDict(extra="forbid")

    artist_id: str = Field(examples=[ARTIST])
    name: str | None
    top_track: Shown = Field(description="the artist's most popular track that may be shown here")
    position: int = Field(ge=0)
    score: float = Field(
        description="how likely one who hears the one hears the other; below 0: by likeness alone"
    )
    propensity: float = Field(gt=0, le=1)
    reason: dict[str, str]


class SimilarArtistsAnswer(Answer):
    """The nearest artists, best first."""

    artist_id: str
    items: list[SimilarArtist]


class ContinuationAnswer(Answer):
    """What goes on from a list."""

    unknown: int = Field(ge=0, description="given tracks that are not known here, and were passed over")
    items: list[Item]


class NextUpAnswer(ContinuationAnswer):
    """What goes on from the current track and the queue."""

    skips: int = Field(ge=0, description="tracks skipped in this session that were steered away from")


class _Situated(BaseModel):
    """The optional parameters of every request, in a body."""

    model_config = ConfigDict(extra="forbid")

    user_id: PublicId | None = Field(None, description="unknown or absent: a new listener")
    limit: int = Field(20, ge=1, le=50)
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None
    tz: str = Field("UTC", max_length=64)
    device: Device | None = None
    incognito: bool = Field(False, description="answer without the listener's history, train nothing")
    explicit: bool = Field(True, description="false: no explicit tracks")
    tier: Tier | None = Field(None, description="what the listener pays for; absent: free")
    session_id: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="as in events; for experiments by session"
    )

    @property
    def situation(self) -> Context:
        device = self.device or Device.UNKNOWN
        tier = self.tier or Tier.FREE
        return context(self.country, self.tz, device, self.incognito, self.explicit, tier, self.session_id)


class ContinuationRequest(_Situated):
    """A list to go on from."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"track_ids": [TRACK], "user_id": USER}]})

    track_ids: list[PublicId] = Field(min_length=1, max_length=200, description="in order")


class NextUpRequest(_Situated):
    """What plays now, and what is queued behind it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"current": TRACK, "queue": [], "user_id": USER}]}
    )

    current: PublicId
    queue: list[PublicId] = Field(default_factory=list, max_length=100, description="in order")

    @property
    def options(self) -> dict[str, Any]:
        return {"current": self.current, "queue": self.queue}
