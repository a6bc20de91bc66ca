"""Looks again at everything that a receipt says is gone; it needs the receipt alone, not the listener's id.

findings = verify(home, privacy, receipt)      # what is wrong, empty where nothing is
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

import polars as pl

from music.privacy.model import Receipt
from music.privacy.service import Privacy
from recsys.engines import open_store
from recsys.home import Home
from recsys.lake import Lake
from recsys.lake_erase import tables_of_listeners
from recsys.marks import Marks
from recsys.release import read_manifest
from recsys.vault import Vault
from serving.privacy.residue import residue

_KEYS = 50_000_000


def verify(home: Home, privacy: Privacy, receipt: Receipt, user_id: str | None = None) -> list[str]:
    """What contradicts a receipt. Every id that is there is hashed as the receipt's was, and compared.

    Args:
        user_id: whoever knows it still can have every byte of the home searched for it too.

    Raises:
        BadInput: the receipt was changed, or is another home's.
    """
    privacy.checked(receipt)
    vault = Vault.of_home(home)
    found = [*_keys(vault, receipt), *_ids(home, vault, receipt), *_releases(home, receipt)]
    if user_id is not None:
        if vault.listener(user_id) != receipt.listener:
            found.append("the receipt is about another listener")
        told = set(receipt.removed["scan"]["by_hand"])
        found += [f"{path} holds the id" for path in residue(home.root, [user_id]) if path not in told]
    return found


def _keys(vault: Vault, receipt: Receipt) -> Iterator[str]:
    if vault.holds(receipt.listener):
        yield "the vault holds a key of theirs"
    if not vault.refuses(receipt.listener):
        yield "new events of theirs are not refused"


def _ids(home: Home, vault: Vault, receipt: Receipt) -> Iterator[str]:
    lake = Lake(home.lake)
    for table in tables_of_listeners(lake):
        ids = lake.scan(table).select(pl.col("user_id").unique()).collect()["user_id"].drop_nulls()
        if _among(vault, receipt, ids):
            yield f"lake table {table} has rows of theirs"
    store = open_store(home)
    try:
        if _among(vault, receipt, store.keys(_KEYS)):
            yield "the online store has a state of theirs"
    finally:
        store.close()
    for path in sorted(home.features.glob("*.parquet")):
        frame = pl.scan_parquet(path)
        if "user_id" in frame.collect_schema().names():
            ids = frame.select(pl.col("user_id").unique()).collect()["user_id"]
            if _among(vault, receipt, ids):
                yield f"features/{path.name} has rows of theirs"
    if _among(vault, receipt, _feast_ids(home)):
        yield "features/online.sqlite has rows of theirs"


def _feast_ids(home: Home) -> Iterator[str]:
    """Ids in Feast's entity keys, whose last 22 bytes they are."""
    path = home.features / "online.sqlite"
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if "entity_key" in {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}:
                for (key,) in connection.execute(f'SELECT DISTINCT entity_key FROM "{table}"'):
                    yield bytes(key)[-22:].decode("ascii", "replace")


def _among(vault: Vault, receipt: Receipt, ids: Iterable[str]) -> bool:
    return any(vault.listener(user_id) == receipt.listener for user_id in ids)


def _releases(home: Home, receipt: Receipt) -> Iterator[str]:
    marks = Marks(home.releases).all()
    for version in receipt.removed["releases"]["marked"]:
        folder = home.releases / f"v{version}"
        if version not in marks and folder.exists() and read_manifest(folder):
            yield f"release {version} is not marked"
