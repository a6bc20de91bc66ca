"""A home on real engines: a Kafka-protocol broker, Redis and Postgres, each with a place of its own for every home."""

from __future__ import annotations

import uuid
from dataclasses import replace
from urllib.parse import urlsplit

from sqlalchemy import insert, select

from music.catalog.database import connect, upgrade, writing
from music.catalog.tables import Base
from recsys.engine_urls import EngineUrls
from recsys.engines import open_store
from recsys.home import Home
from recsys.state_tail import read_states, whole
from tests.engines import new_database


def moved_to(home: Home, kafka: str, redis: str, postgres: str) -> Home:
    """The same home with a new topic, new keys and a new database, which hold its states and its catalog."""
    name = uuid.uuid4().hex
    urls = EngineUrls(log=f"kafka://{kafka}/{name}", state=f"{redis}#{name}", catalog=new_database(postgres))
    states, catalog = open_store(home), home.catalog_url
    known = [replace(state, offset=-1) for state in read_states(states, states.keys(1_000_000))]
    states.close()
    (home.root / "engines.json").write_text(urls.model_dump_json())
    copy_database(catalog, urls.catalog)
    store = open_store(home)
    for first in range(0, len(known), 500):
        store.put([pair for state in known[first : first + 500] for pair in whole(state)])
    store.close()
    return home


def servers_of(home: Home) -> tuple[str, str, str]:
    """Where the engines of a home are: what `moved_to` wants."""
    urls = home.engines
    return urlsplit(urls.log).netloc, urls.state.partition("#")[0], urls.catalog.rpartition("/")[0]


def copy_database(source: str, target: str) -> None:
    """Every row of the catalog."""
    old, new = connect(source), connect(target)
    upgrade(new)
    with old.connect() as reader, writing(new) as writer:
        for table in reversed(Base.metadata.sorted_tables):
            writer.execute(table.delete())
        for table in Base.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in reader.execute(select(table))]
            if rows:
                writer.execute(insert(table), rows)
    old.dispose()
    new.dispose()
