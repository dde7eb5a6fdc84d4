"""A receipt says over which columns it was computed, so that it stays true when one is added."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS: tuple[str, ...] = (
    "ALTER TABLE am.publication ADD COLUMN columns text[]",
    # Until now a checksum was one over whole rows, as the table had them.
    """UPDATE am.publication AS p SET columns = (
        SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute AS a
        WHERE a.attrelid = to_regclass('am.' || replace(p.stream, '.', '_'))
            AND a.attnum > 0 AND NOT a.attisdropped
    )""",
    # Which days may leave, and which have, is asked every night and by every reader.
    """CREATE INDEX publication_left ON am.publication (stream, day)
        WHERE left_hot_at IS NOT NULL""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
