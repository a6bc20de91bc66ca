"""The catalog's database: migrations lead to the models, and several processes may share one file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from music.catalog import Catalog
from music.catalog.database import _MIGRATIONS, connect, upgrade, writing
from music.catalog.tables import Base
from recsys.errors import BadInput, NotReady

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys
import polars as pl
from music.catalog import Catalog
from recsys.ids import public_id
catalog = Catalog.open(sys.argv[1])
for i in range(8):
    catalog.write({"artists": pl.DataFrame({"artist_id": [public_id(sys.argv[2], str(i))], "name": ["x"]})})
    catalog.tables()
"""


def test_migrations_lead_to_exactly_the_models(url: str) -> None:
    engine = connect(url)
    upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_migrations_can_be_undone(url: str) -> None:
    engine = connect(url)
    upgrade(engine)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    upgrade(engine)
    assert "tracks" in inspect(engine).get_table_names()


def test_a_catalog_of_a_newer_version_is_refused(url: str) -> None:
    catalog = Catalog.open(url)
    with writing(catalog.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NotReady, match="update recsys"):
        Catalog.open(url)


@pytest.mark.parametrize("url", ["not a url", "nosuchdb://host/db"])
def test_an_unusable_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(BadInput, match="cannot open catalog") as error:
        Catalog.open(url)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_text("these are not the bytes you are looking for" * 100)
    with pytest.raises(BadInput, match="cannot open catalog") as error:
        Catalog.open(f"sqlite:///{tmp_path}/catalog.sqlite")
    assert "\n" not in str(error.value)


def test_several_processes_open_and_write_one_new_catalog(url: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, name], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for name in ("a", "b", "c")
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors[-2000:]
    catalog = Catalog.open(url)
    assert catalog.tables()["artists"].height == 24
    assert catalog.revision() == 24
