"""Trino: the client against a facade (see there what that can't show), statements by sqlglot."""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from resources.trino import Trino, TrinoError, answer_table, arrow_type, require_question
from resources.trino_catalog import register, schemas, views, whole_view
from tests.resources.trino_facade import Facade, facade

ETC = Path(__file__).parents[2] / "infra" / "trino" / "etc"


@pytest.fixture
def server() -> Iterator[Facade]:
    with facade() as told:
        yield told


def test_an_answer_comes_in_the_types_that_it_has(server: Facade) -> None:
    found = Trino(server.url, user="ann").query(
        "SELECT CAST(1 AS bigint) AS n, CAST(1.5 AS double) AS x, 'a' AS t, true AS b, "
        "DATE '2031-03-04' AS d, CAST(NULL AS varchar) AS nothing"
    )
    assert found.to_pylist() == [
        {"n": 1, "x": 1.5, "t": "a", "b": True, "d": date(2031, 3, 4), "nothing": None}
    ]
    assert found.schema.field("n").type == pa.int64()
    assert found.schema.field("d").type == pa.date32()


def test_it_is_asked_as_the_user_and_about_both_stores(server: Facade) -> None:
    Trino(server.url, user="ann").query("SELECT 1", timeout_s=7)
    (headers,) = server.headers
    assert headers["x-trino-user"] == "ann"
    assert (headers["x-trino-catalog"], headers["x-trino-schema"]) == ("whole", "am")
    assert headers["x-trino-time-zone"] == "UTC"
    assert "query_max_execution_time=7s" in headers["x-trino-session"]


def test_its_objection_is_told_and_so_is_its_silence(server: Facade) -> None:
    with pytest.raises(TrinoError, match="nothing"):
        Trino(server.url, user="ann").query("SELECT nothing FROM nowhere")
    with pytest.raises(TrinoError):
        Trino("http://127.0.0.1:9", user="ann").query("SELECT 1")


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM am.x",
        "CREATE TABLE lake.am.evil (a bigint)",
        "CALL lake.system.unregister_table('am', 'x')",
        "SET SESSION AUTHORIZATION ann",
        "SELECT 1; SELECT 2",
        "INSERT INTO hot.am.x SELECT 1",
        "SELEC 1",
        "",
    ],
)
def test_what_is_no_question_is_not_sent(server: Facade, text: str) -> None:
    with pytest.raises(TrinoError):
        Trino(server.url, user="ann").query(text)
    assert server.statements == []


@pytest.mark.parametrize(
    "text", ["SELECT 1", "WITH a AS (SELECT 1) SELECT * FROM a", "SHOW TABLES"]
)
def test_a_question_is(text: str) -> None:
    require_question(text)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("varchar(3)", pa.string()),
        ("timestamp(3) with time zone", pa.timestamp("us", tz="UTC")),
        ("timestamp with time zone", pa.timestamp("us", tz="UTC")),
        ("timestamp(6)", pa.timestamp("us")),
        ("decimal(10,2)", pa.string()),
        ("map(varchar,bigint)", pa.string()),
    ],
)
def test_every_type_has_its_like_or_is_text(name: str, kind: pa.DataType) -> None:
    assert arrow_type(name) == kind


def test_an_answer_without_rows_has_its_columns() -> None:
    found = answer_table([("ts", "timestamp(6) with time zone")], [])
    assert (found.num_rows, found.column_names) == (0, ["ts"])
    at = datetime(2031, 3, 4, tzinfo=UTC)
    assert answer_table([("ts", "timestamp(6) with time zone")], [[at]])["ts"].to_pylist() == [at]


@pytest.mark.parametrize("stream", REGISTRY.values(), ids=REGISTRY)
def test_the_view_of_both_stores_is_trinos_sql_with_the_lakes_columns(stream: Stream) -> None:
    tree = sqlglot.parse_one(whole_view(stream), dialect="trino")
    assert isinstance(tree, exp.Union)
    hot, lake = ([c.alias_or_name for c in side.expressions] for side in (tree.left, tree.right))
    assert hot == lake
    assert hot[-1] == "day"


