"""What the drop-in's query strings say: ids, market, seeds, tunables. Every refusal is a BadInput of one line."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from fastapi import Query, Request

from recsys.errors import BadInput
from recsys.ids import is_public_id
from serving.parts.tunables import TUNABLES
from serving.recommendation_settings import MAX_SEEDS

BOUNDS = {"min": "at least this", "max": "at most this", "target": "tracks nearest to this first"}
Ids = Annotated[str, Query(max_length=3_000, description="ids of 22 characters, with commas")]
_NUMBER = re.compile(r"[-+]?\d{1,20}(\.\d{0,30})?([eE][-+]?\d{1,3})?", re.ASCII)
_MARKET = re.compile(r"[A-Z]{2}")
_Place = Annotated[str | None, Query(max_length=16, description="ISO 3166-1 alpha-2")]
Given = Annotated[str | None, Query(max_length=2_000)]


def market(market: _Place = None, country: _Place = None) -> str | None:
    """Where tracks are to be available; `country` is the older name. `from_token` says nothing here."""
    found = market or country
    if not found or found == "from_token":
        return None
    if not _MARKET.fullmatch(found):
        raise BadInput("Invalid market code")
    return found


def public_id(text: str) -> str:
    """An id as it stands in a path."""
    if not is_public_id(text):
        raise BadInput("Invalid base62 id")
    return text


def id_list(ids: str, most: int) -> list[str]:
    """Several ids."""
    found = [public_id(text.strip()) for text in ids.split(",")]
    if len(found) > most:
        raise BadInput(f"Too many ids requested: {most} at most")
    return found


def seeds(artists: str | None, tracks: str | None, genres: str | None) -> list[dict[str, str]]:
    """The seeds of a request, as the surface takes them."""
    found = [
        {"type": kind, "id": text.strip() if kind == "genre" else public_id(text.strip())}
        for kind, given in (("artist", artists), ("track", tracks), ("genre", genres))
        for text in (given or "").split(",")
        if text.strip()
    ]
    if not 1 <= len(found) <= MAX_SEEDS:
        raise BadInput(f"give 1 to {MAX_SEEDS} of seed_artists, seed_tracks and seed_genres together")
    return found


def tunables(request: Request) -> dict[str, dict[str, float]]:
    """{"min": {name: value}, "max": ..., "target": ...}, those that were not given left out; parameters that are
    none of these are not looked at."""
    found: dict[str, dict[str, float]] = {}
    for bound in BOUNDS:
        given = {name: request.query_params.get(f"{bound}_{name}") for name in TUNABLES}
        values = {n: _number(f"{bound}_{n}", n, text) for n, text in given.items() if text is not None}
        if values:
            found[bound] = values
    return found


def _number(parameter: str, name: str, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise BadInput(f"{parameter} must be a number")
    value = float(text)
    low, high = TUNABLES[name].low, TUNABLES[name].high
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        raise BadInput(
            f"{parameter} must lie in {'-inf' if low is None else low}..{'inf' if high is None else high}"
        )
    return value


def described() -> dict[str, Any]:
    """The tunables as OpenAPI parameters."""
    return {
        "parameters": [
            {"name": f"{bound}_{name}", "in": "query", "required": False, "description": text}
            | {"schema": _schema(name)}
            for name in TUNABLES
            for bound, text in BOUNDS.items()
        ]
    }


def _schema(name: str) -> dict[str, Any]:
    ends = {"minimum": TUNABLES[name].low, "maximum": TUNABLES[name].high}
    return {"type": "number"} | {key: value for key, value in ends.items() if value is not None}
