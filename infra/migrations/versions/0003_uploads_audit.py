"""Which blobs there are by their SHA-256, uploads under way, invitations, and who read what."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # The same bytes may lie under several keys: one a stream and day.
    """CREATE TABLE am.blob (
        user_id text NOT NULL,
        sha256 text NOT NULL,
        blob_key text NOT NULL,
        byte_count bigint NOT NULL,
        media_type text NOT NULL,
        stored_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, sha256, blob_key)
    )""",
    """CREATE TABLE am.blob_upload (
        upload_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id text NOT NULL,
        stream text NOT NULL,
        day date NOT NULL,
        sha256 text NOT NULL,
        media_type text NOT NULL,
        is_presigned boolean NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        finished_at timestamptz
    )""",
    "CREATE INDEX blob_upload_by_user ON am.blob_upload (user_id) WHERE finished_at IS NULL",
    "CREATE INDEX blob_upload_by_expiry ON am.blob_upload (expires_at)",
    """CREATE TABLE am.blob_upload_part (
        upload_id uuid NOT NULL REFERENCES am.blob_upload ON DELETE CASCADE,
        part bigint NOT NULL CHECK (part BETWEEN 1 AND 10000),
        byte_count bigint NOT NULL,
        sha256 text NOT NULL,
        stored_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (upload_id, part)
    )""",
    """CREATE TABLE am.invite (
        code_sha256 bytea PRIMARY KEY,
        user_id text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        used_at timestamptz,
        device_id text,
        token_id uuid REFERENCES am.api_token
    )""",
    # No content: whose data, who read, which kind, how many, and what it was answered.
    """CREATE TABLE am.audit (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT now(),
        user_id text NOT NULL,
        token_id uuid NOT NULL,
        device_id text,
        route text NOT NULL,
        kind text NOT NULL,
        item_count bigint,
        status bigint NOT NULL,
        trace_id text
    )""",
    "CREATE INDEX audit_by_user ON am.audit (user_id, at)",
)
OWNED = ("blob", "audit")


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
