"""DuckDB over a real database and a real object store."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from am_assets.schemas.columns import columns
from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.duck import (
    Duck,
    DuckOptions,
    Limits,
    NotReadOnlyError,
    QueryError,
    TimedOutError,
    TooLargeError,
    connect,
    literal,
    query,
)
from resources.lake import Lake
from resources.vectors import VectorStore
from tests.resources import moments_data
from tests.resources.rows import insert

DAY = date(2031, 3, 4)
NOON = datetime(2031, 3, 4, 12, tzinfo=UTC)
ANN, AMY, ODD = "duck ann", "duck ann2", "o'br\\ie n\"-- "


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> DuckOptions:
    return DuckOptions(extension_directory=tmp_path_factory.mktemp("extensions"))


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    """Three users' notes and heart rates, published; other streams have no Delta table."""
    for user in (ANN, AMY, ODD):
        note = {"user_id": user, "ts": NOON, "title": "Bread", "content": f"of {user}"}
        insert(connections.database_url, NOTE, [{**note, "tags": ["a", "b"]}])
        beats = [
            {"user_id": user, "ts": NOON + timedelta(seconds=n), "bpm": 60 + n} for n in (0, 1)
        ]
        insert(connections.database_url, HEART_RATE, beats)
    for stream in (NOTE, HEART_RATE):
        Lake(connections).publish(stream, DAY)
    return connections


@pytest.fixture(scope="module")
def duck(filled: Connections, options: DuckOptions) -> Iterator[Duck]:
    connection = connect(filled, REGISTRY, options=options)
    yield connection
    connection.close()


def rows(connection: Duck, text: str, **options: Any) -> list[tuple[Any, ...]]:
    table = query(connection, text, **options)
    return [tuple(row.values()) for row in table.to_pylist()]


def test_lake_and_database_answer_the_same_question_alike(duck: Duck) -> None:
    text = (
        "SELECT ts, user_id, bpm, CAST(event_id AS VARCHAR) FROM {}.am.device_health_heartrate_raw "
        "WHERE ts >= TIMESTAMPTZ '2031-03-04' AND ts < '2031-03-05' ORDER BY user_id, ts"
    )
    hot, lake = rows(duck, text.format("hot")), rows(duck, text.format("lake"))
    assert len(hot) == 6
    assert hot == lake
    assert hot[0][0] == NOON


def test_the_timelines_of_lake_and_database_are_equal(duck: Duck) -> None:
    text = (
        "SELECT ts, kind, user_id, device_id, title, body, source_table, source_id, blob_key, "
        "is_detail FROM {}.am.timeline WHERE user_id = ? ORDER BY ts, source_id"
    )
    hot, lake = (rows(duck, text.format(name), parameters=[ANN]) for name in ("hot", "lake"))
    assert [row[1] for row in lake].count("note") == 1
    assert len(lake) == 3
    # The two write a real number's text differently: 60 bpm and 60.0 bpm.
    assert [(*row[:4], *row[5:]) for row in hot] == [(*row[:4], *row[5:]) for row in lake]


@pytest.mark.parametrize("user", [ANN, AMY, ODD])
def test_a_users_connection_shows_that_users_rows_only(
    filled: Connections, options: DuckOptions, user: str
) -> None:
    with connect(filled, REGISTRY, user_id=user, options=options) as own:
        for table in ("hot.am.digital_notes_raw", "lake.am.digital_notes_raw"):
            assert rows(own, f"SELECT user_id, content FROM {table}") == [(user, f"of {user}")]
        assert rows(own, "SELECT DISTINCT user_id FROM hot.am.timeline") == [(user,)]
        assert rows(own, "SELECT DISTINCT user_id FROM lake.am.timeline") == [(user,)]


