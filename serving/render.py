"""From a Decision to the JSON that clients read: shelves, titles, reasons in words."""

from __future__ import annotations

import copy
from typing import Any

from recsys.catalog_delta import Delta
from recsys.items import Items
from recsys.types import Decision

TITLES = {
    "made_for_you": "Made for you",
    "because_you_finished": "Because you finished a track",
    "more_like": "More like your last track",
    "new_releases": "New releases for you",
    "jump_back_in": "Jump back in",
    "popular": "Popular",
    "radio": "Radio",
}
OF_FIRST_REASON = {
    "because_you_finished": ("finished",),
    "popular": ("popular_near_you", "popular_everywhere", "last_good_fallback"),
}
"""Shelves whose title is the sentence of their first reason, where it is one of these."""
REASONS = {
    "played_before": "You have played this before",
    "popular_near_you": "Popular where you are",
    "popular_everywhere": "Popular everywhere",
    "new_release": "Released in the last 30 days",
    "taste": "Close to what you have been playing",
    "explore": "Something to try",
    "station": "Fits this station",
    "popular": "Popular",
    "last_good_fallback": "From your last home feed",
}


class Renderer:
    """Names of one release's tracks, as lists for fast look-up."""

    def __init__(self, items: Items) -> None:
        self._items = items
        frame = items.frame
        self._columns = {
            name: frame[name].to_list()
            for name in ("track_id", "title", "artist_id", "artist_name", "album_id", "genre", "explicit")
        }

    def revised(self, items: Items, delta: Delta) -> Renderer:
        """The same names with those that differ in a delta of the catalog."""
        live = copy.copy(self)
        live._items, live._columns = items, {}
        for name, values in self._columns.items():
            column = values + [None] * (len(items) - len(values))
            for row, value in zip(delta.row.tolist(), delta.frame[name].to_list(), strict=True):
                column[row] = value
            live._columns[name] = column
        return live

    def home(self, decision: Decision) -> dict[str, Any]:
        """The answer of the home endpoint."""
        shelves: dict[str, list[dict[str, Any]]] = {}
        for slot in decision.slots:
            shelves.setdefault(slot["shelf"], []).append(self._item(slot))
        rows = [
            {"id": name, "title": self._title(name, items), "items": items} for name, items in shelves.items()
        ]
        return {**head(decision), "shelves": rows}

    def radio(self, decision: Decision, seed: str, cursor: str) -> dict[str, Any]:
        """The answer of the radio endpoint."""
        items = [self._item(slot) for slot in decision.slots]
        station = {"seed": seed, "cursor": cursor, "dial": decision.listener["options"]["dial"]}
        return {**head(decision), **station, "relaxed": decision.relaxed, "items": items}

    def track(self, track: int) -> dict[str, Any]:
        """What is shown of one track."""
        return {name: values[track] for name, values in self._columns.items()}

    def title(self, track_id: str) -> str:
        """Raises UnknownId."""
        return str(self._columns["title"][self._items.number(track_id)] or "a track")

    def name(self, seed: str) -> str:
        """What `track:ID` or `artist:ID` is called.

        Raises:
            UnknownId: this release has no such track or artist.
        """
        kind, _, value = seed.partition(":")
        if kind == "track":
            return self.title(value)
        artist = self._items.artist_number(value)
        return str(
            self._columns["artist_name"][int((self._items.artist == artist).argmax())] or "this artist"
        )

    def reason(self, code: str) -> str:
        """A reason code in words."""
        kind, _, value = code.partition(":")
        if kind == "finished":
            return f"Because you finished {self.title(value)}"
        if kind == "similar":
            return f"Similar to {self.title(value)}"
        if kind == "artist":
            name = self._items.artist_number(value)
            track = int((self._items.artist == name).argmax())
            return f"You have played {self._columns['artist_name'][track] or 'this artist'}"
        return REASONS.get(kind, kind)

    def _item(self, slot: dict[str, Any]) -> dict[str, Any]:
        return self.track(slot["track"]) | facts(slot, self.reason(slot["reason"]))

    def _title(self, shelf: str, items: list[dict[str, Any]]) -> str:
        code = items[0]["reason"]["code"]
        kind, _, value = code.partition(":")
        if shelf == "more_like" and kind == "similar":
            return f"More like {self.title(value)}"
        if kind in OF_FIRST_REASON.get(shelf, ()):
            return self.reason(code)
        return TITLES.get(shelf, shelf)


def head(decision: Decision) -> dict[str, Any]:
    """What every answer states about itself."""
    return {
        "request_id": decision.request_id,
        "user_id": decision.user_id,
        "surface": decision.surface,
        "rung": decision.rung,
        "policy": decision.policy,
        "release": decision.release.version,
        "logged": decision.logged,
        "degraded": decision.degraded,
    }


def facts(slot: dict[str, Any], why: str) -> dict[str, Any]:
    """A slot as answers show it, beside its track or artist; `why` is its reason in words."""
    named = {name: slot[name] for name in ("position", "score", "propensity")}
    return named | {"reason": {"code": slot["reason"], "text": why}}
