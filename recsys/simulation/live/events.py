"""What live listeners send: rows of the events table, pointing back to the answers by request id.

Plays, saves, follows and "not interested" are those of the log generator (rows.py); an impression is a slot that was
looked at. Event ids follow from (listener, day, session, step or slot), so a run that is repeated sends the same ids.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.simulation import rows
from recsys.simulation.identify import event_ids
from recsys.simulation.listen import Played
from recsys.simulation.live.day import OPENED_MS, Shown
from recsys.simulation.live.ports import Served
from recsys.simulation.live.world import LiveWorld
from recsys.simulation.pages import no_pages
from recsys.simulation.rng import U64, keys, stream
from recsys.simulation.sessions import Sessions

I64 = NDArray[np.int64]
_SHOWN_AFTER_MS, _SLOT_MS = 800, 60
"""From the request to the first slot on screen, and from slot to slot as the page is scrolled."""


def request_ids(now: I64, key: U64) -> NDArray[np.object_]:
    """(m,) UUIDv7 of each request, a function of its session alone: draws that hash it are the same in every run."""
    ids: NDArray[np.object_] = event_ids(now, keys(stream(0, "request"), key)).to_numpy(zero_copy_only=False)
    return ids


def events_of(
    world: LiveWorld, sessions: Sessions, shown: Shown, played: Played, served: Served
) -> pl.DataFrame:
    """Events of some sessions; `shown.session` and `played.session` point into them, pages are those of `served`.

    Returns:
        The columns of recsys.schemas.EVENTS but `day`; `received_at` is the client's time and a small delay.
    """
    if not len(sessions):
        return pl.DataFrame()
    batch = rows.day_rows(world.catalog, sessions, no_pages(), played, world.seed)
    batch[rows.IMPRESSION] = _impressions(world, sessions, shown)
    frame = _frame(world, sessions, batch)
    session = np.concatenate([r.session for r in batch]).astype(np.int64)
    page = np.full(len(sessions), -1)
    page[shown.session] = np.arange(len(shown.session))
    at = np.where(np.concatenate([r.page for r in batch]) == 1, page[session], -1)
    slot = np.where(at >= 0, np.concatenate([r.slot for r in batch]).astype(np.int64), -1)
    looked = np.repeat([r.kind == rows.IMPRESSION for r in batch], [len(r.session) for r in batch])
    ids = served.request_id
    if ids is None:
        ids = request_ids(sessions.start[shown.session] - OPENED_MS, sessions.key[shown.session])
    return frame.with_columns(
        request_id=_picked(ids, at),
        shelf=_cells(served.shelf, "made_for_you", at, slot),
        reason=_cells(served.reason, served.policy, at, np.where(looked, slot, -1)),
    )


def _picked(words: NDArray[np.object_], at: I64) -> pl.Series:
    """words[at], null where -1."""
    out = np.full(len(at), None, object)
    out[at >= 0] = words[at[at >= 0]]
    return pl.Series(out.tolist(), dtype=pl.String)


def _cells(words: NDArray[np.object_] | None, otherwise: str, at: I64, slot: I64) -> pl.Series:
    """words[at, slot], or one word for all; null where there is no slot."""
    out = np.full(len(at), None, object)
    there = slot >= 0
    out[there] = otherwise if words is None else words[at[there], slot[there]]
    return pl.Series(out.tolist(), dtype=pl.String)


def _frame(world: LiveWorld, sessions: Sessions, batch: list[rows.Rows]) -> pl.DataFrame:
    table = rows.arrow_table(world.names, world.user_names, world.listeners, sessions, batch)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def _impressions(world: LiveWorld, sessions: Sessions, shown: Shown) -> rows.Rows:
    row, slot = np.nonzero(shown.seen)
    session = shown.session[row]
    key = keys(stream(world.seed, "impression"), sessions.key[session], slot)
    return rows.event_rows(
        rows.IMPRESSION,
        session,
        key if len(session) else sessions.key[:0],
        sessions.start[session] - OPENED_MS + _SHOWN_AFTER_MS + _SLOT_MS * slot,
        track=shown.track[row, slot],
        surface=np.full(len(session), rows.ON_HOME),
        page=np.ones(len(session), np.int64),
        slot=slot,
        propensity=shown.propensity[row, slot],
    )
