"""Numbered sample events for the tests of log, mover and state."""

from __future__ import annotations

from datetime import UTC, datetime

from recsys.events import Event
from recsys.ids import public_id, uuid7

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def play(number: int, ms_played: int = 30_000, at: datetime = NOW, received: datetime | None = NOW) -> Event:
    return Event.model_validate(
        {
            "event_id": uuid7(1_700_000_000_000, entropy=number),
            "kind": "play_end",
            "user_id": public_id("test", f"user {number % 3}"),
            "ts": at,
            "received_at": received,
            "track_id": public_id("test", f"track {number % 7}"),
            "ms_played": ms_played,
            "payload": "line one\nline two ë",
        }
    )
