"""`/spotify/v1`: recommendations, related artists, audio features, and the tracks, artists and albums around them.

The same paths, parameters and shapes as api.spotify.com/v1, over our own catalog (docs/spotify.md). Nothing here is
personal: a bearer token opens what a key opens elsewhere, and names no listener.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from recsys.errors import UnknownId
from recsys.schemas import Surface
from recsys.types import Ask, Context
from serving.api.contract import Service
from serving.api.routes import json
from serving.api.shed import TAG
from serving.api.spotify import PREFIX, parameters, shapes
from serving.api.spotify.objects import Objects
from serving.api.spotify.parameters import Given, Ids, id_list, public_id
from serving.clock import now_ms
from serving.parts.seeds import genre_names

F = TypeVar("F", bound=Callable[..., Response])
Market = Annotated[str | None, Depends(parameters.market)]
Limit = Annotated[int, Query(ge=1, le=100)]
PageLimit = Annotated[int, Query(ge=1, le=50)]
Offset = Annotated[int, Query(ge=0, le=100_000)]
MOST_TRACKS, MOST_ARTISTS, MOST_FEATURES, RELATED = 50, 50, 100, 20
REQUEST_HEADER = "Recsys-Request-Id"


def documented(model: Any, *errors: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries: the model of a success, and Spotify's error for each status."""
    entries: dict[int | str, dict[str, Any]] = {200: {"model": model}}
    return entries | {status: {"model": shapes.SpotifyError} for status in (*errors, 503)}


def router(service: Service) -> APIRouter:
    """The drop-in over one service; errors get their shape from SpotifyErrors."""
    routes = APIRouter(prefix=PREFIX, tags=["spotify"])
    _recommendations(routes, service)
    _features(routes, service)
    _artists(routes, service)
    _tracks(routes, service)
    _albums(routes, service)
    return routes


def _several(routes: APIRouter, path: str, model: Any) -> Callable[[F], F]:
    """A route for several ids; some clients write a slash before the question mark."""

    def register(handler: F) -> F:
        routes.get(path + "/", include_in_schema=False)(handler)
        return routes.get(path, responses=documented(model, 400))(handler)

    return register


def _objects(service: Service, request: Request, market: str | None = None) -> Objects:
    return Objects(service.release(), service.catalog.albums, str(request.base_url), now_ms(), market)


def _recommendations(routes: APIRouter, service: Service) -> None:
    @routes.get(
        "/recommendations",
        tags=[TAG],
        responses=documented(shapes.SpotifyRecommendations, 400, 404),
        openapi_extra=parameters.described(),
    )
    def spotify_recommendations(
        request: Request,
        market: Market,
        seed_artists: Given = None,
        seed_tracks: Given = None,
        seed_genres: Given = None,
        limit: Limit = 20,
    ) -> Response:
        """Tracks like up to five seeds, within every min_ and max_, nearest to the target_ values first."""
        options = {"seeds": parameters.seeds(seed_artists, seed_tracks, seed_genres)}
        ask = Ask(
            Surface.RECOMMENDATIONS,
            limit=limit,
            context=Context(country=market),
            options=options | parameters.tunables(request),
        )
        answer = service.recommend(ask)
        objects = _objects(service, request, market)
        known = [t for t in objects.items.numbers(i["track_id"] for i in answer["items"]).tolist() if t >= 0]
        seeds = [_seed(objects, pool) for pool in answer["seeds"]]
        response = json({"seeds": seeds, "tracks": objects.tracks(known)})
        if answer["request_id"] is not None:
            response.headers[REQUEST_HEADER] = answer["request_id"]
        return response

    @routes.get("/recommendations/available-genre-seeds", responses=documented(shapes.SpotifyGenres))
    def spotify_genre_seeds() -> Response:
        """The genres of this catalog, as `seed_genres` takes them."""
        return json({"genres": genre_names(service.release().items)})


def _seed(objects: Objects, pool: dict[str, Any]) -> dict[str, Any]:
    return {
        "initialPoolSize": pool["initial"],
        "afterFilteringSize": pool["fitting"],
        "afterRelinkingSize": pool["available"],
        "id": pool["id"],
        "type": pool["type"].upper(),
        "href": None if pool["type"] == "genre" else objects.href(pool["type"], pool["id"]),
    }


