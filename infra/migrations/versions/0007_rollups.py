"""Which days are rolled up, as of which receipt; roll-ups themselves follow from the registry."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    """CREATE TABLE am.rollup_day (
        stream text NOT NULL,
        day date NOT NULL,
        checksum text NOT NULL,
        definition text NOT NULL,
        made_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (stream, day)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
