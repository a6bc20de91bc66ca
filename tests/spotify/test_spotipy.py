"""spotipy, unchanged but for its base URL, against a server on loopback over the tiny home."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests
import uvicorn
from pydantic import BaseModel

from serving.api.app import create_app
from serving.api.spotify import shapes

if TYPE_CHECKING:
    from recsys.items import Items
    from serving.service import Service

NOBODY = "A" * 22
# What Spotify's public reference lists for each object. `restrictions` and `linked_from` are there only for tracks that
# were replaced or refused, `is_playable` only with a market, `available_markets` only without one.
ARTIST_REF = "external_urls href id name type uri"
ARTIST = f"{ARTIST_REF} followers genres images popularity"
ALBUM_REF = (
    "album_type artists external_urls href id images name release_date release_date_precision total_tracks "
    + "type uri"
)
TRACK_REF = (
    "artists disc_number duration_ms explicit external_urls href id is_local name preview_url track_number "
    + "type uri"
)
TRACK = f"{TRACK_REF} album external_ids popularity"
ALBUM = f"{ALBUM_REF} copyrights external_ids genres label popularity tracks"
PAGE = "href items limit next offset previous total"
FEATURES = (
    "acousticness analysis_url danceability duration_ms energy id instrumentalness key liveness loudness mode "
    "speechiness tempo time_signature track_href type uri valence"
)
SEED = "afterFilteringSize afterRelinkingSize href id initialPoolSize type"


@pytest.fixture(scope="module")
def address(tiny_service: Service) -> Iterator[str]:
    """A real server, in a thread of this process."""
    app = create_app(tiny_service, hosts=frozenset({"127.0.0.1"}))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    tiny_service.observers.clear()


@pytest.fixture(scope="module")
def sp(address: str) -> Any:
    import spotipy

    client = spotipy.Spotify(auth="any-token", retries=0, status_retries=0, requests_timeout=30)
    client.prefix = f"{address}/spotify/v1/"  # the only change
    return client


@pytest.fixture(scope="module")
def items(tiny_service: Service) -> Items:
    return tiny_service.release().items


def has(found: dict[str, Any], fields: str, *more: str) -> None:
    assert set(found) == {*fields.split(), *more}


def fits(shape: type[BaseModel], found: Any) -> None:
    shape.model_validate(found, strict=True)


def test_recommendations_from_each_kind_of_seed(sp: Any, items: Items) -> None:
    track, artist = items.track_ids[11], items.artist_ids[4]
    for seeds in (
        {"seed_tracks": [f"spotify:track:{track}"]},
        {"seed_artists": [artist]},
        {"seed_genres": ["jazz", "techno"]},
        {"seed_tracks": [track], "seed_artists": [artist], "seed_genres": ["rock", "pop", "jazz"]},
    ):
        found = sp.recommendations(limit=15, **seeds)
        fits(shapes.SpotifyRecommendations, found)
        assert len(found["tracks"]) == 15
        assert len(found["seeds"]) == sum(map(len, seeds.values()))
        assert all(seed["afterRelinkingSize"] > 0 for seed in found["seeds"])
        assert track not in [t["id"] for t in found["tracks"]] or "seed_tracks" not in seeds
        has(found["seeds"][0], SEED)
        has(found["tracks"][0], TRACK, "available_markets")


def test_recommendations_keep_to_the_bounds_that_spotipy_sends(sp: Any) -> None:
    asked = {
        "min_energy": 0.4,
        "max_energy": 0.8,
        "max_tempo": 130,
        "min_popularity": 10,
        "target_valence": 0.9,
    }
    found = sp.recommendations(seed_genres=["pop"], limit=40, country="SE", **asked)
    heard = sp.audio_features([track["uri"] for track in found["tracks"]])
    assert len(heard) == len(found["tracks"]) > 5
    assert all(0.4 <= f["energy"] <= 0.8 and f["tempo"] <= 130 for f in heard)
    assert all(track["popularity"] >= 10 and track["is_playable"] for track in found["tracks"])
    has(found["tracks"][0], TRACK, "is_playable")
    assert "available_markets" not in found["tracks"][0]["album"]


def test_recommendations_leave_nothing_where_nothing_fits(sp: Any) -> None:
    found = sp.recommendations(seed_genres=["pop"], min_time_signature=3)
    assert found["tracks"] == []
    assert found["seeds"][0]["initialPoolSize"] > 0 == found["seeds"][0]["afterFilteringSize"]
    assert sp.recommendations(seed_genres=["no-such-genre"])["tracks"] == []


def test_genre_seeds_are_those_of_the_catalog(sp: Any) -> None:
    genres = sp.recommendation_genre_seeds()["genres"]
    assert {"pop", "jazz", "techno", "indie-pop"} <= set(genres)
    assert sp.recommendations(seed_genres=genres[:5], limit=5)["tracks"]


def test_related_artists(sp: Any, items: Items) -> None:
    artist = items.artist_ids[7]
    found = sp.artist_related_artists(artist)
    fits(shapes.SpotifyArtists, found)
    assert len(found["artists"]) == 20
    assert artist not in {a["id"] for a in found["artists"]}
    has(found["artists"][0], ARTIST)
    assert sp.artist(found["artists"][0]["uri"]) == found["artists"][0]


def test_audio_features_of_one_and_of_several(sp: Any, items: Items) -> None:
    wanted = [items.track_ids[3], NOBODY, items.track_ids[1]]
    found = sp.audio_features(wanted)
    assert [f and f["id"] for f in found] == [wanted[0], None, wanted[2]]
    fits(shapes.SpotifySeveralAudioFeatures, {"audio_features": found})
    has(found[0], FEATURES)
    assert found[0]["tempo"] == pytest.approx(items.frame["tempo"][3], abs=1e-5)
    assert sp.audio_features(wanted[2]) == [found[2]]
    assert sp._get(f"audio-features/{wanted[2]}") == found[2]


def test_tracks(sp: Any, items: Items) -> None:
    wanted = [items.track_ids[3], NOBODY, items.track_ids[1], items.track_ids[3]]
    found = sp.tracks(wanted)
    fits(shapes.SpotifyTracks, found)
    assert [t and t["id"] for t in found["tracks"]] == [wanted[0], None, wanted[2], wanted[0]]
    track = sp.track(f"spotify:track:{wanted[0]}")
    assert track == found["tracks"][0]
    row = items.frame.row(3, named=True)
    assert (track["name"], track["duration_ms"]) == (row["title"], row["duration_ms"])
    assert track["external_ids"] == {"isrc": row["isrc"]}
    assert track["artists"][0]["name"] == row["artist_name"]
    assert track["album"]["id"] == row["album_id"]
    has(track, TRACK, "available_markets")
    has(track["album"], ALBUM_REF, "available_markets")
    has(track["artists"][0], ARTIST_REF)
    assert sp._get(track["href"]) == track


def test_markets_follow_the_windows(sp: Any, items: Items) -> None:
    now = time.time_ns() // 1_000_000
    open_ = (items.available_from <= now) & (now < items.available_until)
    partly = next(i for i in range(len(items)) if 0 < open_[i].sum() < open_.shape[1])
    track_id = items.track_ids[partly]
    markets = set(sp.track(track_id)["available_markets"])
    assert markets & set(items.countries) == {
        c for c, o in zip(items.countries, open_[partly], strict=False) if o
    }
    for country, there in zip(items.countries, open_[partly], strict=False):
        assert sp.track(track_id, market=country)["is_playable"] == there


def test_artists_and_their_top_tracks(sp: Any, items: Items) -> None:
    wanted = [items.artist_ids[5], NOBODY, items.artist_ids[6]]
    found = sp.artists(wanted)
    fits(shapes.SpotifyArtists, found)
    assert [a and a["id"] for a in found["artists"]] == [wanted[0], None, wanted[2]]
    top = sp.artist_top_tracks(wanted[0], country="US")["tracks"]
    fits(shapes.SpotifyTracks, {"tracks": top})
    assert 1 <= len(top) <= 10
    assert all(t["artists"][0]["id"] == wanted[0] and t["is_playable"] for t in top)


def test_an_album_and_its_pages(sp: Any, items: Items) -> None:
    largest = items.frame["album_id"].value_counts(sort=True)["album_id"][0]
    album = sp.album(largest)
    fits(shapes.SpotifyAlbum, album)
    has(album, ALBUM, "available_markets")
    has(album["tracks"], PAGE)
    has(album["tracks"]["items"][0], TRACK_REF, "available_markets")
    page, found = sp.album_tracks(largest, limit=2), []
    while page:
        fits(shapes.SpotifyAlbumTracks, page)
        found += page["items"]
        page = sp.next(page)
    assert [t["id"] for t in found] == [t["id"] for t in album["tracks"]["items"]]
    assert len(found) == album["total_tracks"] == (items.frame["album_id"] == largest).sum()


@pytest.mark.parametrize(
    ("call", "argument", "status"),
    [
        ("track", NOBODY, 404),
        ("artist", NOBODY, 404),
        ("album", NOBODY, 404),
        ("artist_related_artists", NOBODY, 404),
        ("artist_top_tracks", NOBODY, 404),
        ("audio_analysis", NOBODY, 404),
        ("track", "short", 400),
        ("tracks", [NOBODY] * 51, 400),
    ],
)
def test_what_is_not_there_raises_spotipys_exception(sp: Any, call: str, argument: Any, status: int) -> None:
    from spotipy import SpotifyException

    with pytest.raises(SpotifyException) as error:
        getattr(sp, call)(argument)
    assert error.value.http_status == status
    assert error.value.msg.split(":\n ")[1] not in ("", "None")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"seed_genres": ["pop"] * 6},
        {"seed_genres": ["pop"], "limit": 101},
        {"seed_genres": ["pop"], "country": "Sweden"},
        {"seed_genres": ["pop"], "min_energy": 2},
        {"seed_genres": ["pop"], "target_tempo": "fast"},
        {"seed_genres": ["pop"], "max_loudness": float("nan")},
        {"seed_tracks": ["short"]},
    ],
)
def test_a_wrong_question_raises_spotipys_exception(sp: Any, asked: dict[str, Any]) -> None:
    from spotipy import SpotifyException

    with pytest.raises(SpotifyException) as error:
        sp.recommendations(**asked)
    assert error.value.http_status == 400


def test_an_answer_names_its_decision(address: str, tiny_service: Service) -> None:
    answer = requests.get(f"{address}/spotify/v1/recommendations?seed_genres=pop&limit=5", timeout=30)
    record = tiny_service.decision(answer.headers["Recsys-Request-Id"])
    assert [slot["track_id"] for slot in record["slots"]] == [t["id"] for t in answer.json()["tracks"]]
    assert record["listener"]["options"]["seeds"][0]["id"] == "pop"
