"""Learning from the log as it comes: decisions wait in an inbox until their rewards are in, and count once.

inbox = Inbox(dim=8)
inbox.decided(user_id, request_id, at, track_ids, contexts)      # as answers go out
inbox.events(frame)                                              # rows of the log, in any order, again and again
settled = inbox.settle(now)                                      # what is final by now
model.partial_fit(**settled.observations())
inbox.offset = offset; save(path, model, inbox.arrays())         # both as of one moment: no crash counts twice

Rewards are those of recsys.rewards: a slot that was seen and led to nothing within the window is worth 0, a slot that
was not seen says nothing. Rewards may be as late as `patience_ms`; they count from the moment of their decision.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import ArrayLike, NDArray

from bandits.observations import matrix
from recsys.errors import BadInput
from recsys.rewards import WINDOW_MS, RewardWeights, attribute
from recsys.schemas import EVENTS, EventKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_KINDS = [k.value for k in (EventKind.IMPRESSION, EventKind.PLAY_END, EventKind.SAVE, EventKind.UNSAVE)]
_SLOT = ["user_id", "request_id", "track_id"]


@dataclass(frozen=True)
class Settled:
    """Slots whose rewards are final.

    Attributes:
        contexts: (n, dim). arms, rewards: (n,). when: (n,) UTC ms of the decisions. keys: (n,) one a slot, for the
            bootstrap. slate, position: (n,) for bandits.examination. unseen: slots of the same decisions left out.
    """

    contexts: Floats
    arms: Ints
    rewards: Floats
    when: Floats
    keys: Ints
    slate: Ints
    position: Ints
    unseen: int

    def observations(self) -> dict[str, Any]:
        """Arguments of a model's `partial_fit`."""
        names = ("contexts", "arms", "rewards", "when", "keys")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class _Placed:
    at: int
    tracks: tuple[str, ...]
    contexts: Floats
    arms: Ints


