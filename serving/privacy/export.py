"""What we hold of a listener, for them (GDPR art. 15): every row of theirs in the lake, and what is known now.

export(home, user_id)     # JSON-able
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from recsys.engines import open_log, open_store
from recsys.errors import BadInput, UnknownId
from recsys.home import Home
from recsys.ids import is_public_id
from recsys.ingest import move
from recsys.lake import Lake
from recsys.lake_erase import tables_of_listeners
from recsys.state_tail import read_state


def export(home: Home, user_id: str) -> dict[str, Any]:
    """Rows by table, nulls left out, and the listener's state.

    Raises:
        BadInput: not a public id. UnknownId: nothing is held of them.
    """
    if not is_public_id(user_id):
        raise BadInput(f"{user_id!r} is no listener's id: 22 characters of 0-9A-Za-z")
    lake, log, store = Lake(home.lake), open_log(home), open_store(home)
    try:
        if lake.has("events"):
            move(log, lake)
        rows = {table: _rows(lake, table, user_id) for table in tables_of_listeners(lake)}
        state = asdict(read_state(store, user_id))
    finally:
        log.close()
        store.close()
    if not any(rows.values()):
        raise UnknownId("nothing is held of this listener")
    return {"user_id": user_id, "tables": rows, "state": state}


def _rows(lake: Lake, table: str, user_id: str) -> list[dict[str, Any]]:
    rows = lake.scan(table).filter(pl.col("user_id") == user_id).collect()
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in rows.iter_rows(named=True)
    ]