@pytest.mark.parametrize("stream", [*REGISTRY.values()], ids=lambda stream: stream.name)
def test_every_stream_has_a_view_with_its_columns_published_or_not(
    duck: Duck, stream: Stream
) -> None:
    described = rows(duck, f"DESCRIBE lake.am.{stream.table}")
    assert [row[0] for row in described] == [*(column.name for column in columns(stream)), "day"]
    timestamp = next(row for row in described if row[0] == "ts")
    assert timestamp[1] == "TIMESTAMP WITH TIME ZONE"


def test_a_stream_that_was_never_published_is_empty_not_an_error(duck: Duck) -> None:
    assert rows(duck, f"SELECT count(*) FROM lake.am.{CLIPBOARD.table}") == [(0,)]


def test_a_column_newer_than_the_delta_table_is_null(
    filled: Connections, options: DuckOptions
) -> None:
    older = Connections(**{**vars(filled), "lake_uri": f"s3://{filled.s3_bucket}/older"})
    table = DeltaTable(Lake(filled).table_uri(NOTE), storage_options=filled.delta_options())
    write_deltalake(
        Lake(older).table_uri(NOTE),
        table.to_pyarrow_table().drop_columns(["language"]),
        partition_by=["day"],
        storage_options=filled.delta_options(),
    )
    with connect(older, REGISTRY, has_hot=False, options=options) as connection:
        found = rows(connection, "SELECT language, title FROM lake.am.digital_notes_raw")
    assert found == [(None, "Bread")] * 3


def test_json_of_both_stores_is_read_by_the_same_function(duck: Duck) -> None:
    for name in ("hot", "lake"):
        found = rows(
            duck,
            f"SELECT tags FROM {name}.am.digital_notes_raw WHERE user_id = ?",
            parameters=[ANN],
        )
        assert json.loads(found[0][0]) == ["a", "b"]


def test_only_files_of_the_asked_day_are_read(duck: Duck) -> None:
    for condition in ("day = '2031-03-04'", "ts >= '2031-03-04' AND ts < '2031-03-05'"):
        text = f"EXPLAIN SELECT title FROM lake.am.digital_notes_raw WHERE {condition}"
        plan = rows(duck, text)[0][1]
        scan = plan[plan.index("ARROW_SCAN") :]
        assert "Filters:" in scan
        assert "2031-03-04" in scan


@pytest.mark.parametrize(
    "text",
    [
        "COPY (SELECT 1) TO 's3://{bucket}/lake/evil.csv'",
        "COPY (SELECT 1) TO '{folder}/evil.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 's3://{bucket}/lake/evil.csv'",
        "EXPLAIN EXPLAIN ANALYZE COPY (SELECT 1) TO 's3://{bucket}/lake/evil.csv'",
        "SELECT 1; COPY (SELECT 1) TO 's3://{bucket}/lake/evil.csv'",
        "PREPARE evil AS COPY (SELECT 1) TO 's3://{bucket}/lake/evil.csv'",
        "/* pivot */ COPY (SELECT 1) TO 's3://{bucket}/lake/evil.csv'",
        "DELETE FROM hot.am.digital_notes_raw",
        "CREATE TABLE hot.am.evil (a int)",
        "CALL postgres_execute('hot', 'DELETE FROM am.digital_notes_raw')",
        "DROP VIEW lake.am.digital_notes_raw",
        "ATTACH '{folder}/evil.db'",
        "SET TimeZone = 'Europe/Berlin'",
        "INSTALL spatial",
        "SELECT 1; SELECT 2",
        "",
    ],
)
def test_what_is_no_question_is_refused(
    duck: Duck, connections: Connections, tmp_path: Path, text: str
) -> None:
    with pytest.raises((NotReadOnlyError, QueryError)):
        query(duck, text.format(bucket=connections.s3_bucket, folder=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM postgres_execute('hot', 'DELETE FROM am.digital_notes_raw')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('s3://{bucket}/*')",
    ],
)
def test_a_question_that_reaches_beyond_the_stores_fails(
    duck: Duck, connections: Connections, text: str
) -> None:
    for _ in range(2):  # that it was asked before does not make it a question that may be
        with pytest.raises(NotReadOnlyError):
            query(duck, text.format(bucket=connections.s3_bucket))
    assert rows(duck, "SELECT count(*) FROM hot.am.digital_notes_raw WHERE content LIKE 'of %'")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("FROM lake.am.digital_notes_raw SELECT count(*)", 3),
        ("WITH n AS (SELECT 7 AS a) SELECT a FROM n", 7),
        ("SHOW ALL TABLES", "hot"),
        ("SUMMARIZE lake.am.digital_notes_raw", "user_id"),
        ("PIVOT (SELECT 1 AS a, 'x' AS b) ON b IN ('x') USING sum(a)", 1),
        ("EXPLAIN ANALYZE SELECT 1", "analyzed_plan"),
    ],
)
def test_any_question_is_answered(duck: Duck, text: str, first: Any) -> None:
    assert rows(duck, text)[0][0] == first


