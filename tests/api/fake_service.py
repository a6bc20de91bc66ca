"""A hand-written service with a tiny catalog: satisfies serving.api.contract.Service without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import polars as pl

from recsys.errors import BadInput, LogUnavailable, NotReady, UnknownId
from recsys.events import parse_batch, split_by_clock
from recsys.home import Home
from recsys.ids import public_id, uuid7
from recsys.schemas import Surface
from recsys.types import Ask, Decision, ModelRef

TITLES = [
    "Night Bus",
    "Salt and Copper",
    "A Slow Arithmetic",
    "Paper Lanterns",
    "<script>alert('x')</script>",
    'Quote " and & <b>bold</b>',
    "The Weather in Your Name",
    "Low Tide",
    "Second Kitchen",
    "Everything but the Moon, and Other Long Titles That Go On",
    "Ночной поезд",
    "夜のバス",
]
ARTISTS = ["The Long Exposure", "Ada Vento", "Kite & Anchor", "Marrow"]
SHELVES = {
    "made_for_you": "Made for you",
    "because_you_finished": "Because you finished Night Bus",
    "new_releases": "New releases for you",
    "jump_back_in": "Jump back in",
    "popular": "Popular where you are",
}
TRACK_IDS = [public_id("fake", str(i)) for i in range(60)]
ARTIST_IDS = [public_id("fake-artist", str(i)) for i in range(len(ARTISTS))]
LISTENERS = [public_id("fake-user", str(i)) for i in range(5)]


class FakeCatalog:
    """Sixty tracks by four artists."""

    def track(self, track_id: str) -> dict[str, Any]:
        if track_id not in TRACK_IDS:
            raise UnknownId(f"no track {track_id}; see /v1/home for ids that exist")
        shown = item(TRACK_IDS.index(track_id))
        artist = {"artist_id": shown["artist_id"], "name": shown["artist_name"]}
        absent = dict.fromkeys(("album", "release_date", "isrc", "withdrawn_at"))
        kept = {name: shown[name] for name in ("track_id", "title", "genre", "explicit")}
        lists: dict[str, Any] = {"audio": {}, "availability": [], "aliases": []}
        return kept | absent | lists | {"artist": artist, "duration_ms": 180_000}

    def artist(self, artist_id: str) -> dict[str, Any]:
        if artist_id not in ARTIST_IDS:
            raise UnknownId(f"no artist {artist_id}")
        name = ARTISTS[ARTIST_IDS.index(artist_id)]
        return {"artist_id": artist_id, "name": name, "genre": None, "aliases": [], "tracks": []}

    def tables(self) -> dict[str, pl.DataFrame]:
        return {}

    def resolve(self, source: str, foreign_ids: Sequence[str], entity: str = "track") -> dict[str, str]:
        return {}


def item(number: int) -> dict[str, Any]:
    """A track as answers show it, without its slot facts."""
    artist = number % len(ARTISTS)
    suffix = "" if number < len(TITLES) else f" {number // len(TITLES) + 1}"
    return {
        "track_id": TRACK_IDS[number],
        "title": TITLES[number % len(TITLES)] + suffix,
        "artist_id": ARTIST_IDS[artist],
        "artist_name": ARTISTS[artist],
        "album_id": public_id("fake-album", str(number // 3)),
        "genre": "electronic/downtempo",
        "explicit": number % 7 == 0,
    }


class FakeService:
    """Answers from the catalog in order, leaving out what the listener rejected."""

    def __init__(self) -> None:
        self.catalog = FakeCatalog()
        self.place = Home.of("no-such-home")
        self.observers: list[Callable[[Decision], None]] = []
        self.log: dict[str, Any] = {}
        self.decisions: dict[str, dict[str, Any]] = {}
        self.log_full = False
        self.is_ready = True

    def recommend(self, ask: Ask) -> dict[str, Any]:
        if ask.surface == Surface.HOME:
            return self._home(ask.user_id, ask.limit)
        if ask.surface != Surface.RADIO:
            return self._list(ask)
        return self._radio(ask.seed or "", ask.cursor, ask.user_id, ask.limit)

    def _home(self, user_id: str | None, limit: int) -> dict[str, Any]:
        if not self.is_ready:
            raise NotReady("no release yet; run `recsys demo` first")
        tracks, each = self._allowed(user_id), limit
        shelves = [
            {"id": name, "title": title, "items": self._slots(tracks[i * each : (i + 1) * each], name)}
            for i, (name, title) in enumerate(SHELVES.items())
        ]
        return self._answer("home", user_id, [s for shelf in shelves for s in shelf["items"]]) | {
            "shelves": shelves
        }

    def _radio(self, seed: str, cursor: str | None, user_id: str | None, limit: int) -> dict[str, Any]:
        if cursor is not None and not cursor.isdigit():
            raise BadInput("cursor was not written by this server; start the station again without one")
        kind, _, ids = seed.partition(":")
        known = ARTIST_IDS if kind == "artist" else TRACK_IDS
        if any(i not in known for i in ids.split(",")):
            raise UnknownId(f"nothing is known of {seed}")
        begin = int(cursor or 0)
        slots = self._slots(self._allowed(user_id)[begin : begin + limit], "radio")
        answer = self._answer("radio", user_id, slots)
        station = {"seed": seed, "cursor": str(begin + limit), "dial": 0.5, "relaxed": []}
        return answer | station | {"items": slots}

    def _list(self, ask: Ask) -> dict[str, Any]:
        """Any list surface, with the fields that its own answer adds."""
        kind, _, seed = (ask.seed or "").partition(":")
        if seed and seed not in (ARTIST_IDS if kind == "artist" else TRACK_IDS):
            raise UnknownId(f"nothing is known of {seed}")
        given = ask.options.get("track_ids") or [ask.options.get("current", TRACK_IDS[0])]
        if not set(given) & set(TRACK_IDS):
            raise UnknownId("none of these tracks is known")
        slots = self._slots(self._allowed(ask.user_id)[: ask.limit], ask.surface.value)
        answer = self._answer(ask.surface.value, ask.user_id, slots)
        kept = {"period": "2026-03-01", "stored": False, "dropped": 0}
        artists = [
            {"artist_id": s["artist_id"], "name": s["artist_name"]}
            | {"top_track": item(TRACK_IDS.index(s["track_id"]))}
            | {k: s[k] for k in ("position", "score", "propensity", "reason")}
            for s in slots
        ]
        unknown = {"unknown": len(set(given) - set(TRACK_IDS))}
        more: dict[Surface, dict[str, Any]] = {
            Surface.DAILY_MIX: kept | {"mixes": [{"id": "mix_1", "title": "A mix", "items": slots}]},
            Surface.DISCOVERY: kept | {"items": slots},
            Surface.RELEASE_RADAR: kept
            | {"days": 28, "items": [s | {"release_date": "2026-02-20"} for s in slots]},
            Surface.BECAUSE: {"seed": ask.seed, "title": "More like it", "items": slots},
            Surface.SIMILAR: {"track_id": seed, "items": slots},
            Surface.SIMILAR_ARTISTS: {"artist_id": seed, "items": artists},
            Surface.CONTINUATION: unknown | {"items": slots},
            Surface.NEXT_UP: unknown | {"skips": 0, "items": slots},
        }
        return answer | more[ask.surface]

    def similar(self, track_id: str, limit: int) -> dict[str, Any]:
        self.catalog.track(track_id)
        items = [item(i) | {"score": 1 / (i + 1)} for i in range(limit)]
        return {"track_id": track_id, "items": items}

    def ingest(self, bodies: list[Any]) -> dict[str, Any]:
        if self.log_full:
            raise LogUnavailable("the event log's disk is full; free some space")
        good, refused = parse_batch(bodies)
        good, untimely = split_by_clock(good, datetime.now(UTC))
        refused = sorted(refused + untimely)
        new = [event for _, event in good if event.event_id not in self.log]
        self.log |= {event.event_id: event for event in new}
        return {
            "accepted": len(new),
            "duplicates": len(good) - len(new),
            "refused": [{"index": place, "reason": reason} for place, reason in refused],
        }

    def decision(self, request_id: str) -> dict[str, Any]:
        if request_id not in self.decisions:
            raise UnknownId(f"no decision {request_id}; it may be older than the log")
        return self.decisions[request_id]

    def listeners(self, limit: int) -> list[dict[str, Any]]:
        rows = [
            {"user_id": u, "plays": 900 - 150 * i, "top_genres": ["electronic/house", "jazz/bop"]}
            for i, u in enumerate(LISTENERS)
        ]
        return rows[:limit]

    def status(self) -> dict[str, Any]:
        return {"ready": self.is_ready, "release": "1", "log": {"end": len(self.log), "lake_lag": 0}}

    def ready(self) -> bool:
        return self.is_ready

    def reload(self) -> dict[str, Any]:
        return {"release": "1", "changed": False}

    def close(self) -> None:
        return None

    def _allowed(self, user_id: str | None) -> list[int]:
        rejected = {
            e.track_id for e in self.log.values() if e.kind == "not_interested" and e.user_id == user_id
        }
        return [i for i, track in enumerate(TRACK_IDS) if track not in rejected]

    def _slots(self, numbers: list[int], shelf: str) -> list[dict[str, Any]]:
        return [
            item(number)
            | {"position": p, "score": 1.0 - p / 10, "propensity": 0.95 if p else 0.0125}
            | {"reason": {"code": shelf, "text": f"Because of {TITLES[0]}"}}
            for p, number in enumerate(numbers)
        ]

    def _answer(self, surface: str, user_id: str | None, slots: list[dict[str, Any]]) -> dict[str, Any]:
        request_id = uuid7()
        decision = _decision(request_id, surface, user_id or public_id("anonymous", request_id), slots)
        self.decisions[request_id] = asdict(decision)
        for observe in self.observers:
            observe(decision)
        return {
            "request_id": request_id,
            "user_id": decision.user_id,
            "surface": surface,
            "rung": "full",
            "policy": "epsilon_greedy",
            "release": "1",
            "logged": True,
        }


def _decision(request_id: str, surface: str, user_id: str, slots: list[dict[str, Any]]) -> Decision:
    kept = ("track_id", "position", "score", "propensity")
    return Decision(
        request_id=request_id,
        user_id=user_id,
        surface=surface,
        now=1_772_380_800_000,
        seed=1234567890123,
        limit=10,
        rung="full",
        policy="full-eps0.05",
        release=ModelRef("recsys", "1", "ab" * 32),
        versions={"catalog": "12", "config": "default"},
        arms={"ranker": "control"},
        sources={
            "two_tower": {"outcome": "ok", "count": 500, "ms": 1.8},
            "sequence": {"outcome": "timeout", "count": 0, "ms": 25.0},
        },
        counts={"union": 980, "territory": 941, "heard": 900, "light": 220},
        stages_ms={"union": 0.4, "features": 3.1, "ranker": 6.9, "select": 1.2},
        listener={"plays": 512, "country": 3, "window": "eJwr", "station": [], "personalized": True},
        eligible=list(range(220)),
        scores={"utility": [0.5] * 220},
        slots=[
            {k: s[k] for k in kept} | {"shelf": s["reason"]["code"], "reason": s["reason"]["code"]}
            for s in slots
        ],
    )


def full_log_service() -> FakeService:
    """A service whose event log has no room left."""
    service = FakeService()
    service.log_full = True
    return service
