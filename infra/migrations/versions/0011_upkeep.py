"""What the upkeep of the lake has seen of each table, so that what did not change is left alone."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS: tuple[str, ...] = (
    # No user's rows: which version of a table was put in order, and from when on files that no
    # version needs may be removed (null = there are none).
    """CREATE TABLE am.lake_upkeep (
        stream text PRIMARY KEY,
        delta_version bigint NOT NULL,
        vacuum_at timestamptz,
        kept_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
