"""What became of blobs that were removed, what may not be, how pictures look, how large all is."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    # Written before the bytes go; removed_at is null until they are gone.
    """CREATE TABLE am.blob_removed (
        user_id text NOT NULL,
        blob_key text NOT NULL,
        sha256 text NOT NULL,
        byte_count bigint NOT NULL,
        media_type text NOT NULL,
        stored_at timestamptz NOT NULL,
        stream text NOT NULL,
        begin_at timestamptz NOT NULL,
        end_at timestamptz NOT NULL,
        reason text NOT NULL,
        kept_key text,
        decided_at timestamptz NOT NULL DEFAULT now(),
        removed_at timestamptz,
        PRIMARY KEY (user_id, blob_key)
    )""",
    "CREATE INDEX blob_removed_open ON am.blob_removed (decided_at) WHERE removed_at IS NULL",
    # blobs/<user>/<stream>/<day>/<sha256>: counted from the end, whatever the user is called.
    "CREATE INDEX blob_by_day ON am.blob "
    "(split_part(blob_key, '/', -3), split_part(blob_key, '/', -2))",
    # A hold that is let go stays on record.
    """CREATE TABLE am.legal_hold (
        hold_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id text NOT NULL,
        stream text,
        begin_at timestamptz,
        end_at timestamptz,
        reason text NOT NULL CHECK (reason <> ''),
        created_at timestamptz NOT NULL DEFAULT now(),
        released_at timestamptz,
        CHECK (begin_at IS NULL OR end_at IS NULL OR begin_at < end_at)
    )""",
    "CREATE INDEX legal_hold_by_user ON am.legal_hold (user_id) WHERE released_at IS NULL",
    # Null: bytes that are no picture. Measured once, because that reads the whole blob.
    """CREATE TABLE am.blob_look (
        user_id text NOT NULL,
        blob_key text NOT NULL,
        look bytea,
        PRIMARY KEY (user_id, blob_key)
    )""",
    """CREATE TABLE am.store_size (
        day date NOT NULL,
        stream text NOT NULL,
        tier text NOT NULL,
        row_count bigint,
        byte_count bigint NOT NULL,
        json_bytes bigint,
        measured_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (day, stream, tier)
    )""",
)
OWNED = ("blob_removed", "legal_hold", "blob_look")


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table in OWNED:
        op.execute(f"ALTER TABLE am.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_rows ON am.{table} FOR SELECT TO am_reader "
            "USING (user_id = current_setting('app.user_id', true))"
        )
        op.execute(f"GRANT SELECT ON am.{table} TO am_reader")
