"""Events that grow, requests that can be read again, and ActivityWatch's buckets."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    # Of the duplicates, those that told their event longer: its day has to be published again.
    "ALTER TABLE am.landing ADD COLUMN grown bigint NOT NULL DEFAULT 0",
    # What an app's adapter has to know besides the body, without tokens.
    "ALTER TABLE am.dead_letter ADD COLUMN request jsonb",
    """CREATE TABLE am.watch_bucket (
        user_id text NOT NULL,
        bucket_id text NOT NULL,
        device_id text NOT NULL,
        type text NOT NULL,
        client text NOT NULL,
        hostname text NOT NULL,
        name text,
        data jsonb,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, bucket_id)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute("ALTER TABLE am.watch_bucket ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY own_rows ON am.watch_bucket FOR SELECT TO am_reader "
        "USING (user_id = current_setting('app.user_id', true))"
    )
    op.execute("GRANT SELECT ON am.watch_bucket TO am_reader")