def test_every_statement_is_trinos_sql_and_views_ask_as_who_asks_them() -> None:
    statements = [*schemas("bucket"), register("x", "s3://bucket/o'clock")]
    statements += views(REGISTRY.values())
    for statement in statements:
        # sqlglot keeps CALL as a command of its own; Trino's SECURITY clause is one too.
        sqlglot.parse_one(statement.replace(" SECURITY INVOKER", ""), dialect="trino")
    assert "s3://bucket/o''clock" in register("x", "s3://bucket/o'clock")
    made = views(REGISTRY.values())
    assert len(made) == len(REGISTRY) + 2
    begin = re.compile(r"CREATE OR REPLACE VIEW \w+\.am\.\w+ SECURITY INVOKER AS ")
    assert all(begin.match(view) for view in made)


def properties(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_no_secret_is_written_into_the_configuration() -> None:
    for path in ETC.rglob("*.properties"):
        for name, value in properties(path).items():
            if re.search("secret|password|key", name):
                assert re.fullmatch(r"\$\{ENV:AM_\w+\}", value), (path, name)


def test_there_is_a_catalog_for_every_name_and_views_have_a_metastore() -> None:
    catalogs = {path.stem: properties(path) for path in (ETC / "catalog").iterdir()}
    connectors = {name: found["connector.name"] for name, found in catalogs.items()}
    assert connectors == {"hot": "postgresql", "lake": "delta_lake", "whole": "delta_lake"}
    assert catalogs["lake"]["hive.metastore"] == "file"
    places = {found.get("hive.metastore.catalog.dir") for found in catalogs.values()}
    assert len(places) == 3  # none shares another's; the database has none
    config = properties(ETC / "config.properties")
    assert (config["sql.default-catalog"], config["sql.default-schema"]) == ("whole", "am")
    rules = properties(ETC / "access-control.properties")["security.config-file"]
    assert (ETC.parent / rules).exists()


def rule_for(user: str, catalog: str, schema: str, table: str) -> dict[str, object]:
    """The first that fits, as Trino takes them."""
    rules = json.loads((ETC / "access-control.json").read_text())["tables"]
    asked = {"user": user, "catalog": catalog, "schema": schema, "table": table}
    fits = (
        rule
        for rule in rules
        if all(re.fullmatch(rule.get(part, ".*"), value) for part, value in asked.items())
    )
    return next(fits, {"privileges": []})


@pytest.mark.parametrize("catalog", ["hot", "lake", "whole"])
@pytest.mark.parametrize("stream", REGISTRY.values(), ids=REGISTRY)
def test_everybody_but_the_owner_sees_only_their_own_rows(catalog: str, stream: Stream) -> None:
    rule = rule_for("ann", catalog, "am", stream.table)
    assert rule["privileges"] == ["SELECT"]
    assert rule["filter"] == "user_id = current_user"
    assert "filter" not in rule_for("am", catalog, "am", stream.table)


@pytest.mark.parametrize("table", ["api_token", "trust", "invite", "seen"])
def test_tokens_and_the_like_are_nobodys(table: str) -> None:
    assert rule_for("ann", "hot", "am", table)["privileges"] == []
    assert rule_for("ann", "hot", "pg_catalog", "pg_authid")["privileges"] == []


@pytest.mark.skipif("AM_TEST_TRINO_URL" not in os.environ, reason="no AM_TEST_TRINO_URL is set")
def test_a_real_server_shows_a_user_their_own_rows_only() -> None:
    url = os.environ["AM_TEST_TRINO_URL"]
    found = Trino(url, user="nobody-at-all").query("SELECT count(*) AS n FROM am.timeline")
    assert found.to_pylist() == [{"n": 0}]
