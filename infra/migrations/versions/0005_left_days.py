"""The receipt of a published day says when the day left the database; null = it is still there."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    "ALTER TABLE am.publication ADD COLUMN left_hot_at timestamptz",
    # What `am.<table>` is made of depends on it, for every reader; it tells of no user.
    "GRANT SELECT (stream, day, delta_version, left_hot_at) ON am.publication TO am_reader",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
