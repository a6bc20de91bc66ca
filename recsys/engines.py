"""Which engine holds the log and the listener states: embedded ones unless the environment names others.

RECSYS_LOG=kafka://host:9092/topic   RECSYS_STATE=redis://host:6379/0
log, store = open_log(home), open_store(home)
"""

from __future__ import annotations

import os

from recsys.errors import BadInput
from recsys.eventlog import LocalEventLog
from recsys.home import Home
from recsys.ports import EventLog
from recsys.state_store import PATIENCE, LocalStore, StateStore


def open_log(home: Home, url: str | None = None) -> EventLog:
    """The log at `url` (default: RECSYS_LOG, else the embedded one of this home).

    Raises:
        BadInput: a URL of another kind.
        LogUnavailable: it cannot be reached.
    """
    url = url if url is not None else os.environ.get("RECSYS_LOG", "")
    if not url:
        return LocalEventLog(home.log)
    if url.startswith("kafka://"):
        from recsys.eventlog_kafka import KafkaEventLog

        return KafkaEventLog.of_url(url)
    raise BadInput("RECSYS_LOG must look like kafka://host:9092/topic; leave it out for the embedded log")


def open_store(home: Home, url: str | None = None, patience: float | None = None) -> StateStore:
    """The store at `url` (default: RECSYS_STATE, else the embedded one of this home).

    `patience`: seconds after which a call gives up with StoreUnavailable; None waits as long as bulk work may.

    Raises:
        BadInput: a URL of another kind.
        StoreUnavailable: it cannot be reached.
    """
    url = url if url is not None else os.environ.get("RECSYS_STATE", "")
    if not url:
        return LocalStore(home.state_db, PATIENCE if patience is None else patience)
    if url.startswith(("redis://", "rediss://", "unix://")):
        from recsys.state_redis import RedisStore

        return RedisStore(url, patience=patience)
    raise BadInput("RECSYS_STATE must look like redis://host:6379/0; leave it out for the embedded store")
