"""What a device tells of itself, which ids are one device, whom the owner trusts without a token,
and the notifications that AM sends to devices.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    # last_seen_at is any sign of life, last_data_at the last row. Until now only rows counted.
    """ALTER TABLE am.device
        ADD COLUMN model text,
        ADD COLUMN manufacturer text,
        ADD COLUMN os_version text,
        ADD COLUMN app_version text,
        ADD COLUMN service_name text,
        ADD COLUMN service_config jsonb,
        ADD COLUMN tags text[],
        ADD COLUMN last_data_at timestamptz,
        ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now()""",
    """UPDATE am.device SET last_data_at = last_seen_at, created_at = first_seen_at,
        updated_at = first_seen_at""",
    """CREATE TABLE am.device_alias (
        user_id text NOT NULL,
        alias_id text NOT NULL,
        canonical_id text NOT NULL,
        merged_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, alias_id),
        FOREIGN KEY (user_id, alias_id) REFERENCES am.device (user_id, device_id)
            ON DELETE CASCADE,
        FOREIGN KEY (user_id, canonical_id) REFERENCES am.device (user_id, device_id)
            ON DELETE CASCADE,
        CHECK (alias_id <> canonical_id)
    )""",
    "CREATE INDEX device_alias_by_canonical ON am.device_alias (user_id, canonical_id)",
    # Rows keep the id they were sent with; whoever reads joins this to see one device as one.
    """CREATE VIEW am.device_identity WITH (security_invoker = true) AS
        SELECT d.user_id, d.device_id, coalesce(a.canonical_id, d.device_id) AS canonical_id
        FROM am.device d LEFT JOIN am.device_alias a
            ON a.user_id = d.user_id AND a.alias_id = d.device_id""",
    "GRANT SELECT ON am.device_identity TO am_reader",
    """CREATE TABLE am.trust (
        trust_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id text NOT NULL,
        network cidr NOT NULL,
        device_id text,
        key_sha256 bytea,
        created_at timestamptz NOT NULL DEFAULT now(),
        last_used_at timestamptz,
        removed_at timestamptz
    )""",
    # Integers, because phones can show nothing else; they are read as JSON numbers.
    """CREATE TABLE am.notification (
        notification_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id text NOT NULL,
        device_id text,
        title text NOT NULL,
        body text NOT NULL,
        data jsonb NOT NULL,
        priority text NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        UNIQUE (notification_id, user_id)
    )""",
    "CREATE INDEX notification_by_user ON am.notification (user_id, expires_at)",
    """CREATE TABLE am.notification_delivery (
        notification_id bigint NOT NULL,
        user_id text NOT NULL,
        device_id text NOT NULL,
        sent_at timestamptz,
        times_sent bigint NOT NULL DEFAULT 0,
        delivered_at timestamptz,
        read_at timestamptz,
        responded_at timestamptz,
        PRIMARY KEY (notification_id, device_id),
        FOREIGN KEY (notification_id, user_id)
            REFERENCES am.notification (notification_id, user_id) ON DELETE CASCADE
    )""",
)
OWNED = ("device_alias", "notification", "notification_delivery")


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