class Inbox:
    """Decisions and events that wait for each other.

    Args:
        dim: of the contexts. window_ms: see recsys.rewards. patience_ms: how late events are waited for after it.
    """

    def __init__(
        self,
        dim: int,
        window_ms: int = WINDOW_MS,
        patience_ms: int = 3_600_000,
        weights: RewardWeights | None = None,
    ) -> None:
        self._dim, self._window, self._patience, self._weights = dim, window_ms, patience_ms, weights
        self._placed: dict[tuple[str, str], _Placed] = {}
        self._events = pl.DataFrame(schema=EVENTS)
        self.settled_until = -1  # decisions up to this moment have been counted
        self.offset = -1  # of the log, for the caller to keep
        self.late = 0  # decisions that came after their time had been settled: replays, or patience too short

    def __len__(self) -> int:
        return len(self._placed)

    def decided(
        self,
        user_id: str,
        request_id: str,
        at: int,
        tracks: Sequence[str],
        contexts: ArrayLike,
        arms: ArrayLike | None = None,
    ) -> None:
        """One answer as it went out; a request that is known already changes nothing.

        Args:
            at: UTC ms. tracks: (k,) public ids from the top. contexts: (k, dim). arms: (k,); None: all 0.

        Raises:
            BadInput: numbers that do not fit.
        """
        x = matrix(contexts, self._dim)
        chosen = np.zeros(len(x), np.int64) if arms is None else np.asarray(arms, np.int64)
        if not len(x) == len(tracks) == len(chosen):
            raise BadInput(f"{len(tracks)} tracks, {len(x)} contexts, {len(chosen)} arms: one of each a slot")
        if at <= self.settled_until:
            self.late += 1
        else:
            self._placed.setdefault((user_id, request_id), _Placed(at, tuple(tracks), x, chosen))

    def events(self, frame: pl.DataFrame) -> None:
        """Rows of the log's events that training may use; those that are known already change nothing."""
        own = frame.filter(pl.col("kind").is_in(_KINDS), pl.col("request_id").is_not_null()).select(
            list(EVENTS)
        )
        self._events = pl.concat([self._events, own]).unique("event_id", keep="first", maintain_order=True)

    def settle(self, now: int) -> Settled:
        """Takes out the decisions whose window and patience are over by `now` (UTC ms), with their rewards."""
        until = now - self._window - self._patience
        done = sorted((p.at, key) for key, p in self._placed.items() if p.at <= until)
        taken = [(key, self._placed.pop(key)) for _, key in done]
        self.settled_until = max(self.settled_until, until)
        settled = self._rewarded(taken)
        self._forget()
        return settled

    def _rewarded(self, taken: list[tuple[tuple[str, str], _Placed]]) -> Settled:
        slots = _slots(taken)
        ours = self._events.join(slots.select("user_id", "request_id").unique(), on=["user_id", "request_id"])
        seen = attribute(ours.lazy(), self._window, self._weights).select(*_SLOT, "reward")
        rows = slots.join(seen, on=_SLOT, how="inner", maintain_order="left")
        which = rows["row"].to_numpy()
        contexts = [p.contexts for _, p in taken] or [np.empty((0, self._dim))]
        arms = [p.arms for _, p in taken] or [np.empty(0, np.int64)]
        return Settled(
            contexts=np.concatenate(contexts)[which],
            arms=np.concatenate(arms)[which],
            rewards=rows["reward"].to_numpy().astype(np.float64),
            when=rows["at"].to_numpy().astype(np.float64),
            keys=np.array([_key(*pair) for pair in rows.select("request_id", "track_id").rows()], np.int64),
            slate=rows["slate"].to_numpy(),
            position=rows["position"].to_numpy(),
            unseen=len(slots) - len(rows),
        )

    def _forget(self) -> None:
        """Drops events that no decision waits for and none can any more."""
        waiting = pl.DataFrame(
            list(self._placed), schema={"user_id": pl.String(), "request_id": pl.String()}, orient="row"
        ).with_columns(waiting=pl.lit(True))
        kept = self._events.join(
            waiting, on=["user_id", "request_id"], how="left", maintain_order="left"
        ).filter(pl.col("waiting").fill_null(False) | (pl.col("ts").dt.epoch("ms") > self.settled_until))
        self._events = kept.select(list(EVENTS))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that waits, for bandits.state."""
        body = io.BytesIO()
        self._events.write_ipc(body)
        keys = [[*key, p.at, list(p.tracks)] for key, p in self._placed.items()]
        head = {"settled_until": self.settled_until, "offset": self.offset, "late": self.late, "placed": keys}
        contexts = [p.contexts for p in self._placed.values()] or [np.empty((0, self._dim))]
        arms = [p.arms for p in self._placed.values()] or [np.empty(0, np.int64)]
        return {
            "head": np.frombuffer(orjson.dumps(head), np.uint8),
            "events": np.frombuffer(body.getvalue(), np.uint8),
            "contexts": np.concatenate(contexts),
            "arms": np.concatenate(arms),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave."""
        head = orjson.loads(arrays["head"].tobytes())
        self.settled_until, self.offset, self.late = head["settled_until"], head["offset"], head["late"]
        self._events = pl.read_ipc(io.BytesIO(arrays["events"].tobytes()))
        self._placed, start = {}, 0
        for user_id, request_id, at, tracks in head["placed"]:
            rows = slice(start, start + len(tracks))
            placed = _Placed(at, tuple(tracks), arrays["contexts"][rows], arrays["arms"][rows])
            self._placed[user_id, request_id] = placed
            start += len(tracks)


def _slots(taken: list[tuple[tuple[str, str], _Placed]]) -> pl.DataFrame:
    """One row a placed slot, the first of a track in its slate."""
    rows = [
        (user, request, track, i, position, placed.at)
        for i, ((user, request), placed) in enumerate(taken)
        for position, track in enumerate(placed.tracks)
    ]
    text, number = pl.String(), pl.Int64()
    schema = dict(zip([*_SLOT, "slate", "position", "at"], [text] * 3 + [number] * 3, strict=True))
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row")
    return frame.unique(_SLOT, keep="first", maintain_order=True)


def _key(request_id: str, track_id: str) -> int:
    """63 bits that name a slot, the same on every machine."""
    digest = hashlib.blake2b(f"{request_id} {track_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
