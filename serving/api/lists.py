"""`/v1`: mixes, discovery, release radar, because, similar tracks and artists, continuation, next-up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from recsys.schemas import Surface
from recsys.types import Ask, Context
from serving.api.contract import Service
from serving.api.document import RETRY_SAFE
from serving.api.list_schemas import (
    BecauseAnswer,
    ContinuationAnswer,
    ContinuationRequest,
    DiscoveryAnswer,
    MixesAnswer,
    MixLimit,
    NearSeed,
    NextUpAnswer,
    NextUpRequest,
    RadarAnswer,
    SimilarAnswer,
    SimilarArtistsAnswer,
)
from serving.api.routes import documented, json
from serving.api.schemas import PUBLIC_ID, Limit, User, context

Situation = Annotated[Context, Depends(context)]
IdPath = Annotated[str, Path(pattern=PUBLIC_ID)]
POSTED = (400, 404, 413, 415, 422, 503)


def router(service: Service) -> APIRouter:
    """The list endpoints over one service."""
    routes = APIRouter(prefix="/v1", tags=["recommendations"])

    @routes.get("/mixes", responses=documented(MixesAnswer, 422, 503))
    def mixes(situation: Situation, user_id: User = None, limit: MixLimit = 50) -> Response:
        """Up to six mixes, one for each of the listener's tastes; the same all local day."""
        return json(service.recommend(Ask(Surface.DAILY_MIX, user_id, limit, situation)))

    @routes.get("/discovery", responses=documented(DiscoveryAnswer, 422, 503))
    def discovery(situation: Situation, user_id: User = None, limit: Limit = 30) -> Response:
        """Tracks that the listener has not heard, mostly by new artists; the same all local week."""
        return json(service.recommend(Ask(Surface.DISCOVERY, user_id, limit, situation)))

    @routes.get("/release-radar", responses=documented(RadarAnswer, 422, 503))
    def release_radar(situation: Situation, user_id: User = None, limit: Limit = 30) -> Response:
        """New releases: by followed artists, then by played ones, then near to taste; the same all local day."""
        return json(service.recommend(Ask(Surface.RELEASE_RADAR, user_id, limit, situation)))

    @routes.get("/because", responses=documented(BecauseAnswer, 404, 422, 503))
    def because(
        situation: Situation, seed: NearSeed = None, user_id: User = None, limit: Limit = 20
    ) -> Response:
        """Because you listened to X: tracks near a track or artist, for this listener."""
        return json(service.recommend(Ask(Surface.BECAUSE, user_id, limit, situation, seed=seed)))

    @routes.get("/tracks/{track_id}/similar", responses=documented(SimilarAnswer, 404, 422, 503))
    def similar(situation: Situation, track_id: IdPath, user_id: User = None, limit: Limit = 20) -> Response:
        """Tracks that sound alike or are heard together, nearest first."""
        seed = f"track:{track_id}"
        return json(service.recommend(Ask(Surface.SIMILAR, user_id, limit, situation, seed=seed)))

    @routes.get("/artists/{artist_id}/similar", responses=documented(SimilarArtistsAnswer, 404, 422, 503))
    def similar_artists(
        situation: Situation, artist_id: IdPath, user_id: User = None, limit: Limit = 20
    ) -> Response:
        """Artists near to one, nearest first, each with its most popular track."""
        seed = f"artist:{artist_id}"
        return json(service.recommend(Ask(Surface.SIMILAR_ARTISTS, user_id, limit, situation, seed=seed)))

    @routes.post("/continuation", responses=documented(ContinuationAnswer, *POSTED), openapi_extra=RETRY_SAFE)
    def continuation(body: ContinuationRequest) -> Response:
        """What goes on from a playlist of 1 to 200 tracks."""
        options = {"track_ids": body.track_ids}
        ask = Ask(Surface.CONTINUATION, body.user_id, body.limit, body.situation, options=options)
        return json(service.recommend(ask))

    @routes.post("/next-up", responses=documented(NextUpAnswer, *POSTED), openapi_extra=RETRY_SAFE)
    def next_up(body: NextUpRequest) -> Response:
        """The next tracks after the current one and the queue; skips of this session steer them."""
        ask = Ask(Surface.NEXT_UP, body.user_id, body.limit, body.situation, options=body.options)
        return json(service.recommend(ask))

    return routes
