"""Listeners in one line each, for people who pick one to look at."""

from __future__ import annotations

from typing import Any

from recsys.types import UserState
from serving.recommender import Recommender


def sketch(user: UserState, recommender: Recommender) -> dict[str, Any]:
    """A listener's id, plays in the window, and most played genres."""
    items = recommender.release.items
    tracks = [t for t in items.numbers(user.track_id) if t >= 0]
    counts: dict[str, int] = {}
    for track in tracks:
        genre = items.genres[items.genre[track]] if items.genre[track] >= 0 else ""
        counts[genre] = counts.get(genre, 0) + 1
    top = sorted((g for g in counts if g), key=lambda g: -counts[g])[:3]
    return {"user_id": user.user_id, "plays": len(user.track_id), "top_genres": top}