def _features(routes: APIRouter, service: Service) -> None:
    @_several(routes, "/audio-features", shapes.SpotifySeveralAudioFeatures)
    def spotify_several_audio_features(request: Request, ids: Ids) -> Response:
        """What up to 100 tracks sound like; null for one that is not known."""
        objects = _objects(service, request)
        numbers = objects.items.numbers(id_list(ids, MOST_FEATURES)).tolist()
        known = [t for t in numbers if t >= 0]
        found = dict(zip(known, objects.audio_features(known), strict=True))
        return json({"audio_features": [found.get(t) for t in numbers]})

    @routes.get("/audio-features/{track_id}", responses=documented(shapes.SpotifyAudioFeatures, 400, 404))
    def spotify_audio_features(request: Request, track_id: str) -> Response:
        """What a track sounds like."""
        objects = _objects(service, request)
        found = objects.audio_features([int(objects.items.number(public_id(track_id)))])[0]
        if found is None:
            raise UnknownId("nothing is known of how this track sounds")
        return json(found)

    @routes.get("/audio-analysis/{track_id}", responses=documented(dict[str, Any], 400, 404))
    def spotify_audio_analysis(track_id: str) -> Response:
        """Always 404: tracks are not analysed bar by bar here."""
        raise UnknownId(f"there is no analysis of {public_id(track_id)}")


def _artists(routes: APIRouter, service: Service) -> None:
    @_several(routes, "/artists", shapes.SpotifyArtists)
    def spotify_artists(request: Request, ids: Ids) -> Response:
        """Up to 50 artists; null for one that is not known."""
        objects = _objects(service, request)
        wanted = id_list(ids, MOST_ARTISTS)
        return json({"artists": _known_artists(objects, wanted)})

    @routes.get("/artists/{artist_id}", responses=documented(shapes.SpotifyArtist, 400, 404))
    def spotify_artist(request: Request, artist_id: str) -> Response:
        """One artist."""
        objects = _objects(service, request)
        return json(objects.artists([objects.items.artist_number(public_id(artist_id))])[0])

    @routes.get("/artists/{artist_id}/top-tracks", responses=documented(shapes.SpotifyTracks, 400, 404))
    def spotify_top_tracks(request: Request, market: Market, artist_id: str) -> Response:
        """The artist's ten most played tracks in the market."""
        objects = _objects(service, request, market)
        return json({"tracks": objects.top_tracks(objects.items.artist_number(public_id(artist_id)))})

    @routes.get(
        "/artists/{artist_id}/related-artists",
        tags=[TAG],
        responses=documented(shapes.SpotifyArtists, 400, 404),
    )
    def spotify_related_artists(request: Request, market: Market, artist_id: str) -> Response:
        """Up to 20 artists like one, nearest first."""
        seed = f"artist:{public_id(artist_id)}"
        ask = Ask(Surface.SIMILAR_ARTISTS, limit=RELATED, context=Context(country=market), seed=seed)
        answer = service.recommend(ask)
        found = _known_artists(_objects(service, request), [item["artist_id"] for item in answer["items"]])
        response = json({"artists": [artist for artist in found if artist is not None]})
        response.headers[REQUEST_HEADER] = answer["request_id"]
        return response


def _known_artists(objects: Objects, artist_ids: list[str]) -> list[dict[str, Any] | None]:
    """In the given order, None where an artist is not known."""
    numbers: list[int | None] = []
    for artist_id in artist_ids:
        try:
            numbers.append(objects.items.artist_number(artist_id))
        except UnknownId:
            numbers.append(None)
    known = [n for n in numbers if n is not None]
    found = dict(zip(known, objects.artists(known), strict=True))
    return [None if n is None else found[n] for n in numbers]


def _tracks(routes: APIRouter, service: Service) -> None:
    @_several(routes, "/tracks", shapes.SpotifyTracks)
    def spotify_tracks(request: Request, market: Market, ids: Ids) -> Response:
        """Up to 50 tracks; null for one that is not known."""
        objects = _objects(service, request, market)
        numbers = objects.items.numbers(id_list(ids, MOST_TRACKS)).tolist()
        known = [t for t in numbers if t >= 0]
        found = dict(zip(known, objects.tracks(known), strict=True))
        return json({"tracks": [found.get(t) for t in numbers]})

    @routes.get("/tracks/{track_id}", responses=documented(shapes.SpotifyTrack, 400, 404))
    def spotify_track(request: Request, market: Market, track_id: str) -> Response:
        """One track."""
        objects = _objects(service, request, market)
        return json(objects.tracks([int(objects.items.number(public_id(track_id)))])[0])


def _albums(routes: APIRouter, service: Service) -> None:
    @routes.get("/albums/{album_id}", responses=documented(shapes.SpotifyAlbum, 400, 404))
    def spotify_album(request: Request, market: Market, album_id: str) -> Response:
        """One album with its first 50 tracks."""
        return json(_objects(service, request, market).album(public_id(album_id)))

    @routes.get("/albums/{album_id}/tracks", responses=documented(shapes.SpotifyAlbumTracks, 400, 404))
    def spotify_album_tracks(
        request: Request, market: Market, album_id: str, limit: PageLimit = 20, offset: Offset = 0
    ) -> Response:
        """One page of an album's tracks."""
        return json(_objects(service, request, market).album_page(public_id(album_id), limit, offset))
