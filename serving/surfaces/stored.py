"""Lists that stay: kept in the online store for the listener's day or week, and served again from there.

    listed = kept(desk, ask, query, period) or make(desk, ask, query, period)

A list served again keeps the request id, the propensities and the positions of its first answer, because it is the
same draw; nothing new is logged. What may not be shown any more is left out, and counted.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from recsys.ids import seed_of
from recsys.pipeline import Proposal, union
from recsys.ports import OnlineStore
from recsys.types import Ask, Decision, Query, QueryBatch, UserState
from serving.parts.filters import rules
from serving.render import head
from serving.surfaces.periods import Period, day
from serving.surfaces.surface import Desk

if TYPE_CHECKING:
    from serving.recommender import Recommender

logger = logging.getLogger(__name__)
PERIODS = 2
"""Lists that are kept of a surface and listener: devices in two time zones can be in two days."""
LEFT = 0.5
"""A kept list of which less than this may still be shown (another country, say) is made anew."""
Slots = list[dict[str, Any]]


@dataclass(frozen=True)
class Listed:
    """A list as it was first answered."""

    request_id: str
    user_id: str
    surface: str
    rung: str
    policy: str
    release: str
    logged: bool
    slots: Slots  # track_id, track (dense, in the release that renders), shelf, position, score, propensity, reason
    titles: dict[str, str]  # by shelf
    period: str
    degraded: list[str] = field(default_factory=list)  # of the request that is answered now
    stored: bool = False  # served again from the store
    dropped: int = 0  # tracks of the first answer that may not be shown any more

    @property
    def head(self) -> dict[str, Any]:
        """What the answer states about itself."""
        return {k: v for k, v in vars(self).items() if k not in ("slots", "titles")}


def settle(
    user: UserState, now: int, tz: str, thin: int, unit: Callable[[int, str], Period]
) -> tuple[Period, int]:
    """For how long a list stays, and from which moment (UTC ms) on plays are not read.

    A list is made from what was played before its day or week began, so that it comes out the same whenever it is
    first asked for. Somebody with fewer than `thin` plays by then gets a list for the day, from all plays so far.
    """
    for period in (unit(now, tz), day(now, tz)):
        if sum(start < period.start for start in user.start) >= thin:
            return period, period.start
    return period, now


def planned(query: Query, period: Period, as_of: int, limit: int, **options: Any) -> Query:
    """The query of a list: seeded by listener and period, history cut at `as_of`."""
    seed = seed_of(f"{query.surface.value}:{query.user.user_id}:{period.name}")
    return replace(query, seed=seed, limit=limit, options={**query.options, "as_of": as_of, **options})


def load(store: OnlineStore, query: Query) -> dict[str, Any]:
    """What is kept for the listener and surface; nothing where the store cannot be read."""
    try:
        raw = store.get(_key(query))
        return dict(orjson.loads(zlib.decompress(raw))) if raw is not None else {}
    except Exception:  # whatever failed in the store, the list is made anew, and comes out nearly the same
        logger.warning("kept list of %s not readable", query.surface.value, exc_info=True)
        return {}


def kept(desk: Desk, ask: Ask, query: Query, record: dict[str, Any], period: Period) -> Listed | None:
    """The period's list from the store, as far as it may be shown now; None where it has to be made."""
    entry = record.get("lists", {}).get(period.name)
    if entry is None or not _keeps(ask, query):
        return None
    try:
        listed = Listed(**entry)
        slots = _showable(desk.recommender, query, listed.slots)
    except Exception:  # a filter never fails open: what cannot be read or checked is not served again
        logger.exception("kept list of %s not checked", query.surface.value)
        return None
    if len(slots) < LEFT * len(listed.slots):
        return None
    dropped = len(listed.slots) - len(slots)
    return replace(listed, slots=slots, stored=True, dropped=dropped, degraded=list(query.degraded))


def make(
    desk: Desk,
    ask: Ask,
    query: Query,
    record: dict[str, Any],
    period: Period,
    titles: Callable[[Slots], dict[str, str]] = lambda _slots: {},
    memory: int = 0,
) -> Listed:
    """Decides, and keeps the list if nothing of the ladder was missing: a lesser one should not stay all day.

    Args:
        record: what `load` gave. memory: tracks of served lists to remember, the newest; see `served`.
    """
    decision = desk.decide(query)
    listed = _listed(decision, titles(decision.slots), period)
    if decision.rung == "full" and _keeps(ask, query):
        slots = [{k: v for k, v in slot.items() if k != "track"} for slot in listed.slots]
        entry = {**vars(listed), "slots": slots}
        older = [(name, one) for name, one in record.get("lists", {}).items() if name != period.name]
        newest = dict([*older, (period.name, entry)][-PERIODS:])
        past = [*served(record), *(slot["track_id"] for slot in decision.slots)]
        _save(desk.store, query, {"lists": newest, "served": past[-memory:] if memory else []})
    return listed


def served(record: dict[str, Any]) -> list[str]:
    """Tracks of earlier lists, oldest first."""
    return list(record.get("served", []))


def _keeps(ask: Ask, query: Query) -> bool:
    """Nothing is kept for somebody without a name, without the consent, or of whom nothing is known."""
    return ask.user_id is not None and query.user.personalized and not query.user.is_new


def _key(query: Query) -> str:
    return f"list:{query.surface.value}:{query.user.user_id}"


def _save(store: OnlineStore, query: Query, record: dict[str, Any]) -> None:
    try:
        store.put([(_key(query), zlib.compress(orjson.dumps(record), 1))])
    except Exception:  # the answer stands; the next request makes the list again
        logger.warning("list of %s not kept", query.surface.value, exc_info=True)


def _listed(decision: Decision, titles: dict[str, str], period: Period) -> Listed:
    return Listed(
        **head(decision),
        slots=decision.slots,
        titles=titles,
        period=period.name,
    )


def _showable(recommender: Recommender, query: Query, slots: Slots) -> Slots:
    """The slots that pass today's rights and policy, with track numbers of the loaded release."""
    items = recommender.release.items
    tracks = items.numbers(slot["track_id"] for slot in slots)
    known = np.unique(tracks[tracks >= 0]).astype(np.int64)
    ends = np.array([0, len(known)], np.int64)
    batch = QueryBatch.of([query], items)
    candidates = union({"kept": Proposal(known, ends, np.zeros(len(known), np.float32))}, 1)
    for stage in rules(recommender.release):
        candidates = candidates.where(stage.keep(batch, candidates))
    allowed = set(candidates.ids.tolist())
    pairs: Sequence[tuple[dict[str, Any], int]] = list(zip(slots, tracks.tolist(), strict=True))
    return [{**slot, "track": track} for slot, track in pairs if track in allowed]
