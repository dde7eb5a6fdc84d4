"""What may be asked of DuckDB, and what may not: no engine but a bare one is needed to tell."""

from collections.abc import Iterator

import duckdb
import pytest
from duckdb import DuckDBPyConnection
from hypothesis import given
from hypothesis import strategies as st

from resources.duck_functions import OPERATORS, SCALARS, TABLES
from resources.duck_guard import Allowed, ForbiddenError, check

ALLOWED = Allowed(catalogs=frozenset({"memos_prod"}), scalars=frozenset({"local_day"}))
QUESTIONS = """
SELECT 1
FROM am.x
DESCRIBE lake.am.x
SHOW TABLES
SHOW ALL TABLES
SUMMARIZE hot.am.x
EXPLAIN SELECT 1
EXPLAIN ANALYZE SELECT 1
PIVOT am.x ON a IN (1, 2) USING sum(a)
UNPIVOT am.x ON a
VALUES (1), (2)
FROM range(10)
SELECT local_day(ts, 'UTC') FROM x
FROM memos_prod.memo
FROM memos_prod.main.memo
WITH RECURSIVE t AS (SELECT 1 a UNION ALL SELECT a + 1 FROM t WHERE a < 5) SELECT * FROM t
WITH t AS MATERIALIZED (SELECT 1) SELECT * FROM t, LATERAL (SELECT 2) u ORDER BY ALL LIMIT 10%
SELECT array_agg(DISTINCT a ORDER BY ts) FILTER (a > 1) FROM am.x WHERE EXISTS (SELECT 1)
SELECT a FROM am.x WHERE a IN (FROM am.x) GROUP BY ROLLUP (a) HAVING count(*) > 1
SELECT a FROM am.x QUALIFY row_number() OVER (PARTITION BY a ORDER BY ts DESC NULLS LAST) = 1
SELECT {'a': 1}.a, [1, 2][1], MAP {1: 2}, x.* EXCLUDE (a), COLUMNS('a') FROM am.x
SELECT a COLLATE nocase, a::JSON, CASE WHEN a BETWEEN 1 AND 2 THEN 1 END, ts + INTERVAL 1 DAY FROM x
SELECT ts AT TIME ZONE 'UTC', extract(hour FROM ts), date_trunc('day', ts), now(), today() FROM x
SELECT list_transform([1], lambda q: q + 1), [x * 2 FOR x IN [1, 2] IF x > 1], coalesce(a, 1) FROM x
SELECT '{}' ->> '$.a', a % 2, a // 2, -a, 'a' LIKE 'b', 'a' SIMILAR TO 'b', 'a' ILIKE 'b' FROM x
SELECT * FROM am.x ASOF JOIN am.x y ON x.ts >= y.ts
SELECT sum(a) OVER w FROM x WINDOW w AS (ORDER BY ts RANGE INTERVAL 1 DAY PRECEDING)
SELECT DISTINCT ON (a) * FROM am.x TABLESAMPLE 10%
SELECT count(*) FROM am.x WHERE a = ? AND ts > $2
SELECT 1 UNION SELECT 2 EXCEPT SELECT 3
SELECT * FROM json_each('{}'), unnest([1, 2]) u(v)
""".strip().splitlines()
OTHERS = """
SELECT * FROM 'a.csv'
FROM '/etc/passwd'
FROM 's3://bucket/blobs/somebody/x.parquet'
FROM read_csv('/etc/passwd')
SELECT * FROM read_blob('s3://bucket/blobs/somebody/x')
SELECT content FROM read_text('/etc/passwd')
FROM read_parquet('http://example.org/x')
FROM parquet_scan('x')
FROM delta_scan('s3://bucket/lake/digital_notes_raw')
FROM sqlite_scan('a', 'b')
FROM glob('*')
FROM sniff_csv('x')
FROM query('SELECT 1')
FROM query_table('x')
FROM json_execute_serialized_sql('x')
SELECT getenv('HOME')
SELECT a.getenv() FROM am.x a
SELECT system.main.getenv('a')
SELECT list_transform(['HOME'], lambda x: getenv(x))
SELECT sum(1) OVER (ORDER BY getenv('x'))
SELECT COLUMNS(*)::VARCHAR, getvariable('x') FROM am.x
SELECT current_setting('s3_secret_access_key')
FROM duckdb_secrets()
FROM duckdb_settings()
FROM duckdb_databases()
FROM pragma_table_info('x')
FROM postgres_query('hot', 'RESET ROLE; SELECT * FROM am.api_token')
FROM postgres_execute('hot', 'DELETE FROM am.digital_notes_raw')
FROM postgres_scan('host=127.0.0.1', 'am', 'api_token')
FROM arrow_scan(1, 2, 3)
FROM am.x WHERE a IN (SELECT 1 FROM read_text('x'))
WITH t AS (FROM read_text('x')) SELECT 1
WITH "/etc/passwd" AS (SELECT 1) FROM "/etc/passwd"
FROM am."../x"
FROM information_schema.tables
FROM hot.pg_catalog.pg_authid
FROM hot.information_schema.tables
FROM hot.public.x
FROM temp.main.files_digital_notes_raw
FROM other.am.x
FROM main.x
SELECT sleep_ms(100000)
SELECT pg_sleep(100)
SELECT nextval('a')
SELECT write_log('a')
SHOW hot.am
DESCRIBE 'x.csv'
SUMMARIZE 'x.csv'
PIVOT am.x ON a USING sum(a)
COPY (SELECT 1) TO 'x'
EXPLAIN COPY (SELECT 1) TO 'x'
EXPLAIN (FORMAT json) SELECT 1
ATTACH 'x'
DETACH hot
INSTALL httpfs
LOAD httpfs
SET a = 1
SET VARIABLE a = 1
RESET ROLE
CALL pragma_version()
PRAGMA version
USE hot.am
PREPARE a AS SELECT 1
EXECUTE a
SELECT 1; SELECT 2
DELETE FROM am.x
INSERT INTO am.x SELECT 1
CREATE TABLE y (a INT)
CREATE MACRO y() AS 1
CREATE SECRET (TYPE s3)
EXPORT DATABASE 'x'
CHECKPOINT
""".strip().splitlines()


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBPyConnection]:
    with duckdb.connect() as engine:
        yield engine


