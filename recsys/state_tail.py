"""How a listener's state lies in an online store: a large part, and a small tail of what came since.

    state = read_state(store, user_id)                 # both parts merged
    store.put(folded(store, events, last_offsets))     # inside store.exclusive()

The state is a set function of the events (recsys.features.state), so parts of it may be kept apart and merged in any
order, and one event costs a tail of about a kilobyte instead of a window of 512 plays. A tail that has grown
is merged into the large part. The same idea as a log-structured merge tree (O'Neil et al. 1996).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from recsys.events import Event
from recsys.features.state import apply, decode, encode, merge
from recsys.types import UserState

TAIL_BYTES = 2_048
"""A tail that is larger (about 35 plays) is merged into the large part."""


class Values(Protocol):
    """What is needed of a store."""

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def missing(self, keys: Sequence[str]) -> set[str]: ...


def tail_key(user_id: str) -> str:
    """Where the tail lies; with its colon it is no listener's key."""
    return f"tail:{user_id}"


def read_state(store: Values, user_id: str) -> UserState:
    """What is known of a listener; an empty state for one never seen."""
    return read_states(store, [user_id])[0]


def read_states(store: Values, user_ids: Sequence[str]) -> list[UserState]:
    """The states of several listeners, as of one moment."""
    found = store.get_many([*user_ids, *map(tail_key, user_ids)])
    parts = zip(user_ids, found[: len(user_ids)], found[len(user_ids) :], strict=True)
    return [_joined(_decoded(user_id, large), tail) for user_id, large, tail in parts]


def whole(state: UserState) -> list[tuple[str, bytes]]:
    """What to write for a state that includes its tail."""
    return [(state.user_id, encode(state)), (tail_key(state.user_id), b"")]


def folded(
    store: Values, events: Mapping[str, Sequence[Event]], last: Mapping[str, int]
) -> list[tuple[str, bytes]]:
    """What to write once listeners' new events are applied; `last`: the log offset of each one's last event."""
    tails = store.get_many([tail_key(user_id) for user_id in events])
    unseen = store.missing([user for user, tail in zip(events, tails, strict=True) if tail is None])
    values: list[tuple[str, bytes]] = []
    grown: list[UserState] = []
    for (user_id, new), tail in zip(events.items(), tails, strict=True):
        state = apply(_decoded(user_id, tail), new, last[user_id])
        data = encode(state)
        if user_id in unseen or len(data) > TAIL_BYTES:
            grown.append(state)
        else:
            values.append((tail_key(user_id), data))
    large = store.get_many([state.user_id for state in grown])
    for state, known in zip(grown, large, strict=True):
        values += whole(merge(_decoded(state.user_id, known), state))
    return values


def _decoded(user_id: str, data: bytes | None) -> UserState:
    return decode(data) if data else UserState(user_id)


def _joined(large: UserState, tail: bytes | None) -> UserState:
    return merge(large, decode(tail)) if tail else large
