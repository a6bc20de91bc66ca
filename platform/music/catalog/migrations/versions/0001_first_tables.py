"""The first tables: artists, albums, tracks, their windows and aliases, and the revision counter."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_AUDIO = (
    "danceability",
    "energy",
    "valence",
    "acousticness",
    "instrumentalness",
    "speechiness",
    "liveness",
    "loudness",
    "tempo",
)


def upgrade() -> None:
    """Creates all tables and sets the revision to 0."""
    op.create_table(
        "artists",
        sa.Column("artist_id", sa.String(22)),
        sa.Column("name", sa.String()),
        sa.Column("genre", sa.String()),
        sa.PrimaryKeyConstraint("artist_id", name="pk_artists"),
    )
    op.create_table(
        "albums",
        sa.Column("album_id", sa.String(22)),
        sa.Column("title", sa.String()),
        sa.Column("artist_id", sa.String(22)),
        sa.Column("release_date", sa.Date()),
        sa.PrimaryKeyConstraint("album_id", name="pk_albums"),
        sa.ForeignKeyConstraint(["artist_id"], ["artists.artist_id"], name="fk_albums_artist_id"),
    )
    _tracks()
    op.create_table(
        "availability",
        sa.Column("track_id", sa.String(22)),
        sa.Column("number", sa.Integer()),
        sa.Column("country", sa.String(2)),
        sa.Column("available_from", sa.BigInteger()),
        sa.Column("available_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("track_id", "number", name="pk_availability"),
        sa.ForeignKeyConstraint(["track_id"], ["tracks.track_id"], name="fk_availability_track_id"),
    )
    op.create_table(
        "aliases",
        sa.Column("entity", sa.String(16)),
        sa.Column("source", sa.String(64)),
        sa.Column("foreign_id", sa.String(512)),
        sa.Column("id", sa.String(22), nullable=False),
        sa.PrimaryKeyConstraint("entity", "source", "foreign_id", name="pk_aliases"),
    )
    op.create_index("ix_aliases_entity_id", "aliases", ["entity", "id"])
    revision_table = op.create_table(
        "revision",
        sa.Column("only", sa.Integer(), autoincrement=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("only", name="pk_revision"),
    )
    op.bulk_insert(revision_table, [{"only": 1, "number": 0}])


def _tracks() -> None:
    op.create_table(
        "tracks",
        sa.Column("track_id", sa.String(22)),
        sa.Column("title", sa.String()),
        sa.Column("artist_id", sa.String(22)),
        sa.Column("album_id", sa.String(22)),
        sa.Column("genre", sa.String()),
        sa.Column("release_date", sa.Date()),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("explicit", sa.Boolean()),
        sa.Column("isrc", sa.String(32)),
        sa.Column("key", sa.Integer()),
        sa.Column("mode", sa.Integer()),
        *(sa.Column(name, sa.Double()) for name in _AUDIO),
        sa.Column("withdrawn_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("track_id", name="pk_tracks"),
        sa.ForeignKeyConstraint(["artist_id"], ["artists.artist_id"], name="fk_tracks_artist_id"),
        sa.ForeignKeyConstraint(["album_id"], ["albums.album_id"], name="fk_tracks_album_id"),
    )
    for column in ("artist_id", "isrc", "withdrawn_at"):
        op.create_index(f"ix_tracks_{column}", "tracks", [column])


def downgrade() -> None:
    """Drops all tables."""
    for table in ("revision", "aliases", "availability", "tracks", "albums", "artists"):
        op.drop_table(table)
