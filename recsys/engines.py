"""Opens the log and the listener states of a home on the engines it names (recsys.engine_urls).

log, store = open_log(home), open_store(home)
"""

from __future__ import annotations

from recsys.errors import BadInput
from recsys.eventlog import LocalEventLog
from recsys.home import Home
from recsys.ports import EventLog
from recsys.state_store import PATIENCE, LocalStore, StateStore
from recsys.vault import Vault


def open_log(home: Home, url: str | None = None, vault: Vault | None = None) -> EventLog:
    """The log at `url` (default: what the home names, else the embedded one), sealed with the home's keys.

    `vault`: the home's, where the caller has it open.

    Raises:
        BadInput: a URL of another kind.
        LogUnavailable: it cannot be reached.
    """
    url = url if url is not None else home.engines.log
    keys = vault or Vault.of_home(home)
    if not url:
        return LocalEventLog(home.log, vault=keys)
    if url.startswith("kafka://"):
        from recsys.eventlog_kafka import KafkaEventLog

        return KafkaEventLog.of_url(url, keys)
    raise BadInput("RECSYS_LOG must look like kafka://host:9092/topic; leave it out for the embedded log")


def open_store(home: Home, url: str | None = None, patience: float | None = None) -> StateStore:
    """The store at `url` (default: what the home names, else the embedded one).

    Of a Redis URL what follows a # is put before all keys, so that several homes share one Redis.

    `patience`: seconds after which a call gives up with StoreUnavailable; None waits as long as bulk work may.

    Raises:
        BadInput: a URL of another kind.
        StoreUnavailable: it cannot be reached.
    """
    url = url if url is not None else home.engines.state
    if not url:
        return LocalStore(home.state_db, PATIENCE if patience is None else patience)
    if url.startswith(("redis://", "rediss://", "unix://")):
        from recsys.state_redis import RedisStore

        place, _, prefix = url.partition("#")
        return RedisStore(place, prefix or "recsys", patience=patience)
    raise BadInput("RECSYS_STATE must look like redis://host:6379/0; leave it out for the embedded store")
