"""Devices, tokens, the landing ledger, dead letters, work items, receipts of publication.

The streams' own tables are not here: they follow from the registry after every migration.
"""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS am",
    """DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'am_reader') THEN
            CREATE ROLE am_reader NOLOGIN;
        END IF;
    END $$""",
    "GRANT am_reader TO CURRENT_USER",
    "GRANT USAGE ON SCHEMA am TO am_reader",
    """CREATE TABLE am.device (
        user_id text NOT NULL,
        device_id text NOT NULL,
        name text,
        device_type text,
        platform text,
        tz_offset_min bigint,
        metadata jsonb,
        is_active boolean NOT NULL DEFAULT true,
        first_seen_at timestamptz NOT NULL DEFAULT now(),
        last_seen_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, device_id)
    )""",
    """CREATE TABLE am.api_token (
        token_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        token_sha256 bytea NOT NULL UNIQUE,
        user_id text NOT NULL,
        device_id text,
        scopes text[] NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        last_used_at timestamptz,
        revoked_at timestamptz
    )""",
    """CREATE TABLE am.landing (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        batch_id uuid NOT NULL,
        user_id text NOT NULL,
        device_id text NOT NULL,
        stream text NOT NULL,
        day date NOT NULL,
        door text NOT NULL,
        received bigint NOT NULL,
        stored bigint NOT NULL,
        duplicate bigint NOT NULL,
        rejected bigint NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        CHECK (received = stored + duplicate + rejected)
    )""",
    "CREATE INDEX landing_in_commit_order ON am.landing (xid, seq)",
    "CREATE INDEX landing_by_day ON am.landing (day, stream)",
    """CREATE TABLE am.dead_letter (
        dead_letter_id uuid PRIMARY KEY,
        user_id text NOT NULL,
        device_id text NOT NULL,
        stream text NOT NULL,
        day date NOT NULL,
        door text NOT NULL,
        code text NOT NULL,
        reason text NOT NULL,
        payload bytea,
        payload_key text,
        times_seen bigint NOT NULL DEFAULT 1,
        state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed')),
        received_at timestamptz NOT NULL DEFAULT now(),
        last_seen_at timestamptz NOT NULL DEFAULT now(),
        replayed_at timestamptz,
        CHECK ((payload IS NULL) <> (payload_key IS NULL))
    )""",
    "CREATE INDEX dead_letter_by_day ON am.dead_letter (user_id, day)",
    """CREATE TABLE am.seen (
        user_id text NOT NULL,
        device_id text NOT NULL,
        stream text NOT NULL,
        event_id uuid NOT NULL,
        ts timestamptz NOT NULL,
        seen_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, device_id, stream, event_id)
    )""",
    """CREATE TABLE am.work_item (
        enrichment text NOT NULL,
        version bigint NOT NULL,
        user_id text NOT NULL,
        item_id uuid NOT NULL,
        source_stream text NOT NULL,
        device_id text NOT NULL,
        day date NOT NULL,
        ts timestamptz NOT NULL,
        fingerprint text NOT NULL DEFAULT '',
        state text NOT NULL DEFAULT 'pending'
            CHECK (state IN ('pending', 'running', 'done', 'empty', 'failed', 'blocked')),
        attempts bigint NOT NULL DEFAULT 0,
        reason text,
        derived_rows bigint,
        worker_pid integer,
        worker_started timestamptz,
        run_id text,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (enrichment, version, user_id, item_id)
    )""",
    """CREATE INDEX work_item_open ON am.work_item (enrichment, version, day, ts DESC)
        WHERE state IN ('pending', 'running', 'blocked')""",
    """CREATE TABLE am.publication (
        stream text NOT NULL,
        day date NOT NULL,
        row_count bigint NOT NULL,
        checksum text NOT NULL,
        delta_version bigint NOT NULL,
        run_id text NOT NULL,
        published_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (stream, day)
    )""",
)
OWNED = ("device", "landing", "dead_letter", "work_item")


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
