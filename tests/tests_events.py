"""Events as a client would post them, for tests of any area."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from recsys.home import Home
from recsys.ids import uuid7

_numbers = count()


def event(kind: str, user: str, track: str | None, ms: int, **more: Any) -> dict[str, Any]:
    """A valid body with a fresh id."""
    ts = datetime.fromtimestamp(ms / 1000, UTC).isoformat()
    body = {"event_id": uuid7(ms, next(_numbers)), "kind": kind, "user_id": user, "ts": ts, "track_id": track}
    return {**body, **more}


def play(user: str, track: str, ms: int, ms_played: int, reason_end: str, **more: Any) -> dict[str, Any]:
    """A play that ended at `ms`."""
    return event("play_end", user, track, ms, ms_played=ms_played, reason_end=reason_end, **more)


def write_experiment(home: Home, name: str, start: str, stop: str) -> None:
    """A fixed test of listeners in a home's folder: control and treatment, half each, hours decide."""
    folder = home.root / "experiments"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(
        f"experiments:\n- name: {name}\n  salt: {name}\n  start: {start}\n  stop: {stop}\n"
        "  arms:\n  - {name: control, weight: 0.5}\n"
        "  - {name: treatment, weight: 0.5, parameters: {home.epsilon: 0.2}}\n"
        "  question:\n    primary: hours\n    mde: 0.05\n    stopping: {rule: fixed}\n"
    )