@pytest.mark.parametrize("text", QUESTIONS)
def test_a_question_passes(engine: DuckDBPyConnection, text: str) -> None:
    check(engine, text, ALLOWED)


@pytest.mark.parametrize("text", OTHERS)
def test_what_could_reach_beyond_the_tables_does_not_pass(
    engine: DuckDBPyConnection, text: str
) -> None:
    with pytest.raises((ForbiddenError, duckdb.ParserException)):
        check(engine, text, ALLOWED)


@pytest.mark.parametrize("wrapped", ["SELECT ({})", "SELECT 1 WHERE {} IS NULL", "SELECT [{}]"])
@pytest.mark.parametrize(
    "call", ["getenv('A')", "current_setting('a')", "(SELECT 1 FROM read_text('a'))"]
)
@given(depth=st.integers(0, 20))
def test_however_deep_it_hides_it_is_found(
    engine: DuckDBPyConnection, wrapped: str, call: str, depth: int
) -> None:
    for _ in range(depth):
        call = f"(SELECT coalesce({call}, NULL))"
    with pytest.raises(ForbiddenError):
        check(engine, wrapped.format(call), ALLOWED)


def test_every_function_that_is_let_through_exists_or_is_syntax(
    engine: DuckDBPyConnection,
) -> None:
    found = engine.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()")
    known = {name for (name,) in found.fetchall()}
    syntax = {"coalesce", "grouping", "grouping_id", "ifnull"}
    only_with_icu = {"current_localtime", "current_localtimestamp"}
    assert SCALARS - known - syntax - only_with_icu == set()
    assert OPERATORS - known == set()
    assert TABLES - known == set()


@pytest.mark.parametrize(
    "part", ["read_", "_scan", "duckdb_", "pragma_", "pg_", "postgres", "setting", "env", "secret"]
)
def test_no_function_is_let_through_that_reads_from_outside(part: str) -> None:
    assert [name for name in SCALARS | TABLES if part in name] == []


def test_what_is_no_sql_is_told_by_the_parser(engine: DuckDBPyConnection) -> None:
    with pytest.raises((ForbiddenError, duckdb.ParserException), match="syntax"):
        check(engine, "SELEC 1", ALLOWED)
