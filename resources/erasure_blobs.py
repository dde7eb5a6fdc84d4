"""Erasure in the object store: blobs, pieces of uploads, payloads that nothing names any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import sql

from am_assets.streams.registry import Registry
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.erasure_lake import LakeErasure
from resources.erasure_rows import Scope, note_table, noted
from resources.hot import table_of
from resources.removals import removing

FOLDERS = ("blobs", "uploads", "dead_letters")  # each has a folder a user
AT_ONCE = 500
# Day and stream are counted from the end, whatever the user is called.
_OF_WHOLE_DAYS = """
SELECT blob_key FROM am.blob WHERE user_id = %(user)s
    AND split_part(blob_key, '/', -2) BETWEEN %(first)s::text AND %(last)s::text
"""
_BYTES = """
SELECT count(DISTINCT blob_key), coalesce(sum(byte_count), 0)::bigint FROM am.blob
WHERE user_id = %s AND blob_key = ANY(%s)
"""
LISTS = ("blob", "blob_look", "blob_removed")  # of keys, each with its user


@dataclass(frozen=True)
class Removed:
    """How many objects, and how many bytes the blobs among them had as they were sent."""

    object_count: int
    byte_count: int


class BlobErasure:
    """What of a span is in the object store, and its removal."""

    def __init__(
        self, connections: Connections, registry: Registry, *, blobs: BlobStore, lake: LakeErasure
    ) -> None:
        """Connects to nothing yet."""
        self._connections = connections
        self._streams = [stream for stream in registry.values() if stream.blob]
        self._blobs = blobs
        self._lake = lake

    def count(self, connection: psycopg.Connection, scope: Scope) -> Removed:
        """The blobs that rows of the span name, as far as rows are in the database, and the rest
        of its whole days.
        """
        keys = {
            key
            for stream in self._streams
            for (key,) in connection.execute(
                sql.SQL(
                    "SELECT DISTINCT blob_key FROM {} "
                    "WHERE user_id = %(user)s AND ts >= %(begin)s AND ts < %(end)s"
                ).format(table_of(stream)),
                scope.values(),
            )
        }
        keys |= self._of_whole_days(connection, scope)
        return self._weighed(connection, scope.user_id, sorted(keys))

    def remove(self, scope: Scope, erasure_id: UUID) -> Removed:
        """Remove what was noted and what is of whole days, but for what a row still names."""
        with (
            removing(self._connections.database_url),
            psycopg.connect(self._connections.database_url, autocommit=True) as connection,
        ):
            found = {name for name, _, _ in noted(connection, erasure_id, "blob")}
            found |= self._of_whole_days(connection, scope)
            folders = [f"{name}/{scope.user_id}/" for name in FOLDERS] if scope.is_whole else []
            folders += [key for key in found if key.endswith("/")]
            keys = {key for key in found if not key.endswith("/")}
            keys.update(*map(self._blobs.listed, folders))
            keys -= self._still_named(connection, scope.user_id, sorted(keys))
            weighed = self._weighed(connection, scope.user_id, sorted(keys))
            self._blobs.remove_all(sorted(keys))
            self._forget(connection, scope, sorted(keys), erasure_id)
        return Removed(len(keys), weighed.byte_count)

    def _of_whole_days(self, connection: psycopg.Connection, scope: Scope) -> set[str]:
        """Also blobs that no row ever named."""
        values = scope.values()
        rows = connection.execute(_OF_WHOLE_DAYS, {**values, **_as_text(values)}).fetchall()
        cut = {day.isoformat() for day in scope.cut_days()}
        return {key for (key,) in rows if key.split("/")[-2] not in cut}

    def _still_named(
        self, connection: psycopg.Connection, user_id: str, keys: Sequence[str]
    ) -> set[str]:
        named: set[str] = set()
        for stream in self._streams:
            query = sql.SQL("SELECT blob_key FROM {} WHERE user_id = %s AND blob_key = ANY(%s)")
            rows = connection.execute(query.format(table_of(stream)), (user_id, list(keys)))
            named |= {key for (key,) in rows}
            named |= self._lake.keys_still_named(stream, user_id, keys)
        letters = connection.execute(
            "SELECT payload_key FROM am.dead_letter WHERE user_id = %s AND payload_key = ANY(%s)",
            (user_id, list(keys)),
        )
        return named | {key for (key,) in letters}

    def _forget(
        self,
        connection: psycopg.Connection,
        scope: Scope,
        keys: Sequence[str],
        erasure_id: UUID,
    ) -> None:
        for table in LISTS:
            where = "true" if scope.is_whole else "blob_key = ANY(%(keys)s)"
            done = connection.execute(
                f"DELETE FROM am.{table} WHERE user_id = %(user)s AND {where}".encode(),
                {"user": scope.user_id, "keys": list(keys)},
            )
            if done.rowcount:
                note_table(connection, erasure_id, f"am.{table}")

    def _weighed(
        self, connection: psycopg.Connection, user_id: str, keys: Sequence[str]
    ) -> Removed:
        row = connection.execute(_BYTES, (user_id, list(keys))).fetchone()
        assert row is not None
        return Removed(*row)


def _as_text(values: dict[str, object]) -> dict[str, str]:
    return {name: str(values[name]) for name in ("first", "last")}
