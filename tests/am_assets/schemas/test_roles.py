"""Each role sees and does what it should, in every table that holds people's rows.

Two users whose names differ by one character, and one whose name begins with the other's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Json

from am_assets.schemas import roles
from am_assets.schemas.columns import Column, ColumnType, columns
from am_assets.schemas.postgres import qualified
from am_assets.schemas.rollups import rollup_tables
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Sensitivity, Stream
from infra.migrate import has_timescale
from resources.connections import Connections
from resources.hot import table_of

USERS = ("ann", "anm", "ann2")
AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
STREAMS = tuple(REGISTRY.values())
SECRET = {one.table for one in STREAMS if one.sensitivity is Sensitivity.SECRET}
COMMANDS = {one.table for one in STREAMS if roles.is_command(one)}
RAW = {one.table for one in REGISTRY.raw}
ALL = {one.table for one in STREAMS}
DENIED = psycopg.errors.InsufficientPrivilege
VALUES: dict[ColumnType, Any] = {
    ColumnType.TEXT: "x",
    ColumnType.INTEGER: 1,
    ColumnType.REAL: 1.0,
    ColumnType.BOOLEAN: True,
    ColumnType.INSTANT: AT,
    ColumnType.JSON: Json({}),
}
# One row of each user in the tables that are not streams', in an order that foreign keys allow.
OTHERS = {
    "device": "(user_id, device_id) VALUES (%(user)s, 'd'), (%(user)s, 'old')",
    "device_alias": "(user_id, alias_id, canonical_id) VALUES (%(user)s, 'old', 'd')",
    "api_token": "(token_sha256, user_id, scopes) VALUES (%(bytes)s, %(user)s, '{read}')",
    "invite": "(code_sha256, user_id, expires_at) VALUES (%(bytes)s, %(user)s, now())",
    "trust": "(user_id, network) VALUES (%(user)s, '10.0.0.0/8')",
    "landing": (
        "(batch_id, user_id, device_id, stream, day, door, received, stored, duplicate, rejected) "
        "VALUES (%(id)s, %(user)s, 'd', 's', '2026-05-04', 't', 1, 1, 0, 0)"
    ),
    "dead_letter": (
        "(dead_letter_id, user_id, device_id, stream, day, door, code, reason, payload) "
        "VALUES (%(id)s, %(user)s, 'd', 's', '2026-05-04', 't', 'c', 'r', 'p')"
    ),
    "seen": (
        "(user_id, device_id, stream, event_id, ts) VALUES (%(user)s, 'd', 's', %(id)s, now())"
    ),
    "work_item": (
        "(enrichment, version, user_id, item_id, source_stream, device_id, day, ts) "
        "VALUES ('e', 1, %(user)s, %(id)s, 's', 'd', '2026-05-04', now())"
    ),
    "notification": (
        "(user_id, title, body, data, priority, expires_at) "
        "VALUES (%(user)s, 't', 'b', '{}', 'low', now())"
    ),
    "notification_delivery": (
        "(notification_id, user_id, device_id) "
        "SELECT notification_id, user_id, 'd' FROM am.notification WHERE user_id = %(user)s"
    ),
    "blob": (
        "(user_id, sha256, blob_key, byte_count, media_type) VALUES (%(user)s, 'a', 'k', 1, 'm')"
    ),
    "blob_upload": (
        "(upload_id, user_id, stream, day, sha256, media_type, is_presigned, expires_at) "
        "VALUES (%(id)s, %(user)s, 's', '2026-05-04', 'a', 'm', false, now())"
    ),
    "blob_upload_part": (
        "(upload_id, part, byte_count, sha256) "
        "SELECT upload_id, 1, 1, 'a' FROM am.blob_upload WHERE user_id = %(user)s"
    ),
    "audit": ("(user_id, token_id, route, kind, status) VALUES (%(user)s, %(id)s, 'r', 'k', 200)"),
    "watch_bucket": (
        "(user_id, bucket_id, device_id, type, client, hostname) "
        "VALUES (%(user)s, 'b', 'd', 't', 'c', 'h')"
    ),
    "erasure": "(user_id) VALUES (%(user)s)",
}
NOT_FOR_READERS = {"api_token", "invite", "trust", "seen", "blob_upload", "blob_upload_part"}
FOR_ANALYSTS = {"device", "device_alias", "landing"}
FOR_OPERATORS = {
    *("landing", "blob", "audit", "erasure", "notification_delivery", "device", "dead_letter"),
    *("work_item", "api_token", "trust", "blob_upload"),
}


@pytest.fixture(scope="module")
def planted(connections: Connections) -> Iterator[psycopg.Connection]:
    """A row of each user in every table; whatever a test writes is undone."""
    with psycopg.connect(connections.database_url) as connection:
        for user in USERS:
            for stream in STREAMS:
                insert(connection, stream, user)
            for table, words in OTHERS.items():
                values = {"user": user, "id": uuid4(), "bytes": uuid4().bytes}
                connection.execute(f"INSERT INTO am.{table} {words}".encode(), values)
        connection.commit()
        yield connection
        connection.rollback()


def insert(
    connection: psycopg.Connection, stream: Stream, user: str, *, device_id: str = "d"
) -> None:
    row = {
        column.name: value(column)
        for column in columns(stream)
        if not column.is_nullable or column.name in stream.columns
    }
    row |= {"user_id": user, "device_id": device_id, "ts": AT}
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table_of(stream),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(map(sql.Placeholder, row)),
        ),
        row,
    )


def value(column: Column) -> Any:
    return uuid4() if column.type is ColumnType.UUID else VALUES[column.type]


@contextmanager
def acting(
    connection: psycopg.Connection, role: str, user: str | None, *, device: str = ""
) -> Iterator[None]:
    """As a role with one user; nothing that is done stays."""
    with connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL ROLE {role}".encode())
        if user is not None:
            connection.execute("SELECT set_config('app.user_id', %s, true)", (user,))
        connection.execute("SELECT set_config('app.device_id', %s, true)", (device,))
        yield


def users_in(connection: psycopg.Connection, table: str) -> set[str] | None:
    """Whose rows are seen; None: reading is refused."""
    try:
        with connection.transaction():
            rows = connection.execute(f"SELECT user_id FROM am.{table}".encode())
            return {user for (user,) in rows}
    except DENIED:
        return None


def seen(connection: psycopg.Connection, role: str, user: str | None) -> dict[str, set[str] | None]:
    with acting(connection, role, user):
        names = [*ALL, *(name for name in OTHERS if name != "blob_upload_part")]
        return {name: users_in(connection, name) for name in names}


def can_insert(
    connection: psycopg.Connection, stream: Stream, user: str, *, device_id: str = "d"
) -> bool:
    try:
        with connection.transaction():
            insert(connection, stream, user, device_id=device_id)
    except psycopg.Error as error:  # of a view's own check, where the table has no row security
        if not isinstance(error, (DENIED, psycopg.errors.WithCheckOptionViolation)):
            raise
        return False
    return True


@pytest.mark.parametrize("role", [roles.READER, roles.AGENT])
def test_owner_and_agent_see_every_table_of_one_user_and_of_nobody_else(
    role: str, planted: psycopg.Connection
) -> None:
    for user in USERS:
        found = seen(planted, role, user)
        wrong = {
            name: users
            for name, users in found.items()
            if users != (None if name in NOT_FOR_READERS else {user})
        }
        assert wrong == {}, user


@pytest.mark.parametrize("user", [None, "", "an", "an_", "ann%", "ANN"])
def test_without_a_user_or_with_another_nobody_sees_anything(
    user: str | None, planted: psycopg.Connection
) -> None:
    for role in (roles.READER, roles.AGENT, roles.ANALYST):
        found = seen(planted, role, user)
        assert {name: users for name, users in found.items() if users} == {}, role


def test_an_analyst_sees_no_secret_stream_no_dead_letter_and_no_timeline(
    planted: psycopg.Connection,
) -> None:
    found = seen(planted, roles.ANALYST, "ann")
    assert {name for name, users in found.items() if users == {"ann"}} == (
        ALL - SECRET | FOR_ANALYSTS
    )
    assert {name for name, users in found.items() if users is None} == (
        SECRET | set(OTHERS) - FOR_ANALYSTS - {"blob_upload_part"}
    )
    with acting(planted, roles.ANALYST, "ann"):
        assert users_in(planted, "timeline") is None
        rolled_up = {one.sensitivity: rollup_tables(one) for one in STREAMS if rollup_tables(one)}
        assert users_in(planted, rolled_up[Sensitivity.PRIVATE][0]) is not None
        assert users_in(planted, rolled_up[Sensitivity.SECRET][0]) is None


def test_a_device_reads_nothing_and_adds_its_own_rows_to_raw_streams_alone(
    planted: psycopg.Connection,
) -> None:
    assert {users is None for users in seen(planted, roles.DEVICE, "ann").values()} == {True}
    with acting(planted, roles.DEVICE, "ann", device="d"):
        taken = {one.table for one in STREAMS if can_insert(planted, one, "ann")}
        others = {one.table for one in STREAMS if can_insert(planted, one, "anm")}
        of_others = {one.table for one in STREAMS if can_insert(planted, one, "ann", device_id="e")}
    assert taken == RAW - COMMANDS
    assert others == of_others == set()


def test_the_agent_gives_commands_of_its_user_and_writes_nothing_else(
    planted: psycopg.Connection,
) -> None:
    with acting(planted, roles.AGENT, "ann"):
        taken = {one.table for one in STREAMS if can_insert(planted, one, "ann")}
        others = {one.table for one in STREAMS if can_insert(planted, one, "ann2")}
    assert taken == COMMANDS
    assert others == set()


def test_nobody_but_the_agent_and_devices_writes_and_nobody_changes_or_removes(
    planted: psycopg.Connection,
) -> None:
    names = [*ALL, *OTHERS]
    rights = [
        (role, name, right)
        for role in roles.LIMITED
        for name in names
        for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    ]
    (held,) = planted.execute(
        "SELECT array_agg(DISTINCT role || ' ' || r) "
        "FROM unnest(%s::text[], %s::text[], %s::text[]) AS t (role, name, r) "
        "WHERE has_table_privilege(role, 'am.' || name, r)",
        tuple(map(list, zip(*rights, strict=True))),
    ).fetchone() or ((),)
    assert sorted(held) == [f"{roles.AGENT} INSERT", f"{roles.DEVICE} INSERT"]


def test_an_operator_sees_everybodys_counts_and_no_content(planted: psycopg.Connection) -> None:
    found = seen(planted, roles.OPERATOR, None)
    assert {name for name, users in found.items() if users} == FOR_OPERATORS
    assert {frozenset(found[name] or ()) for name in FOR_OPERATORS} == {frozenset(USERS)}
    hidden = {
        "dead_letter": ("payload", "reason", "request"),
        "work_item": ("reason", "fingerprint"),
        "api_token": ("token_sha256",),
        "trust": ("key_sha256",),
        "device": ("name", "metadata", "service_config"),
    }
    with acting(planted, roles.OPERATOR, None):
        for table, names in hidden.items():
            for name in names:
                with pytest.raises(DENIED), planted.transaction():
                    planted.execute(f"SELECT {name} FROM am.{table}".encode())


def test_every_table_with_users_is_held_to_one_user_whoever_may_read_it_later(
    planted: psycopg.Connection,
) -> None:
    open_tables = planted.execute(
        "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'am'::regnamespace AND a.attname = 'user_id' "
        "AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT c.relrowsecurity"
    ).fetchall()
    assert open_tables == []
    if has_timescale(planted):
        return  # the streams' own tables are out of everybody's reach there, see the next test
    without = planted.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS (SELECT FROM pg_policy "
        "WHERE polrelid = name::regclass AND polroles = '{0}')",
        ([qualified(one) for one in STREAMS],),
    ).fetchall()
    assert without == []


@pytest.mark.parametrize("role", [roles.READER, roles.ANALYST, roles.DEVICE])
def test_a_login_of_ones_own_that_is_in_a_role_is_held_to_one_user_as_well(
    role: str, planted: psycopg.Connection
) -> None:
    with planted.transaction(force_rollback=True):
        name = f"login_{uuid4().hex[:8]}"
        planted.execute(f"CREATE ROLE {name} IN ROLE {role}".encode())
        planted.execute(f"GRANT {name} TO CURRENT_USER WITH SET TRUE".encode())
        with acting(planted, name, "ann", device="d"):
            own = None if role == roles.DEVICE else {"ann"}
            assert users_in(planted, "device_sensor_gps_raw") == own
            gps = REGISTRY["device.sensor.gps.raw"]
            assert can_insert(planted, gps, "ann") == (role == roles.DEVICE)
            assert not can_insert(planted, gps, "anm")
            assert not can_insert(planted, gps, "ann", device_id="e")


def test_what_is_behind_the_views_of_timescaledb_is_out_of_reach(
    planted: psycopg.Connection,
) -> None:
    reachable = planted.execute(
        "SELECT role, n.nspname, c.relname FROM unnest(%s::text[]) AS role, pg_class AS c "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname LIKE 'am\\_%%' "
        "AND c.relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege(role, c.oid, 'SELECT')",
        (list(roles.LIMITED),),
    ).fetchall()
    assert reachable == []


def test_parts_of_uploads_are_seen_with_their_upload(planted: psycopg.Connection) -> None:
    with planted.transaction(force_rollback=True):
        planted.execute("GRANT SELECT ON am.blob_upload, am.blob_upload_part TO am_reader")
        with acting(planted, roles.READER, "ann"):
            rows = planted.execute(
                "SELECT user_id FROM am.blob_upload_part JOIN am.blob_upload USING (upload_id)"
            ).fetchall()
            count = planted.execute("SELECT count(*) FROM am.blob_upload_part").fetchone()
    assert (rows, count) == ([("ann",)], (1,))
