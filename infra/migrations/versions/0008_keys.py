"""The users' data keys, wrapped; and which blobs are still in the clear or under an older key."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    # At most one of a user's keys seals new blobs; retired ones still open older blobs.
    """CREATE TABLE am.data_key (
        key_id uuid PRIMARY KEY,
        user_id text NOT NULL,
        wrapped bytea,
        master_id text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        retired_at timestamptz,
        destroyed_at timestamptz,
        CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL)),
        CHECK (destroyed_at IS NULL OR retired_at IS NOT NULL)
    )""",
    "CREATE UNIQUE INDEX data_key_current ON am.data_key (user_id) WHERE retired_at IS NULL",
    "CREATE INDEX data_key_by_user ON am.data_key (user_id)",
    # What is there already was stored in the clear; all that comes is sealed.
    "ALTER TABLE am.blob ADD COLUMN is_sealed boolean NOT NULL DEFAULT false",
    "ALTER TABLE am.blob ALTER COLUMN is_sealed SET DEFAULT true",
    "ALTER TABLE am.dead_letter ADD COLUMN is_sealed boolean NOT NULL DEFAULT false",
    "ALTER TABLE am.dead_letter ALTER COLUMN is_sealed SET DEFAULT true",
    # Null: under the key that was the user's when it was stored.
    "ALTER TABLE am.blob ADD COLUMN sealed_key_id uuid",
    "ALTER TABLE am.dead_letter ADD COLUMN sealed_key_id uuid",
    "CREATE INDEX blob_in_the_clear ON am.blob (blob_key) WHERE NOT is_sealed",
    """CREATE INDEX dead_letter_in_the_clear ON am.dead_letter (payload_key)
        WHERE NOT is_sealed AND payload_key IS NOT NULL""",
    "ALTER TABLE am.data_key ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY own_rows ON am.data_key FOR SELECT TO am_reader
        USING (user_id = current_setting('app.user_id', true))""",
    # Not `wrapped`: nobody who only reads has a use for it.
    """GRANT SELECT (key_id, user_id, master_id, created_at, retired_at, destroyed_at)
        ON am.data_key TO am_reader""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
