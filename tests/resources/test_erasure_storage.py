"""What is deleted leaves the table's file and its statistics, or somebody is told why not."""

from uuid import uuid4

import psycopg
import pytest

from resources.erasure_storage import BusyError, rewrite
from tests.byte_search import database_folder, files_with

MANY = 100


def fill_and_empty(database: psycopg.Connection, text: str, *, kept: str | None = None) -> str:
    """A table of which all rows with a text were deleted after its statistics were made."""
    table = f"am.scratch_{uuid4().hex[:8]}"
    database.execute(f"CREATE TABLE {table} (content text)".encode())
    for one in filter(None, (text, kept)):
        database.execute(
            f"INSERT INTO {table} SELECT %s FROM generate_series(1, {MANY})".encode(), (one,)
        )
    database.execute(f"ANALYZE {table}".encode())
    database.execute(f"DELETE FROM {table} WHERE content = %s".encode(), (text,))
    return table


def quoted(database: psycopg.Connection, text: str) -> bool:
    """Whether any statistics quote a text."""
    query = "SELECT count(*) > 0 FROM pg_stats WHERE most_common_vals::text LIKE %s"
    return database.execute(query, (f"%{text}%",)).fetchone() == (True,)


@pytest.mark.parametrize("has_others", [False, True])
def test_nothing_of_it_is_in_the_file_or_the_statistics_also_when_the_table_is_empty_now(
    database_url: str, server_url: str, has_others: bool
) -> None:
    gone, kept = f"gone{uuid4().hex}", f"kept{uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as database:
        table = fill_and_empty(database, gone, kept=kept if has_others else None)
        assert quoted(database, gone)
        assert rewrite(database_url, [table, "am.no_such_table"]) == [table]
        assert not quoted(database, gone)
        assert quoted(database, kept) is has_others
        folder = database_folder(server_url, database.info.dbname)
    assert files_with(folder, gone) == []
    assert bool(files_with(folder, kept)) is has_others


def test_who_still_writes_is_waited_for_in_whatever_database_of_the_server(
    database_url: str, server_url: str
) -> None:
    """`VACUUM` copies what it could see: no snapshot is newer than the oldest writer anywhere."""
    with (
        psycopg.connect(server_url) as writer,
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        writer.execute("SELECT pg_current_xact_id()")
        table = fill_and_empty(database, "gone")
        with pytest.raises(BusyError, match=r"in the database .* end it"):
            rewrite(database_url, [table], patience_s=0)
        writer.commit()
        assert rewrite(database_url, [table]) == [table]


def test_who_only_reads_in_another_database_is_not_waited_for(
    database_url: str, server_url: str
) -> None:
    gone = f"gone{uuid4().hex}"
    with (
        psycopg.connect(server_url) as reader,
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        reader.execute("DECLARE held CURSOR FOR SELECT 1")  # holds a snapshot
        table = fill_and_empty(database, gone)
        assert rewrite(database_url, [table]) == [table]
        assert files_with(database_folder(server_url, database.info.dbname), gone) == []
