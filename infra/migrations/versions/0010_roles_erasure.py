"""The roles that read and write besides AM itself, each held to one user; and what was erased."""

from alembic import op

revision = "0010"
down_revision = "0009"

# am_reader, which is there already, is the owner of the rows: it sees all of one user's.
ROLES = ("am_agent", "am_analyst", "am_device", "am_operator")
ROLE = """DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
    IF NOT pg_has_role(current_user, '{role}', 'SET') THEN
        GRANT {role} TO CURRENT_USER;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this server makes it at the same time
END $$"""
AGENT_READS = """DO $$ BEGIN
    IF NOT pg_has_role('am_agent', 'am_reader', 'USAGE') THEN
        GRANT am_reader TO am_agent;
    END IF;
END $$"""
# Steps are done in their own transactions; `steps` holds each one's counts. Never any content.
ERASURE = (
    """CREATE TABLE am.erasure (
        erasure_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id text NOT NULL,
        begin_ts timestamptz,
        end_ts timestamptz,
        asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        steps jsonb NOT NULL DEFAULT '{}',
        finished_at timestamptz,
        receipt jsonb,
        CHECK (begin_ts < end_ts)
    )""",
    "CREATE UNIQUE INDEX erasure_unfinished ON am.erasure (user_id) WHERE finished_at IS NULL",
    # What a later step still has to look at: keys of blobs, days of the lake; empty at the end.
    """CREATE TABLE am.erasure_todo (
        erasure_id uuid NOT NULL REFERENCES am.erasure ON DELETE CASCADE,
        kind text NOT NULL CHECK (kind IN ('blob', 'count', 'day', 'left', 'source', 'table')),
        name text NOT NULL,
        detail text NOT NULL DEFAULT '',
        row_count bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (erasure_id, kind, name, detail)
    )""",
    "ALTER TABLE am.erasure_todo ENABLE ROW LEVEL SECURITY",  # nobody's but AM's own
)
NEWLY_OWNED = ("api_token", "seen", "trust", "blob_upload", "invite", "erasure")
ALREADY_OWNED = (
    *("device", "landing", "dead_letter", "work_item"),
    *("device_alias", "notification", "notification_delivery"),
    *("blob", "audit", "watch_bucket"),
)
OWN_ROWS = """CREATE POLICY own_rows ON am.{table} FOR SELECT
    USING (user_id = current_setting('app.user_id', true))"""
PARTS = (
    "ALTER TABLE am.blob_upload_part ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY own_rows ON am.blob_upload_part FOR SELECT USING (EXISTS (
        SELECT FROM am.blob_upload AS u WHERE u.upload_id = blob_upload_part.upload_id
            AND u.user_id = current_setting('app.user_id', true)
    ))""",
)
# Operations without content: no payloads, no reasons (they quote), no hashes of secrets.
OPERATOR_SEES = {
    "landing": None,
    "blob": None,
    "audit": None,
    "erasure": None,
    "notification_delivery": None,
    "device": (
        "user_id, device_id, device_type, platform, app_version, tz_offset_min, is_active, "
        "first_seen_at, last_seen_at, last_data_at"
    ),
    "dead_letter": (
        "dead_letter_id, user_id, device_id, stream, day, door, code, payload_key, times_seen, "
        "state, received_at, last_seen_at, replayed_at"
    ),
    "work_item": (
        "enrichment, version, user_id, item_id, source_stream, device_id, day, ts, state, "
        "attempts, derived_rows, worker_pid, worker_started, run_id, updated_at"
    ),
    "api_token": "token_id, user_id, device_id, scopes, created_at, last_used_at, revoked_at",  # nosec B105
    "trust": "trust_id, user_id, network, device_id, created_at, last_used_at, removed_at",
    "blob_upload": None,
}
GRANTS = (
    "GRANT USAGE ON SCHEMA am TO am_agent, am_analyst, am_device, am_operator",
    "GRANT SELECT ON am.erasure TO am_reader",
    "GRANT SELECT ON am.device, am.device_alias, am.device_identity, am.landing TO am_analyst",
    "GRANT SELECT (stream, day, delta_version, left_hot_at) ON am.publication TO am_analyst",
    "GRANT SELECT ON am.publication TO am_operator",
)


def upgrade() -> None:
    for role in ROLES:
        op.execute(ROLE.format(role=role))
    for statement in (AGENT_READS, *ERASURE, *PARTS):
        op.execute(statement)
    for table in NEWLY_OWNED:
        op.execute(f"ALTER TABLE am.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(OWN_ROWS.format(table=table))
    for table in ALREADY_OWNED:
        op.execute(f"ALTER POLICY own_rows ON am.{table} TO PUBLIC")
    for table, columns in OPERATOR_SEES.items():
        shown = f" ({columns})" if columns else ""
        op.execute(f"GRANT SELECT{shown} ON am.{table} TO am_operator")
        op.execute(f"CREATE POLICY every_row ON am.{table} FOR SELECT TO am_operator USING (true)")
    for statement in GRANTS:
        op.execute(statement)