@pytest.mark.parametrize(
    "text",
    [
        "FROM read_csv('/etc/passwd')",
        "FROM read_text('{s3}/{bucket}/x')",
        "FROM 's3://{bucket}/lake/x.parquet'",
        "FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{folder}/evil.csv'",
        "ATTACH '{folder}/evil.db' AS evil",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET extension_directory = '{folder}'",
        "RESET python_enable_replacements",
    ],
)
def test_the_engine_is_closed_even_to_what_gets_past_the_guard(
    duck: Duck, connections: Connections, tmp_path: Path, text: str
) -> None:
    place = {"s3": connections.s3_endpoint, "bucket": connections.s3_bucket, "folder": tmp_path}
    with pytest.raises(duckdb.Error):
        duck.engine.execute(text.format(**place)).fetchall()
    assert not list(tmp_path.iterdir())


def test_no_key_of_the_object_store_is_in_the_engine_and_no_password_is_shown(
    filled: Connections, options: DuckOptions
) -> None:
    with connect(filled, REGISTRY, options=options) as own:
        rows(own, f"SELECT count(*) FROM am.{NOTE.table}")
        # Not through the guard: this is what a question would see that got past it.
        shown = str(own.engine.execute("SELECT * FROM duckdb_secrets()").fetchall())
        shown += str(own.engine.execute("SELECT * FROM duckdb_databases()").fetchall())
        shown += str(own.engine.execute("SELECT * FROM duckdb_settings()").fetchall())
    assert "postgres" in shown
    assert filled.s3_secret_key not in shown
    password = filled.database_url.split("@")[0].rpartition(":")[2]
    assert password.startswith("//") or password not in shown


def test_a_query_that_runs_too_long_is_stopped_and_the_next_one_works(
    duck: Duck,
) -> None:
    with pytest.raises(TimedOutError, match=r"0\.2 s"):
        query(
            duck,
            "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)",
            limits=Limits(timeout_s=0.2),
        )
    assert rows(duck, "SELECT 1") == [(1,)]


def test_many_may_make_the_extension_folder_at_once(filled: Connections, tmp_path: Path) -> None:
    options = DuckOptions(extension_directory=tmp_path / "new" / "extensions")
    failures: list[Exception] = []

    def ask() -> None:
        try:
            with connect(filled, REGISTRY, has_hot=False, options=options) as own:
                assert rows(own, "SELECT count(*) FROM lake.am.digital_notes_raw") == [(3,)]
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert failures == []


def test_a_database_that_does_not_answer_is_an_error_of_ours(
    filled: Connections, options: DuckOptions
) -> None:
    gone = Connections(**{**vars(filled), "database_url": "postgresql://u@127.0.0.1:1/none"})
    with pytest.raises(QueryError):
        connect(gone, REGISTRY, options=options)


