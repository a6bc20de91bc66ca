"""Changes that readers can follow: when a track was added, what it was before each change; and the tier flag."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds `premium` and `added` to the tracks, and the table of earlier states."""
    op.add_column("tracks", sa.Column("premium", sa.Boolean()))
    op.add_column("tracks", sa.Column("added", sa.Integer()))
    op.create_index("ix_tracks_added", "tracks", ["added"])
    op.create_table(
        "track_history",
        sa.Column("revision", sa.Integer(), autoincrement=False),
        sa.Column("track_id", sa.String(22)),
        sa.Column("before", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("revision", "track_id", name="pk_track_history"),
        sa.ForeignKeyConstraint(["track_id"], ["tracks.track_id"], name="fk_track_history_track_id"),
    )


def downgrade() -> None:
    """Takes them away again."""
    op.drop_table("track_history")
    op.drop_index("ix_tracks_added", "tracks")
    op.drop_column("tracks", "added")
    op.drop_column("tracks", "premium")
