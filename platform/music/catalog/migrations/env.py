"""Alembic's entry: runs migrations on the connection that music.catalog.database.upgrade hands over.

A new one: `alembic --config platform/music/catalog/migrations/alembic.ini revision --autogenerate -m "what"`.
"""

from alembic import context
from sqlalchemy import Connection, create_engine

from music.catalog.tables import Base


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url", "")).connect() as own:
        _run(own)
