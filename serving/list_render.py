"""From decided lists to the JSON that clients read; reasons that only lists have, in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

from recsys.errors import UnknownId
from recsys.items import Items
from serving.render import Renderer, facts

REASONS = {
    "mix_familiar": "You play this",
    "mix_new": "Close to what this mix is made of",
    "new_artist": "Close to your taste, by an artist not in your recent plays",
    "unheard": "Not in your recent plays, by an artist who is",
    "followed_release": "New by an artist you follow",
    "played_release": "New by an artist you play",
    "near_release": "New, and close to what you like",
    "popular_release": "New, and popular where you are",
    "newest": "Among the newest in the catalog",
    "similar_track": "Close to this track",
    "similar_artist": "Close to this artist",
    "continues": "Goes with the tracks of this list",
    "follows": "Goes on from what is playing",
    "like_seeds": "Like what you started from",
    "popular_near_you": "Popular where you are",
}
Slot = dict[str, Any]


def shown(renderer: Renderer, slots: list[Slot]) -> list[dict[str, Any]]:
    """Tracks with the facts of their slots."""
    return [renderer.track(slot["track"]) | facts(slot, reason(renderer, slot["reason"])) for slot in slots]


def shown_artists(renderer: Renderer, slots: list[Slot]) -> list[dict[str, Any]]:
    """Artists with the facts of their slots; each slot's own track is the one to play first."""
    return [
        _artist(renderer.track(slot["track"])) | facts(slot, reason(renderer, slot["reason"]))
        for slot in slots
    ]


def _artist(track: dict[str, Any]) -> dict[str, Any]:
    return {"artist_id": track["artist_id"], "name": track["artist_name"], "top_track": track}


def reason(renderer: Renderer, code: str) -> str:
    """A reason code in words; that of a thing which has left the catalog, without its name."""
    kind, _, value = code.partition(":")
    if not value:
        return REASONS.get(kind) or renderer.reason(code)
    try:
        return (
            f"Close to {renderer.name(code.removeprefix('near:'))}"
            if kind == "near"
            else renderer.reason(code)
        )
    except UnknownId:
        return "Close to what you have been playing"


def mix_titles(items: Items, slots: list[Slot]) -> dict[str, str]:
    """A title a mix: the genre that most of its tracks have, and the artists with most of them.

    Two mixes of one genre are told apart by their artists.
    """
    shelves: dict[str, list[int]] = {}
    for slot in slots:
        shelves.setdefault(slot["shelf"], []).append(slot["track"])
    return {shelf: _mix_title(items, tracks) for shelf, tracks in shelves.items()}


def _mix_title(items: Items, tracks: list[int]) -> str:
    genres = Counter(items.genres[g].rsplit("/", 1)[-1] for t in tracks if (g := int(items.genre[t])) >= 0)
    names = items.frame["artist_name"]
    artists = Counter(str(name) for t in tracks if (name := names[t]))
    main = " · ".join(name for name, _ in artists.most_common(3))
    genre = genres.most_common(1)[0][0].capitalize() if genres else "Your"
    return f"{genre} mix: {main}" if main else f"{genre} mix"