def test_an_answer_with_more_rows_or_bytes_than_asked_for_is_refused_not_cut(duck: Duck) -> None:
    ten = "SELECT * FROM range(10)"
    assert len(rows(duck, ten, limits=Limits(rows=10))) == 10
    with pytest.raises(TooLargeError, match="9 rows"):
        query(duck, ten, limits=Limits(rows=9))
    with pytest.raises(TooLargeError, match="1000 bytes"):
        query(duck, "SELECT * FROM range(1000)", limits=Limits(byte_count=1000))
    assert rows(duck, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("table", [NOTE.table, "timeline"])
def test_a_question_without_a_catalog_is_about_both(duck: Duck, table: str) -> None:
    count = f"SELECT count(*) FROM {{}} WHERE user_id = '{ANN}'"
    names = (table, f"am.{table}", f"whole.am.{table}", f'"am" . "{table.upper()}"')
    found = {rows(duck, count.format(name))[0][0] for name in names}
    assert found == {rows(duck, count.format(f"hot.am.{table}"))[0][0]}


def test_minutes_and_days_can_be_counted_out_and_a_day_is_where_the_owner_is(duck: Duck) -> None:
    noon = "TIMESTAMPTZ '2031-03-04 12:00:00+00'"
    minutes = rows(duck, f"FROM minute_spine({noon}, {noon} + INTERVAL 2 MINUTE)")
    assert minutes == [(NOON,), (NOON + timedelta(minutes=1),)]
    days = rows(duck, "FROM day_spine(DATE '2031-03-04', DATE '2031-03-06')")
    assert days == [(DAY,), (DAY + timedelta(days=1),)]
    late = "TIMESTAMPTZ '2031-03-04 23:30:00+00'"
    zones = [("Europe/Zagreb", DAY + timedelta(days=1)), ("America/New_York", DAY)]
    for zone, day in zones:
        assert rows(duck, f"SELECT local_day({late}, '{zone}')") == [(day,)]


def test_the_nearest_earlier_row_is_joined_and_not_by_a_loop(duck: Duck) -> None:
    text = (
        f"SELECT b.bpm FROM am.{NOTE.table} n ASOF JOIN lake.am.{HEART_RATE.table} b "
        "ON n.user_id = b.user_id AND n.ts >= b.ts WHERE n.user_id = ?"
    )
    assert rows(duck, text, parameters=[ANN]) == [(60.0,)]
    # The engine takes an Arrow dataset for one row, and would loop over what it thinks is little.
    assert "ASOF_JOIN" in rows(duck, f"EXPLAIN {text}", parameters=[ANN])[0][1]


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
def test_any_text_is_a_literal_that_means_itself(text: str) -> None:
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT {literal(text)}").fetchone() == (text,)


def test_a_user_who_never_was_sees_nothing(filled: Connections, options: DuckOptions) -> None:
    with connect(filled, REGISTRY, user_id=str(uuid4()), options=options) as nobody:
        assert rows(nobody, "SELECT count(*) FROM hot.am.timeline") == [(0,)]
        assert rows(nobody, "SELECT count(*) FROM lake.am.timeline") == [(0,)]


def test_moments_of_the_vector_store_can_be_asked_by_their_own_user(
    filled: Connections, options: DuckOptions
) -> None:
    store = VectorStore(filled, model_id="sql-test", dimension=moments_data.DIMENSION)
    for user in (ANN, AMY):
        moment = moments_data.moment(f"bread of {user}", user_id=user, ts=NOON)
        table = moments_data.table([moment])
        store.replace(["e1"], table, user_id=user, source_stream=moments_data.SPEECH)
    text = f"SELECT user_id, text FROM vectors.am.{store.table_name} ORDER BY user_id"
    with connect(filled, REGISTRY, user_id=ANN, has_hot=False, options=options) as own:
        assert rows(own, text) == [(ANN, f"bread of {ANN}")]
    with connect(filled, REGISTRY, has_hot=False, options=options) as everybody:
        assert [row[0] for row in rows(everybody, text)] == [ANN, AMY]
